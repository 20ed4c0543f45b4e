package control

import (
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// EarlyFor is how long a receipt is kept that came before its attempt was known.
const EarlyFor = time.Hour

// Receipt keeps what a provider said of a message before the attempt was known that the report belongs to. id names the report, so
// that a repetition is the same entry. Workers ignore it; the API applies it once the attempt is known, and takes it back.
func Receipt(gateway, id string, said notify.Report, at time.Time) Entry {
	return Entry{Kind: KindReceipt, Gateway: gateway, ID: id, Report: said, At: at, ExpiresAt: at.Add(EarlyFor)}
}

// namedReceipt parses the name of an entry of kind receipt: gateway, slash, id.
func namedReceipt(name string) (Entry, bool) {
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 {
		return Entry{}, false
	}
	e := Entry{Kind: KindReceipt, Gateway: name[:slash]}
	var ok bool
	e.ID, ok = notify.ParseID(name[slash+1:])
	return e, ok && e.Gateway != "" && e.Name() == name // another spelling would be another key
}

// keptReport is the JSON of a [notify.Report].
type keptReport struct {
	NotificationID string       `json:"notification_id,omitempty"`
	ProviderID     string       `json:"provider_id,omitempty"`
	Run            int          `json:"run"`
	State          notify.State `json:"state"`
	Code           string       `json:"code,omitempty"`
	Reason         string       `json:"reason,omitempty"`
	Gone           bool         `json:"gone,omitempty"`
	At             time.Time    `json:"at,omitzero"`
	Sender         string       `json:"sender,omitempty"`
}

// ReceiptIDBytes is how long the provider's id in a kept report is at most.
const ReceiptIDBytes = 255

// The limits of what a kept report says, as those of events.
const (
	receiptCodeBytes   = 64
	receiptReasonBytes = 500
)

func reportOf(r notify.Report) *keptReport {
	return &keptReport{
		NotificationID: r.NotificationID, ProviderID: r.ProviderID, Run: r.Run, State: r.State,
		Code: notify.Clip(r.Code, receiptCodeBytes), Reason: notify.Clip(r.Reason, receiptReasonBytes), Gone: r.Gone, At: r.At.UTC(),
		Sender: notify.Clip(r.Sender, noteBytes),
	}
}

// decode returns the report. ok is false for one that the API never keeps.
func (r *keptReport) decode() (said notify.Report, ok bool) {
	if r == nil || r.State != notify.StateDelivered && r.State != notify.StateBounced || r.Run < notify.AnyRun ||
		r.NotificationID == "" && r.ProviderID == "" || len(r.ProviderID) > ReceiptIDBytes {
		return notify.Report{}, false
	}
	if id, isID := notify.ParseID(r.NotificationID); r.NotificationID != "" && (!isID || id != r.NotificationID) {
		return notify.Report{}, false
	}
	return notify.Report{
		NotificationID: r.NotificationID, ProviderID: r.ProviderID, Run: r.Run, State: r.State,
		Code: notify.Clip(r.Code, receiptCodeBytes), Reason: notify.Clip(r.Reason, receiptReasonBytes), Gone: r.Gone, At: r.At,
		Sender: notify.Clip(r.Sender, noteBytes),
	}, true
}
