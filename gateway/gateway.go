// Package gateway says what a way out is: something that takes one message and judges its own answer.
//
// The packages below it adapt one provider each. A gateway never retries, counts or waits for better times: it makes one
// try within its ctx and says with a [notify.Failure] what the answer means. What happens next is not its business.
//
// Nor does it remember: a [Breaker] does that, beside it, for all who call it.
package gateway

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Originator is a [Sender] of text messages. Opt-outs apply to what it names: see docs/adr/0019.
type Originator interface {
	// Originator returns the sender from which recipients get m: a number, a name, or the service that chooses one. It is empty
	// where only the provider knows. It may be called from many goroutines at once.
	Originator(m *notify.Message) string
}

// Sender is a configured way out. All methods may be called at once from many goroutines.
type Sender interface {
	// Send hands m over once and returns before ctx's deadline, give or take a second. A nil error means that the
	// provider accepted m. Every other answer is a *notify.Failure (reachable by errors.As) whose text holds no secret,
	// no recipient and no payload; an error without one counts as transient.
	Send(ctx context.Context, m *notify.Message) (notify.Receipt, error)
	// Check connects and authenticates without sending. Its errors are like Send's.
	Check(ctx context.Context) error
	// Close ends what Send keeps open. Nothing is sent afterwards.
	Close() error
}

// LongSender is a sender whose provider may take minutes to accept a message, as a mail relay may. Its ctx may have no deadline,
// and ends when somebody else may send the message: then Send returns within a second.
type LongSender interface {
	Sender
	// SendPatiently is Send for when no other gateway can be asked: it waits for each answer for as long as the provider's
	// protocol says. Send gives a message that the provider does not have yet back after the gateway's timeout. Once the
	// provider has the message, both wait for its answer equally long.
	SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error)
}
