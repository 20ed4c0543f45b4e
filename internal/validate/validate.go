// Package validate says what an acceptable notification is, for the API before it publishes and for workers that read
// what others wrote straight to a topic.
//
// It alone knows the limits and the spelling of addresses, numbers and tokens. Every fault names the field and the
// remedy and never repeats what was submitted.
package validate

import (
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Rules is what the configuration adds to the contract.
type Rules struct {
	// DefaultFrom names the channels whose gateway has a sender of its own; elsewhere the payload must name one.
	DefaultFrom map[notify.Channel]bool
}

// Decode reads a notification's JSON. Strict refuses unknown top-level fields; otherwise they are named in warnings.
// Unknown fields below the top are always faults.
func Decode(raw []byte, strict bool) (n *notify.Notification, warnings []string, faults notify.Faults) {
	return nil, nil, nil
}

// Check finds every fault of n and gives the message that a gateway sends. It fills in what is absent (tenant, lane,
// recipient type) but neither an id nor times.
func (r Rules) Check(n *notify.Notification) (*notify.Message, notify.Faults) {
	return nil, nil
}

// OrderingKey is the key of n's record: its own, else the bare recipient.
func OrderingKey(m *notify.Message) []byte { return nil }
