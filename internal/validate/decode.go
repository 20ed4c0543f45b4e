package validate

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxWarnings bounds what a notification with a thousand unknown fields leaves in its event.
const maxWarnings = 10

var envelope = []string{
	"id", "tenant", "channel", "recipient", "recipient_type", "payload", "template", "lane", "ordering_key", "send_at",
	"expires_at", "reference", "metadata", "on_ambiguous", "sensitive",
}

// Decode reads a notification's JSON. Strict refuses unknown top-level fields; otherwise they are named in warnings.
// Unknown fields below the top are always faults, of [Rules.Check].
//
// Names are matched exactly, and none may be given twice. With faults, n holds what could be read all the same; it is nil
// only if raw is no JSON object. Raw must not change as long as n is used.
func Decode(raw []byte, strict bool) (n *notify.Notification, warnings []string, faults notify.Faults) {
	c := &checker{reader: reader{b: raw}}
	n = c.notification(envelope, nil, func(key string) {
		if c.skip(); strict {
			c.unknown("#", key, envelope)
		} else if len(warnings) < maxWarnings {
			warnings = append(warnings, warning(key))
		}
	})
	if c.bad != "" {
		warnings = nil
	}
	return n, warnings, c.faults
}

// notification reads the whole of b as an object of known, which begins with the envelope; more reads what stands behind
// that, and other what is not known. It gives nil if b is no object, and then one fault.
func (c *checker) notification(known []string, more func(at string), other func(key string)) *notify.Notification {
	if !utf8.Valid(c.b) {
		c.stop("the JSON is not UTF-8")
	}
	n := &notify.Notification{}
	found := c.open("#", known, func(i int, at string) {
		if i < len(envelope) {
			c.field(n, i, at)
		} else {
			more(at)
		}
	}, other)
	if c.end(); c.bad != "" {
		c.faults = notify.Faults{{Pointer: "#", Code: Malformed, Detail: "send one JSON object in UTF-8: " + c.bad}}
	}
	if c.bad != "" || !found {
		return nil
	}
	return n
}

func warning(key string) string {
	if !speakable(key) {
		return "an unknown field was ignored"
	}
	return "unknown field " + key + " was ignored"
}

// field reads the value of envelope[i].
func (c *checker) field(n *notify.Notification, i int, at string) {
	switch envelope[i] {
	case "id":
		n.ID = c.str(at)
	case "tenant":
		n.Tenant = c.str(at)
	case "channel":
		n.Channel = notify.Channel(c.str(at))
	case "recipient":
		n.Recipient = c.str(at)
	case "recipient_type":
		n.RecipientType = c.str(at)
	case "payload":
		n.Payload = c.block(at)
	case "template":
		n.Template = c.block(at)
	case "lane":
		n.Lane = notify.Lane(c.str(at))
	case "ordering_key":
		n.OrderingKey = c.str(at)
	case "send_at":
		n.SendAt = c.when(at)
	case "expires_at":
		n.ExpiresAt = c.when(at)
	case "reference":
		n.Reference = c.str(at)
	case "metadata":
		n.Metadata = c.dict(at)
	case "on_ambiguous":
		n.OnAmbiguous = c.str(at)
	case "sensitive":
		n.Sensitive = c.flag(at)
	}
}

// block leaves an object as it was written.
func (c *checker) block(at string) []byte {
	if !c.is('{', at, "an object") {
		return nil
	}
	return c.skip()
}

// options checks what is the same on every channel, and fills in defaults.
func (c *checker) options(n *notify.Notification) {
	if id, ok := notify.ParseID(n.ID); ok {
		n.ID = id
	} else if n.ID != "" {
		c.invalid("#/id", "give a UUID such as 0190163d-8694-739b-aea5-966c26f8ad91, or leave it out")
	}
	if n.Tenant == "" {
		n.Tenant = notify.DefaultTenant
	} else if !IsTenant(n.Tenant) {
		c.invalid("#/tenant", "give 1 to 64 letters, digits, dots, hyphens or underscores")
	}
	switch {
	case n.Channel == notify.ChannelPush && n.RecipientType == "":
		n.RecipientType = notify.RecipientFCM
	case n.Channel.Known() && n.Channel != notify.ChannelPush && n.RecipientType != "":
		c.invalid("#/recipient_type", "leave it out: it belongs to channel push")
	}
	c.lane(n)
	c.line("#/ordering_key", n.OrderingKey, 255)
	c.line("#/reference", n.Reference, 255)
	c.metadata(n.Metadata)
	switch n.OnAmbiguous {
	case "", notify.AmbiguousResend, notify.AmbiguousHold:
	default:
		c.invalid("#/on_ambiguous", "give resend or hold")
	}
}

func (c *checker) lane(n *notify.Notification) {
	if n.Lane == "" {
		n.Lane = notify.LaneNormal
	} else if !n.Lane.Known() {
		c.invalid("#/lane", "give one of urgent, normal, bulk")
	}
}

func (c *checker) channel(name notify.Channel) {
	switch name {
	case "":
		c.required("#/channel", "give one of email, sms, push")
	case notify.ChannelWebhook:
		c.later("#/channel", "give one of email, sms, push: webhook is not supported yet")
	default:
		c.invalid("#/channel", "give one of email, sms, push")
	}
}

func (c *checker) metadata(all map[string]string) {
	if len(all) == 0 { // mostly: sorting nothing allocates too
		return
	}
	size := len("{}")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		if !utf8.ValidString(key) || !utf8.ValidString(value) || strings.ContainsRune(key+value, 0) {
			c.invalid(child("#/metadata", key), "give text in UTF-8 without NUL characters")
		}
		size += len(`"":"",`) + len(key) + len(value)
	}
	if size > 4<<10 {
		c.fault("#/metadata", notify.FaultTooLarge, "keep the metadata within 4 KiB")
	}
}

// payload reads m's payload by its channel.
func (c *checker) payload(m *notify.Message) {
	if len(m.Template) > 0 {
		c.later("#/template", "give a payload instead: templates are not supported yet")
	}
	if len(m.Payload) == 0 {
		if len(m.Template) == 0 {
			c.required("#/payload", "give the payload of the channel")
		}
		return
	}
	c.reader = reader{b: m.Payload}
	if !utf8.Valid(m.Payload) {
		c.stop("it is not UTF-8")
	}
	switch m.Channel {
	case notify.ChannelEmail:
		m.Email = c.readEmail("#/payload")
	case notify.ChannelSMS:
		m.SMS = c.readSMS("#/payload")
	case notify.ChannelPush:
		m.Push = c.readPush("#/payload")
	}
	if c.end(); c.bad != "" {
		m.Email, m.SMS, m.Push = nil, nil, nil
		c.invalid("#/payload", "give a JSON object: "+c.bad)
	}
}
