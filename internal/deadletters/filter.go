package deadletters

import (
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// filter is a [notify.LetterFilter] in the form in which letters are compared with it.
type filter struct {
	notify.LetterFilter
	channels     []notify.Channel
	reason, code string                    // in lower case
	recipients   map[notify.Channel]string // canonical recipients; nil matches every recipient
}

// Check returns [notify.Faults] for an invalid filter. It does not ask Kafka.
func Check(f notify.LetterFilter) error {
	_, err := compileFilter(f)
	return err
}

// compileFilter returns f as a filter. Its error is [notify.Faults] when no requested channel can have the recipient.
func compileFilter(f notify.LetterFilter) (*filter, error) {
	c := &filter{LetterFilter: f, channels: f.Channels, reason: strings.ToLower(f.Reason), code: strings.ToLower(f.Code)}
	if len(c.channels) == 0 {
		c.channels = notify.Channels()
	}
	if f.Recipient == "" {
		return c, nil
	}
	c.recipients = map[notify.Channel]string{}
	for _, ch := range c.channels {
		if address, ok := canonicalRecipient(ch, f.Recipient); ok {
			c.recipients[ch] = address
		}
	}
	if len(c.recipients) == 0 {
		return nil, notify.Faults{{Pointer: "#/recipient", Code: notify.FaultInvalid, Detail: "no such recipient can be on the channel: " +
			"give an address such as ada@example.com, or a number such as +14155550100"}}
	}
	return c, nil
}

// clip limits the bounds of a partition to the requested partition and offsets. It returns false if nothing remains.
func (f *filter) clip(b kafka.Bounds) (kafka.Bounds, bool) {
	if f.Partition != nil && *f.Partition != b.Partition {
		return b, false
	}
	if f.From != nil {
		b.Oldest = max(b.Oldest, *f.From)
	}
	if f.To != nil && *f.To < b.Newest {
		b.Newest = *f.To + 1
	}
	return b, b.Oldest < b.Newest
}

// matches reports whether the filter selects the letter.
func (f *filter) matches(l *dispatcher.Letter) bool {
	switch {
	case len(f.IDs) > 0 && !slices.Contains(f.IDs, l.ID),
		f.Lane != "" && f.Lane != l.Lane,
		f.Gateway != "" && f.Gateway != l.Gateway,
		!strings.Contains(strings.ToLower(l.Reason), f.reason),
		!strings.HasPrefix(strings.ToLower(l.Code), f.code),
		!f.Since.IsZero() && l.Died.Before(f.Since),
		!f.Until.IsZero() && !l.Died.Before(f.Until):
		return false
	}
	return f.recipients == nil || l.Notification != nil && f.matchesRecipient(l.Channel, l.Notification.Recipient)
}

// matchesRecipient reports whether the recipient is the requested one.
func (f *filter) matchesRecipient(ch notify.Channel, recipient string) bool {
	wanted, ok := f.recipients[ch]
	address, valid := canonicalRecipient(ch, recipient)
	return ok && valid && address == wanted
}

// canonicalRecipient returns the spelling of a recipient in which recipients are compared. ok is false if the channel cannot
// have that recipient. A recipient of channel push may be a token, a topic or a condition, and is returned unchanged.
func canonicalRecipient(ch notify.Channel, recipient string) (address string, ok bool) {
	if ch == notify.ChannelPush {
		return recipient, recipient != ""
	}
	address, faults := validate.Recipient(&notify.Notification{Channel: ch, Recipient: recipient})
	return address, len(faults) == 0
}
