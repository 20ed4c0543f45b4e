package control

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Record is a record of the control topic. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// recordJSON is the JSON of a record's value. Its kind and id repeat those of the key.
type recordJSON struct {
	Kind      Kind         `json:"kind"`
	ID        string       `json:"id"`
	At        time.Time    `json:"at"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
	Note      string       `json:"note,omitempty"`
	By        string       `json:"by,omitempty"`
	Key       string       `json:"key,omitempty"` // hexadecimal
	Gateway   string       `json:"gateway,omitempty"`
	Code      string       `json:"code,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	Sender    string       `json:"sender,omitempty"`
	Receipt   *receiptJSON `json:"receipt,omitempty"`
}

// reportJSON is the JSON of a record of kind gateway.
type reportJSON struct {
	recordJSON
	GatewayState
}

// Record returns the record of e. It shortens texts that are too long and limits the expiry to the maximum of the kind.
func (e Entry) Record() Record {
	v := recordJSON{
		Kind: e.Kind, ID: e.Name(), At: e.At.UTC(), Note: notify.Clip(e.Note, noteBytes), By: notify.Clip(e.By, noteBytes),
	}
	if limit := e.Kind.maxLifetime(); limit > 0 {
		expires := earlier(e.ExpiresAt, e.At.Add(limit)).UTC()
		v.ExpiresAt = &expires
	}
	if e.Kind == KindReceipt {
		v.Receipt = newReceiptJSON(e.Report)
	}
	if e.Kind == KindSuppress || e.Kind == KindSuppression {
		v.Gateway, v.Code = notify.Clip(e.Gateway, noteBytes), notify.Clip(e.Code, noteBytes)
		v.Reason, v.Sender = notify.Clip(e.Reason, noteBytes), notify.Clip(e.Sender, noteBytes)
	}
	if e.Kind == KindGateway {
		return Record{Key: e.key(), Value: e.encodeReport(v)}
	}
	if e.Kind == KindFingerprintKey {
		v.Key = hex.EncodeToString(e.Key[:])
	}
	encoded, _ := json.Marshal(v) // fails only for a time outside the years 0 to 9999, and At is the present
	return Record{Key: e.key(), Value: encoded}
}

// Tombstone returns the record that revokes e.
func (e Entry) Tombstone() Record { return Record{Key: e.key()} }

func (e Entry) key() []byte { return []byte(string(e.Kind) + ":" + e.Name()) }

var (
	// ErrUnknownKind: the record has a kind that this version does not know.
	ErrUnknownKind = errors.New("a record of a kind that is not known")
	// ErrMalformed: the record lacks a required part or has an invalid one.
	ErrMalformed = errors.New("a malformed record")
)

// Decode decodes a record. at is the time of the record, and limits its expiry. set is false for a tombstone, which has only
// the fields in the key. Its errors are [ErrUnknownKind] and [ErrMalformed]; they never repeat the content of the record.
func Decode(key, content []byte, at time.Time) (e Entry, set bool, err error) {
	kind, name, _ := strings.Cut(string(key), ":")
	e, err = parseName(Kind(kind), name)
	if err != nil || content == nil {
		return e, false, err
	}
	var v recordJSON
	if json.Unmarshal(content, &v) != nil {
		return Entry{}, false, fmt.Errorf("%w: its value is not the JSON of an entry", ErrMalformed)
	}
	if v.Kind != e.Kind || v.ID != name {
		return Entry{}, false, fmt.Errorf("%w: its value is about something else than its key", ErrMalformed)
	}
	e.At = v.At
	e.Note, e.By = notify.Clip(v.Note, noteBytes), notify.Clip(v.By, noteBytes)
	if limit := e.Kind.maxLifetime(); limit > 0 {
		e.ExpiresAt = at.Add(limit)
		if v.ExpiresAt != nil {
			e.ExpiresAt = earlier(*v.ExpiresAt, e.ExpiresAt)
		}
	}
	if e.Kind == KindReceipt {
		report, ok := v.Receipt.decode()
		if !ok {
			return Entry{}, false, fmt.Errorf("%w: its receipt is none that is kept", ErrMalformed)
		}
		e.Report = report
	}
	if e.Kind == KindSuppress {
		e.Reason = notify.Clip(v.Reason, noteBytes)
	}
	if e.Kind == KindSuppress || e.Kind == KindSuppression { // the key of the latter has the reason
		e.Gateway, e.Code = notify.Clip(v.Gateway, noteBytes), notify.Clip(v.Code, noteBytes)
		e.Sender = cmp.Or(notify.Clip(v.Sender, noteBytes), e.Scope)
	}
	if e.Kind == KindGateway {
		if err := e.decodeReport(content, at); err != nil {
			return Entry{}, false, err
		}
	}
	if e.Kind == KindFingerprintKey {
		if n, err := hex.Decode(e.Key[:], []byte(v.Key)[:min(len(v.Key), 2*len(e.Key))]); err != nil || n != len(e.Key) || len(v.Key) != 2*len(e.Key) {
			return Entry{}, false, fmt.Errorf("%w: its key is not 32 hexadecimal digits", ErrMalformed)
		}
	}
	return e, true, nil
}

// parseName returns an entry with the fields in a key.
func parseName(kind Kind, name string) (Entry, error) {
	e := Entry{Kind: kind}
	var ok bool
	switch kind {
	case KindPause:
		e, ok = parsePauseName(name)
	case KindCancel:
		e.ID, ok = notify.ParseID(name)
		ok = ok && e.ID == name // another spelling would be another key
	case KindSettled:
		e, ok = parseSettledName(name)
	case KindReceipt:
		e, ok = parseReceiptName(name)
	case KindSuppress:
		e, ok = parseSuppressName(name)
	case KindSuppression:
		e, ok = parseSuppressionName(name)
	case KindFingerprintKey:
		ok = name == keyName
	case KindGateway:
		e, ok = parseReportName(name)
	default:
		return Entry{}, ErrUnknownKind
	}
	if !ok {
		return Entry{}, fmt.Errorf("%w: its key names no %s", ErrMalformed, kind)
	}
	return e, nil
}

func parsePauseName(name string) (Entry, bool) {
	if gateway, ok := strings.CutPrefix(name, gatewayPrefix); ok {
		return PauseGateway(gateway), gateway != ""
	}
	channel, lane, hasLane := strings.Cut(name, "/")
	e := Pause(notify.Channel(channel), notify.Lane(lane))
	return e, e.Channel.Known() && (!hasLane || e.Lane.Known())
}

func parseSuppressName(name string) (Entry, bool) {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return Entry{}, false
	}
	e := Suppress(parts[0], notify.Channel(parts[1]), parts[2])
	return e, e.Tenant != "" && e.Channel.Known() && e.Address != ""
}

// maxLifetime returns how long an entry of the kind may last; 0 for an entry that lasts until it is revoked.
func (k Kind) maxLifetime() time.Duration {
	switch k {
	case KindCancel, KindSettled:
		return MaxLifetime
	case KindReceipt:
		return EarlyFor
	default:
		return 0
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
