package gatewaytest

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Suite says how to drive one gateway. F is its fake provider.
//
// A fake bites best when it puts the recipient, the credentials and the message into what it replies: the suite looks for
// all of them in every error and log line.
type Suite[F any] struct {
	// Fake starts a provider that accepts everything; its end is a t.Cleanup.
	Fake func(t testing.TB) F
	// New makes a sender that talks to f. The suite closes it.
	New func(t testing.TB, f F, log *zap.Logger) gateway.Sender
	// Messages has a maker for each channel of the gateway: [Email], [SMS], [Push] or one of the gateway's own whose
	// text contains [Mark](n).
	Messages []func(n int) *notify.Message

	// Accept makes the provider well again after anything below.
	Accept func(f F)
	// Refuse makes the provider refuse our credentials.
	Refuse func(f F)
	// Delivered gives the text of every message that the provider has accepted so far; it contains the marks.
	Delivered func(f F) []string

	// Origins gives the sender of every message that the provider has accepted so far, as the request named it, in the order of
	// Delivered. Only for gateways that send text messages.
	Origins func(f F) []string

	Replies []Case[F]
	Steps   []Step[F]

	Secrets   []string // what must never show besides the messages: passwords and tokens, plain and as they go over the wire
	Simulated bool     // receipts say so
	Exempt    map[Kind]string

	patience time.Duration // how long to wait for what a fake on loopback does at once; 10 s
}

// Case is one answer of the provider and what it means.
type Case[F any] struct {
	Name    string
	Kind    Kind                    // only for [Garbled] and [Partial]; otherwise it follows from the verdict
	Reply   func(f F)               // makes the provider answer so until Accept; nil where Message does it
	Message func(m *notify.Message) // changes the message, where that provokes the answer; nil leaves it

	Want       notify.Verdict
	WantCode   string        // exact; "" = not looked at
	WantReason string        // contained in the reason
	WantGone   bool          // exact
	WantAfter  time.Duration // exact
	WantNext   bool          // exact: the next gateway of the route may take the message
	WantFewer  bool          // exact: too many calls at once
	WantRemedy string        // contained; unavailable always needs some remedy
}

// Step is a point in the provider's protocol at which the connection can be lost or the provider fall silent.
type Step[F any] struct {
	Name string
	// Written: the provider may have the whole message, so that losing the answer is ambiguous. Before, it is transient.
	Written bool
	// Lose makes the provider drop the connection at this step, once or until Accept.
	Lose func(f F)
	// Hang makes the provider fall silent at this step; reached is closed (or sent to) when it has come that far.
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
