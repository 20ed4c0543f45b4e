package control

import (
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// EarlyFor is how long a receipt is kept that arrived before its attempt was known.
const EarlyFor = time.Hour

// Receipt returns an entry that keeps a provider's report until its attempt is known. id identifies the report, so that a
// repetition is the same entry. Workers ignore the entry; the API applies the report once the attempt is known, and then
// removes the entry.
func Receipt(gateway, id string, report notify.Report, at time.Time) Entry {
	return Entry{Kind: KindReceipt, Gateway: gateway, ID: id, Report: report, At: at, ExpiresAt: at.Add(EarlyFor)}
}

// parseReceiptName parses the name of an entry of kind receipt: gateway, slash, id.
func parseReceiptName(name string) (Entry, bool) {
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 {
		return Entry{}, false
	}
	e := Entry{Kind: KindReceipt, Gateway: name[:slash]}
	var ok bool
	e.ID, ok = notify.ParseID(name[slash+1:])
	return e, ok && e.Gateway != "" && e.Name() == name // another spelling would be another key
}

// receiptJSON is the JSON of a [notify.Report].
type receiptJSON struct {
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

// ReceiptIDBytes is the maximum length of the provider's id in a kept report.
const ReceiptIDBytes = 255

// Limits of the texts in a kept report, equal to those of events.
const (
	receiptCodeBytes   = 64
	receiptReasonBytes = 500
)

func newReceiptJSON(r notify.Report) *receiptJSON {
	return &receiptJSON{
		NotificationID: r.NotificationID, ProviderID: r.ProviderID, Run: r.Run, State: r.State,
		Code: notify.Clip(r.Code, receiptCodeBytes), Reason: notify.Clip(r.Reason, receiptReasonBytes), Gone: r.Gone, At: r.At.UTC(),
		Sender: notify.Clip(r.Sender, noteBytes),
	}
}

// decode returns the report. ok is false for a report that the API never keeps.
func (r *receiptJSON) decode() (report notify.Report, ok bool) {
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
