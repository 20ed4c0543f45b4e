package notify

import (
	"bytes"
	"encoding/json"
	"time"
)

// Channel is a kind of delivery.
type Channel string

// The channels of the contract. Webhook is a word already and has no worker yet.
const (
	ChannelEmail   Channel = "email"
	ChannelSMS     Channel = "sms"
	ChannelPush    Channel = "push"
	ChannelWebhook Channel = "webhook"
)

// Channels lists the channels that can be delivered, in the order in which they are shown to people.
func Channels() []Channel { return []Channel{ChannelEmail, ChannelSMS, ChannelPush} }

// Known reports whether c can be delivered.
func (c Channel) Known() bool {
	return c == ChannelEmail || c == ChannelSMS || c == ChannelPush
}

// Lane is a class of urgency with topics and workers of its own.
type Lane string

// The lanes of the contract.
const (
	LaneUrgent Lane = "urgent"
	LaneNormal Lane = "normal"
	LaneBulk   Lane = "bulk"
)

// Lanes lists the lanes, the most urgent first.
func Lanes() []Lane { return []Lane{LaneUrgent, LaneNormal, LaneBulk} }

// Known reports whether l is one of the contract's.
func (l Lane) Known() bool { return l == LaneUrgent || l == LaneNormal || l == LaneBulk }

// Recipient types of channel push.
const (
	RecipientFCM       = "fcm"
	RecipientAPNs      = "apns"
	RecipientWebPush   = "webpush"
	RecipientTopic     = "topic"
	RecipientCondition = "condition"
)

// RecipientTypes lists the recipient types that can be delivered, in the order in which they are shown to people.
func RecipientTypes() []string {
	return []string{RecipientFCM, RecipientAPNs, RecipientTopic, RecipientCondition}
}

// What to do when nobody knows whether a gateway took a message.
const (
	AmbiguousResend = "resend"
	AmbiguousHold   = "hold"
)

// MaxDelay is how far ahead a notification may be scheduled.
const MaxDelay = 30 * 24 * time.Hour

// FarthestDue is how far ahead a job may be due on the bus: with a day for clocks that differ and copies that come late. What is
// farther ahead means nothing.
const FarthestDue = MaxDelay + 24*time.Hour

// DefaultTenant is the tenant of a notification that names none.
const DefaultTenant = "default"

// Notification is what a caller submits and, encoded by [Notification.Encode], the value of a job on the bus.
// It is immutable once it has been accepted.
type Notification struct {
	ID            string            `json:"id,omitempty"`             // UUID; minted as UUIDv7 by the API when absent
	Tenant        string            `json:"tenant,omitempty"`         // [DefaultTenant] when absent
	Channel       Channel           `json:"channel,omitempty"`        // may be absent on a channel's topic
	Recipient     string            `json:"recipient"`                // one address, E.164 number, token, topic or condition
	RecipientType string            `json:"recipient_type,omitempty"` // push only; fcm when absent
	Payload       json.RawMessage   `json:"payload,omitempty"`        // an [Email], [SMS] or [Push], by channel
	Template      json.RawMessage   `json:"template,omitempty"`       // not supported yet
	Lane          Lane              `json:"lane,omitempty"`           // normal when absent
	OrderingKey   string            `json:"ordering_key,omitempty"`   // at most 255 bytes; the bare recipient when absent
	SendAt        *time.Time        `json:"send_at,omitempty"`        // RFC 3339; at most [MaxDelay] ahead
	ExpiresAt     *time.Time        `json:"expires_at,omitempty"`     // RFC 3339; no attempt starts later
	Reference     string            `json:"reference,omitempty"`      // the caller's own word for it, at most 255 bytes, not unique
	Metadata      map[string]string `json:"metadata,omitempty"`       // at most 4 KiB encoded
	OnAmbiguous   string            `json:"on_ambiguous,omitempty"`   // resend (the default) or hold
	Sensitive     bool              `json:"sensitive,omitempty"`      // what it says is kept nowhere but on the bus, and shown nowhere
}

// Encode returns the JSON that goes on the bus: compact, without HTML escaping, no line end. The payload and the template have to
// be JSON. The error is about a time that JSON does not have.
func (n *Notification) Encode() ([]byte, error) {
	return appendNotification(make([]byte, 0, 512+len(n.Payload)), n)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Message is a notification that has been found valid, with its payload decoded: what a gateway gets.
// Exactly one of Email, SMS and Push is set, by the channel.
type Message struct {
	Notification
	Address string // the bare address (domain lower case, ASCII), the E.164 number, the token, topic or condition
	Run     int    // of the job; a receipt says which run it is about
	Email   *Email
	SMS     *SMS
	Push    *Push
	Parts   *Parts // of an e-mail, while a worker delivers it; may be nil
}

// Schema is the version that readers of the record must understand.
func (m *Message) Schema() int {
	if m.Email != nil && m.Email.Partial != "" {
		return 2
	}
	return 1
}

// Receipt is what a gateway says of a message that it accepted.
type Receipt struct {
	ProviderID string // the provider's name for the message; may be empty
	Simulated  bool   // nothing left this host (capture, sim)
	Awaited    bool   // the provider will say what became of it, in a [Report]: until then sent is not final

	Warnings []string // which recipients the message may not have reached, by field; never an address
}
