// Package gateway defines the interface of a gateway, which sends one message through one provider and judges the provider's
// answer. It also has the parts that gateways share: HTTP requests and connections, access tokens, and the circuit breaker.
//
// Each package below this one adapts one provider. A gateway makes one try within its context and returns the meaning of the
// answer as a [notify.Failure]. It never retries, counts or waits: the worker decides what happens next.
//
// A gateway keeps no state about its failures. A [Breaker] beside it does, for all callers.
package gateway

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Originator is a [Sender] of text messages. Opt-outs apply to the sender that it names: see docs/adr/0019.
type Originator interface {
	// Originator returns the sender that recipients of m see: a number, a name, or the service that chooses one. It returns an
	// empty text if only the provider knows the sender. Concurrent calls must be safe.
	Originator(m *notify.Message) string
}

// Sender is a configured gateway. Concurrent calls of all methods must be safe.
type Sender interface {
	// Send makes one try to send m. It blocks until the provider answers, and returns within a second after ctx's deadline. A
	// nil error means that the provider accepted m. Every other answer is a *notify.Failure (reachable by errors.As) whose text
	// has no secret, no recipient and no payload. An error without a *notify.Failure counts as transient.
	Send(ctx context.Context, m *notify.Message) (notify.Receipt, error)
	// Check connects and authenticates without sending a message. Its errors are like those of Send.
	Check(ctx context.Context) error
	// Close closes the connections that Send keeps. Nothing is sent afterwards.
	Close() error
}

// LongSender is a sender whose provider may take minutes to accept a message, such as a mail relay. The context of a call may have
// no deadline. It ends when another worker may send the message: then Send returns within a second.
type LongSender interface {
	Sender
	// SendPatiently is Send for a message that no other gateway can take. It waits for each answer as long as the provider's
	// protocol says. Send returns after the gateway's timeout if the provider does not have the message by then. Once the
	// provider has the message, both wait equally long for its answer.
	SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error)
}
