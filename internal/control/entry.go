package control

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Kind is the kind of an entry. Other versions may know more kinds.
type Kind string

// The kinds of entries.
const (
	KindPause    Kind = "pause"
	KindCancel   Kind = "cancel"
	KindSuppress Kind = "suppress"
	// KindSuppression is a suppression with its reason and scope in the key: see [SuppressFor] and [OptOut].
	KindSuppression Kind = "suppression"
	// KindSettled ends one run of a notification that its provider has reported as delivered: see [Settle].
	KindSettled Kind = "settled"
	// KindReceipt keeps a receipt that arrived before its attempt was known: see [Receipt].
	KindReceipt Kind = "receipt"
	// KindFingerprintKey is the key of the fingerprints on the ledger. All workers share it: see [FingerprintKey].
	KindFingerprintKey Kind = "fingerprint-key"
	// KindGateway is the state of a gateway in one worker process: see [ReportGateway].
	KindGateway Kind = "gateway"
)

const (
	// InForce is how long after its acknowledgement an entry is in force in every process that is connected.
	InForce = time.Second
	// MaxLifetime is how long a cancellation is remembered. No job lives longer.
	MaxLifetime = 31 * 24 * time.Hour

	noteBytes = 255 // of Note and By
)

// Entry is one entry of the control topic. Kind determines which of the other fields are set.
type Entry struct {
	Kind Kind

	Channel notify.Channel // of a pause, unless it is a gateway's, and of a suppression
	Lane    notify.Lane    // of a pause; empty = the whole channel
	Gateway string         // of a pause, of a report, of a receipt, and of a suppression that a gateway caused: the gateway's name
	Process string         // of a report: the worker process
	ID      string         // of a cancellation and of a settled run: the notification's id; of a receipt: its own id
	Run     int            // of a settled run
	Tenant  string         // of a suppression
	Address string         // of a suppression: the address as in notify.Message
	Scope   string         // of a suppression: the only sender to which it applies; empty = all senders

	Report notify.Report // of a receipt

	Key [16]byte // of a fingerprint key; it is a secret and is never shown

	At        time.Time // when the entry was made
	ExpiresAt time.Time // of a cancellation, of a settled run, of a receipt, and of a report
	Code      string    // of a suppression, and of a report: the provider's code, such as 21610
	Reason    string    // of a suppression: one of notify's reasons, such as opted_out; empty = a person's decision. Of a report: the cause
	Sender    string    // of a suppression: the sender that caused it
	By, Note  string    // for people: the author and the reason

	State *GatewayState // of a report
}

// Pause returns an entry that stops jobs of a channel, or of one of its lanes, from being started.
func Pause(channel notify.Channel, lane notify.Lane) Entry {
	return Entry{Kind: KindPause, Channel: channel, Lane: lane}
}

// PauseGateway returns an entry that stops all calls of a gateway.
func PauseGateway(name string) Entry { return Entry{Kind: KindPause, Gateway: name} }

// Cancel returns an entry that cancels a notification. id must be in the form that [notify.ParseID] returns.
func Cancel(id string, at time.Time) Entry {
	return Entry{Kind: KindCancel, ID: id, At: at, ExpiresAt: at.Add(MaxLifetime)}
}

// Suppress returns an entry that suppresses a recipient. address must be in the form that validation returns, as in
// notify.Message.
func Suppress(tenant string, channel notify.Channel, address string) Entry {
	return Entry{Kind: KindSuppress, Tenant: tenant, Channel: channel, Address: address}
}

// FingerprintKey returns an entry with a new key for the fingerprints that workers write to the ledger and compare. Without the
// key, a reader of the status topic cannot find the content of a notification by trial. If there are several keys, the last one
// is in force.
func FingerprintKey(at time.Time) Entry {
	e := Entry{Kind: KindFingerprintKey, At: at}
	_, _ = rand.Read(e.Key[:]) // crypto/rand.Read never returns an error
	return e
}

// Name returns the part of the entry's key after its kind: "email/bulk", "gateway/mail",
// "default/sms/opted_out/sender:+1…/+1…".
func (e Entry) Name() string {
	switch {
	case e.Kind == KindFingerprintKey:
		return keyName
	case e.Kind == KindCancel:
		return e.ID
	case e.Kind == KindSettled:
		return e.ID + "/" + strconv.Itoa(e.Run)
	case e.Kind == KindReceipt:
		return e.Gateway + "/" + e.ID
	case e.Kind == KindSuppress:
		return e.Tenant + "/" + string(e.Channel) + "/" + e.Address
	case e.Kind == KindSuppression:
		return string(appendReasoned(nil, e.Tenant, e.Channel, e.Reason, spellScope(e.Scope), e.Address))
	case e.Kind == KindGateway:
		return e.Gateway + "/" + e.Process
	case e.Gateway != "": // a pause's
		return gatewayPrefix + e.Gateway
	case e.Lane != "":
		return string(e.Channel) + "/" + string(e.Lane)
	default:
		return string(e.Channel)
	}
}

const (
	gatewayPrefix = "gateway/"
	keyName       = "ledger"
)
