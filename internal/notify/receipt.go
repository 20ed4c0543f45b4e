package notify

import (
	"errors"
	"time"
)

// Report is what a provider says, some time later, of a message that it had accepted: a receipt of delivery.
type Report struct {
	NotificationID string // empty: ProviderID says which
	ProviderID     string // the provider's name for the message; empty where it has none
	Run            int    // which run it is about; [AnyRun] where the provider does not know
	State          State  // delivered or bounced; empty for what is no news: it is on its way
	Code, Reason   string
	Gone           bool      // bounced: the recipient does not exist or has opted out
	At             time.Time // zero: when it was heard
	Sender         string    // bounced: the sender of the text, as the worker names it; empty where the provider does not know
}

// AnyRun is the run of a report whose provider knows none: the one that the notification is in.
const AnyRun = -1

// What a report can end in besides success. Callers match them with errors.Is. Also [ErrUnknownNotification],
// [ErrStatusUnavailable] and [ErrBusUnavailable].
var (
	// ErrUnknownGateway: no gateway of that name takes reports.
	ErrUnknownGateway = errors.New("no such gateway takes receipts")
	// ErrForged: the report is not signed by the gateway's provider, or was so too long ago.
	ErrForged = errors.New("the receipt is not the provider's")
	// ErrUnreadable: the provider signed it, and it is not of the form that it should have.
	ErrUnreadable = errors.New("the receipt cannot be read")
	// ErrEarly: nobody knows yet that the notification was sent. Say it again.
	ErrEarly = errors.New("the notification is not known to be sent yet")
)

// GatewaySender names the sender of a gateway whose texts have one that only its provider knows.
func GatewaySender(gateway string) string { return "gateway:" + gateway }
