package gatewaytest

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Suite describes how to drive one gateway. F is its fake provider.
//
// The best fake puts the recipient, the credentials and the message into its replies: the suite searches every error and log line for
// all of them.
type Suite[F any] struct {
	// Fake starts a provider that accepts everything. It stops the provider with t.Cleanup.
	Fake func(t testing.TB) F
	// New returns a sender to f. The suite closes it.
	New func(t testing.TB, f F, log *zap.Logger) gateway.Sender
	// Messages has a constructor for each channel of the gateway: [Email], [SMS], [Push], or the gateway's own whose text
	// contains [Mark](n).
	Messages []func(n int) *notify.Message

	// Accept removes all faults of the provider.
	Accept func(f F)
	// Refuse makes the provider refuse the gateway's credentials.
	Refuse func(f F)
	// Delivered returns the text of every message that the provider has accepted so far, with its mark.
	Delivered func(f F) []string

	// Origins returns the sender of every message that the provider has accepted so far, as named in the request, in the order
	// of Delivered. Only for gateways that send text messages.
	Origins func(f F) []string

	Replies []Case[F]
	Steps   []Step[F]

	Secrets   []string // secrets besides the messages: passwords and tokens, plain and in their encoded forms
	Simulated bool     // receipts are marked as simulated
	Exempt    map[Kind]string

	patience time.Duration // bound of a wait for the fake; 10 s
}

// Case is one answer of the provider with its expected verdict.
type Case[F any] struct {
	Name    string
	Kind    Kind                    // only for [Garbled] and [Partial]; otherwise it follows from the verdict
	Reply   func(f F)               // makes the provider give this answer until Accept; nil if Message provokes it
	Message func(m *notify.Message) // changes the message to provoke the answer; nil changes nothing

	Want       notify.Verdict
	WantCode   string        // exact; "" = not checked
	WantReason string        // contained in the reason
	WantGone   bool          // exact
	WantAfter  time.Duration // exact
	WantNext   bool          // exact: the next gateway of the route may take the message
	WantFewer  bool          // exact: too many calls at once
	WantRemedy string        // contained; unavailable always needs some remedy
}

// Step is a point of the provider's protocol at which the connection can be lost or the provider can fall silent.
type Step[F any] struct {
	Name string
	// Written says that the provider may have the whole message: a lost answer is then ambiguous, and transient otherwise.
	Written bool
	// Lose makes the provider drop the connection at this step, once or until Accept.
	Lose func(f F)
	// Hang makes the provider fall silent at this step. Reached is closed, or sent to, when a request has come that far.
	Hang func(f F) (reached <-chan struct{})
}

func (s Step[F]) want() notify.Verdict {
	if s.Written {
		return notify.Ambiguous
	}
	return notify.Transient
}

func (c Case[F]) kind() Kind {
	switch {
	case c.Kind != "":
		return c.Kind
	case c.WantGone && c.WantReason == notify.ReasonOptedOut:
		return OptedOut
	case c.WantGone:
		return Gone
	case c.Want == notify.Permanent && c.WantNext:
		return Elsewhere
	case c.WantFewer:
		return Crowded
	case c.Want == notify.Unavailable && c.WantAfter > 0:
		return Paused
	}
	return Kind("reply: " + string(c.Want))
}
