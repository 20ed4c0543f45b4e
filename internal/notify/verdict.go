package notify

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Verdict is how a gateway judges its own answer.
type Verdict string

// The verdicts of the contract.
const (
	Accepted    Verdict = "accepted"    // the gateway took the message
	Permanent   Verdict = "permanent"   // no later attempt can do better
	Transient   Verdict = "transient"   // a later attempt may do better
	Throttled   Verdict = "throttled"   // the gateway asks to slow down; it did not take the message
	Unavailable Verdict = "unavailable" // the gateway refuses us, whatever the message
	Ambiguous   Verdict = "ambiguous"   // the request was written and its answer was lost
)

// Reasons that say more than a provider's own words. They travel in events and dead letters.
const (
	ReasonRecipientGone    = "recipient_gone"
	ReasonOptedOut         = "opted_out"
	ReasonBadRecipient     = "bad_recipient"
	ReasonTooLarge         = "too_large"
	ReasonNotSupportedYet  = "not_supported_yet"
	ReasonUndecodable      = "undecodable"
	ReasonInvalid          = "invalid"
	ReasonSchemaUnknown    = "schema_unknown"
	ReasonExpired          = "expired"
	ReasonAttemptsUsedUp   = "attempts_used_up"
	ReasonAmbiguous        = "ambiguous" // held: nobody knows whether a gateway took it
	ReasonOrder            = "order"     // it kept others of its key waiting for too long
	ReasonSuppressed       = "suppressed"
	ReasonCancelled        = "cancelled"
	ReasonUndecodableBatch = "undecodable_batch" // the dead letter holds a whole record batch
	ReasonPanicked         = "panicked"          // handling it failed three times, by a fault of this program
	ReasonReceipt          = "receipt"           // its provider reported the fate of the message before this worker knew that the provider had it
	ReasonUnconfirmed      = "unconfirmed"       // sent for good: its provider has not said in time what became of it
)

// IsGone reports whether the reason of a bounce says that the recipient does not exist or has opted out.
func IsGone(reason string) bool {
	return reason == ReasonRecipientGone || reason == ReasonBadRecipient || reason == ReasonOptedOut
}

// Failure is a verdict other than accepted: the error that a gateway's Send returns.
type Failure struct {
	Verdict Verdict
	Code    string        // the provider's code, e.g. "550 5.1.1", "21211", "UNREGISTERED"
	Reason  string        // a Reason constant or a plain sentence; never a secret, a recipient or a payload
	Gone    bool          // permanent: about the recipient, not about the message; it makes no dead letter
	Works   bool          // transient, throttled: the gateway itself works, it is this recipient who has to wait
	Next    bool          // permanent, throttled: another gateway of the route may take the message now
	Crowded bool          // throttled: too many calls at once; fewer of them help, not a slower pace
	After   time.Duration // throttled: how long the provider asks to wait; unavailable: when it makes sense to ask again; 0 = it did not say
	Remedy  string        // unavailable: what an operator does about it; gone and next: the operator's action if this failure repeats for many recipients
	Err     error         // the cause, for errors.As; may be nil
}

func (f *Failure) Error() string {
	parts := []string{string(f.Verdict)}
	for _, s := range []string{f.Code, f.Reason} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

func (f *Failure) Unwrap() error { return f.Err }

// Judge gives the failure that err carries. An error without one is transient; a nil error has none.
func Judge(err error) *Failure {
	if err == nil {
		return nil
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	reason := "the gateway failed"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		reason = "the attempt's time ran out before the message was handed over"
	case errors.Is(err, context.Canceled):
		reason = "the attempt was cancelled before the message was handed over"
	}
	return &Failure{Verdict: Transient, Reason: reason, Err: err}
}
