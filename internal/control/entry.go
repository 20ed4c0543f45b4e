package control

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Kind says what an entry does. Templates will be on the topic too, and are a kind that is not known here.
type Kind string

// The kinds.
const (
	KindPause    Kind = "pause"
	KindCancel   Kind = "cancel"
	KindSuppress Kind = "suppress"
	// KindSuppression is a suppression with its reason and its scope in the key: see [SuppressFor] and [OptOut].
	KindSuppression Kind = "suppression"
	// KindSettled ends one run of a notification that its provider has reported as delivered: see [Settle].
	KindSettled Kind = "settled"
	// KindReceipt keeps a receipt that came before its attempt was known: see [Receipt].
	KindReceipt Kind = "receipt"
	// KindFingerprintKey is the key of the fingerprints on the ledger, which workers share: see [FingerprintKey].
	KindFingerprintKey Kind = "fingerprint-key"
	// KindGateway is the state of a gateway in one worker process: see [ReportGateway].
	KindGateway Kind = "gateway"
)

const (
	// InForce is how long after its acknowledgement an entry is in force in every process that is connected.
	InForce = time.Second
	// Longest is how long a cancellation is remembered: no job lives longer.
	Longest = 31 * 24 * time.Hour

	noteBytes = 255 // of Note and By
)

// Entry is one thing that the topic says. Kind says which of the fields below it are set.
type Entry struct {
	Kind Kind

	Channel notify.Channel // of a pause, unless it is a gateway's, and of a suppression
	Lane    notify.Lane    // of a pause; empty = the whole channel
	Gateway string         // of a pause, of a report, of a receipt, and of a suppression that came about by a gateway: its name
	Process string         // of a report: of the worker
	ID      string         // of a cancellation, and of a settled run: the notification's. Of a receipt: its own
	Run     int            // of a settled run
	Tenant  string         // of a suppression
	Address string         // of a suppression: as notify.Message has it
	Scope   string         // of a suppression: the one sender that it is about; empty: all

	Report notify.Report // of a receipt

	Key [16]byte // of a fingerprint key. It is a secret: it is shown nowhere

	At        time.Time // when it was said
	ExpiresAt time.Time // of a cancellation, of a settled run, of a receipt, and of a report
	Code      string    // of a suppression, and of a report: the provider's code, such as 21610
	Reason    string    // of a suppression: one of notify's reasons, such as opted_out; empty: a person's decision. Of a report: why
	Sender    string    // of a suppression: the sender by which it came about
	By, Note  string    // for people: who said it, and why

	State *GatewayState // of a report
}

// Pause keeps the jobs of a channel, or of one of its lanes, from being started.
func Pause(channel notify.Channel, lane notify.Lane) Entry {
	return Entry{Kind: KindPause, Channel: channel, Lane: lane}
}

// PauseGateway keeps everything from a gateway.
func PauseGateway(name string) Entry { return Entry{Kind: KindPause, Gateway: name} }

// Cancel keeps a notification from being sent. id is as [notify.ParseID] gives it.
func Cancel(id string, at time.Time) Entry {
	return Entry{Kind: KindCancel, ID: id, At: at, ExpiresAt: at.Add(Longest)}
}

// Suppress keeps everything from a recipient. address is as validation gives it, in notify.Message.
func Suppress(tenant string, channel notify.Channel, address string) Entry {
	return Entry{Kind: KindSuppress, Tenant: tenant, Channel: channel, Address: address}
}

// FingerprintKey is a fresh key for the fingerprints that workers write on the ledger and compare. Whoever reads the status topic
// alone cannot find out by trial what a notification says. Of several the last one counts.
func FingerprintKey(at time.Time) Entry {
	e := Entry{Kind: KindFingerprintKey, At: at}
	_, _ = rand.Read(e.Key[:]) // crypto/rand.Read never returns an error
	return e
}

// Name is the entry without its kind, as its key spells it: "email/bulk", "gateway/mail", "default/sms/opted_out/sender:+1…/+1…".
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
