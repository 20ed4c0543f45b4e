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

// Record is what goes on the topic. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// value is a record's JSON. Its kind and id are those of the key.
type value struct {
	Kind      Kind        `json:"kind"`
	ID        string      `json:"id"`
	At        time.Time   `json:"at"`
	ExpiresAt *time.Time  `json:"expires_at,omitempty"`
	Note      string      `json:"note,omitempty"`
	By        string      `json:"by,omitempty"`
	Key       string      `json:"key,omitempty"` // hexadecimal
	Gateway   string      `json:"gateway,omitempty"`
	Code      string      `json:"code,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Sender    string      `json:"sender,omitempty"`
	Receipt   *keptReport `json:"receipt,omitempty"`
}

// report is a record's JSON of kind gateway.
type report struct {
	value
	GatewayState
}

// Record says e. What would last longer than its kind may is cut to that.
func (e Entry) Record() Record {
	v := value{
		Kind: e.Kind, ID: e.Name(), At: e.At.UTC(), Note: notify.Clip(e.Note, noteBytes), By: notify.Clip(e.By, noteBytes),
	}
	if longest := e.Kind.longest(); longest > 0 {
		expires := earlier(e.ExpiresAt, e.At.Add(longest)).UTC()
		v.ExpiresAt = &expires
	}
	if e.Kind == KindReceipt {
		v.Receipt = reportOf(e.Report)
	}
	if e.Kind == KindSuppress || e.Kind == KindSuppression {
		v.Gateway, v.Code = notify.Clip(e.Gateway, noteBytes), notify.Clip(e.Code, noteBytes)
		v.Reason, v.Sender = notify.Clip(e.Reason, noteBytes), notify.Clip(e.Sender, noteBytes)
	}
	if e.Kind == KindGateway {
		return Record{Key: e.key(), Value: e.report(v)}
	}
	if e.Kind == KindFingerprintKey {
		v.Key = hex.EncodeToString(e.Key[:])
	}
	encoded, _ := json.Marshal(v) // fails only for a time outside the years 0 to 9999, and At is now
	return Record{Key: e.key(), Value: encoded}
}

// Tombstone takes e back.
func (e Entry) Tombstone() Record { return Record{Key: e.key()} }

func (e Entry) key() []byte { return []byte(string(e.Kind) + ":" + e.Name()) }

var (
	// ErrUnknownKind: a record of something that this build knows nothing of.
	ErrUnknownKind = errors.New("a record of a kind that is not known")
	// ErrMalformed: a record that does not say what its kind has to.
	ErrMalformed = errors.New("a malformed record")
)

// Decode reads a record of the topic; at is the record's own time, from which an expiry counts at most. set is false for a
// tombstone, which has no more than what is in the key. Its errors are [ErrUnknownKind] and [ErrMalformed]; they never
// hold what was in the record.
func Decode(key, content []byte, at time.Time) (e Entry, set bool, err error) {
	kind, name, _ := strings.Cut(string(key), ":")
	if e, err = named(Kind(kind), name); err != nil || content == nil {
		return e, false, err
	}
	var v value
	if json.Unmarshal(content, &v) != nil {
		return Entry{}, false, fmt.Errorf("%w: its value is not the JSON of an entry", ErrMalformed)
	}
	if v.Kind != e.Kind || v.ID != name {
		return Entry{}, false, fmt.Errorf("%w: its value is about something else than its key", ErrMalformed)
	}
	e.At, e.Note, e.By = v.At, notify.Clip(v.Note, noteBytes), notify.Clip(v.By, noteBytes)
	if longest := e.Kind.longest(); longest > 0 {
		e.ExpiresAt = at.Add(longest)
		if v.ExpiresAt != nil {
			e.ExpiresAt = earlier(*v.ExpiresAt, e.ExpiresAt)
		}
	}
	if e.Kind == KindReceipt {
		said, ok := v.Receipt.decode()
		if !ok {
			return Entry{}, false, fmt.Errorf("%w: its receipt is none that is kept", ErrMalformed)
		}
		e.Report = said
	}
	if e.Kind == KindSuppress {
		e.Reason = notify.Clip(v.Reason, noteBytes)
	}
	if e.Kind == KindSuppress || e.Kind == KindSuppression { // the key of the latter has the reason
		e.Gateway, e.Code = notify.Clip(v.Gateway, noteBytes), notify.Clip(v.Code, noteBytes)
		e.Sender = cmp.Or(notify.Clip(v.Sender, noteBytes), e.Scope)
	}
	if e.Kind == KindGateway {
		if err := e.readReport(content, at); err != nil {
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

// named reads what is in a key.
func named(kind Kind, name string) (Entry, error) {
	e := Entry{Kind: kind}
	var ok bool
	switch kind {
	case KindPause:
		e, ok = namedPause(name)
	case KindCancel:
		e.ID, ok = notify.ParseID(name)
		ok = ok && e.ID == name // another spelling would be another key
	case KindSettled:
		e, ok = namedSettled(name)
	case KindReceipt:
		e, ok = namedReceipt(name)
	case KindSuppress:
		e, ok = namedSuppression(name)
	case KindSuppression:
		e, ok = namedReasoned(name)
	case KindFingerprintKey:
		ok = name == keyName
	case KindGateway:
		e, ok = namedReport(name)
	default:
		return Entry{}, ErrUnknownKind
	}
	if !ok {
		return Entry{}, fmt.Errorf("%w: its key names no %s", ErrMalformed, kind)
	}
	return e, nil
}

func namedPause(name string) (Entry, bool) {
	if gateway, ok := strings.CutPrefix(name, gatewayPrefix); ok {
		return PauseGateway(gateway), gateway != ""
	}
	channel, lane, hasLane := strings.Cut(name, "/")
	e := Pause(notify.Channel(channel), notify.Lane(lane))
	return e, e.Channel.Known() && (!hasLane || e.Lane.Known())
}

func namedSuppression(name string) (Entry, bool) {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return Entry{}, false
	}
	e := Suppress(parts[0], notify.Channel(parts[1]), parts[2])
	return e, e.Tenant != "" && e.Channel.Known() && e.Address != ""
}

// longest is how long an entry of the kind lasts at most; zero for one that lasts until it is taken back.
func (k Kind) longest() time.Duration {
	switch k {
	case KindCancel, KindSettled:
		return Longest
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
