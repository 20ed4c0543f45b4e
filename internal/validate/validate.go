// Package validate says what an acceptable notification is, for the API before it publishes and for workers that read
// what others wrote straight to a topic.
//
// It alone knows the limits and the spelling of addresses, numbers and tokens. Every fault names the field and the
// remedy and never repeats what was submitted.
package validate

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Rules is what the configuration adds to the contract.
type Rules struct {
	// DefaultFrom names the channels whose gateway has a sender of its own; elsewhere the payload must name one.
	DefaultFrom map[notify.Channel]bool
	// RecipientTypes names the recipient types that the gateways of channel push take. None: fcm, topic and condition.
	RecipientTypes []string
}

// Check finds every fault of n and gives the message that a gateway sends. It fills in what is absent (tenant, lane,
// recipient type), in n too, but neither an id nor times.
//
// In the message, though not in n, every mailbox is in one spelling that net/mail and a relay without SMTPUTF8 take: the
// domain in lower-case ASCII, the local part as it was submitted.
func (r Rules) Check(n *notify.Notification) (*notify.Message, notify.Faults) {
	c := &checker{}
	c.options(n)
	m := &notify.Message{Notification: *n}
	if !n.Channel.Known() {
		c.channel(n.Channel)
		return nil, c.faults
	}
	m.Recipient, m.Address = c.recipient(n, r.RecipientTypes)
	if c.payload(m); m.Email != nil {
		c.email(m.Email, r.DefaultFrom[n.Channel])
	} else if m.SMS != nil {
		c.sms(m.SMS, r.DefaultFrom[n.Channel])
	} else if m.Push != nil {
		c.push(m.Push, n.RecipientType)
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return m, nil
}

// Recipient checks only whom n is for: channel, recipient and tenant. It fills in what is absent of them, and gives the bare
// address as messages have it, for what is compared with theirs.
func Recipient(n *notify.Notification) (address string, faults notify.Faults) {
	c := &checker{anyNumber: true} // what earlier versions have accepted can still be named
	c.options(n)
	if !n.Channel.Known() {
		c.channel(n.Channel)
		return "", c.faults
	}
	_, address = c.recipient(n, notify.RecipientTypes())
	return address, c.faults
}

// recipient checks the recipient by its channel, and gives it in one spelling and bare.
func (c *checker) recipient(n *notify.Notification, types []string) (recipient, address string) {
	switch n.Channel {
	case notify.ChannelEmail:
		return c.mailbox("#/recipient", n.Recipient)
	case notify.ChannelSMS:
		return n.Recipient, c.phone("#/recipient", n.Recipient)
	default:
		return n.Recipient, c.target(n, types)
	}
}

// Times are the faults of a notification that ends before it begins, or that begins too far ahead. Workers do not ask: they
// have a state for the one, and allow for the clocks of others in judging the other.
func Times(n *notify.Notification, now time.Time) (faults notify.Faults) {
	invalid := func(pointer, detail string) {
		faults = append(faults, notify.Fault{Pointer: pointer, Code: notify.FaultInvalid, Detail: detail})
	}
	if n.SendAt != nil && n.SendAt.Sub(now) > notify.MaxDelay {
		invalid("#/send_at", "give a time within the next 30 days")
	}
	switch {
	case n.ExpiresAt == nil:
	case !n.ExpiresAt.After(now):
		invalid("#/expires_at", "give a time in the future")
	case n.SendAt != nil && !n.ExpiresAt.After(*n.SendAt):
		invalid("#/expires_at", "give a time after send_at")
	}
	return faults
}

// OrderingKey is the key of m's record: its own, else the bare recipient.
func OrderingKey(m *notify.Message) []byte {
	if m.OrderingKey != "" {
		return []byte(m.OrderingKey)
	}
	return []byte(m.Address)
}
