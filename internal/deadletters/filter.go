package deadletters

import (
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// filter is a [notify.LetterFilter] ready to be asked.
type filter struct {
	notify.LetterFilter
	channels     []notify.Channel
	reason, code string                    // in lower case
	recipients   map[notify.Channel]string // by which recipients are compared; nil wants all
}

// Check finds what is wrong with f before Kafka is asked: [notify.Faults].
func Check(f notify.LetterFilter) error {
	_, err := compile(f)
	return err
}

// compile makes f a filter. Its error, [notify.Faults], says that no letter can be to that recipient.
func compile(f notify.LetterFilter) (*filter, error) {
	c := &filter{LetterFilter: f, channels: f.Channels, reason: strings.ToLower(f.Reason), code: strings.ToLower(f.Code)}
	if len(c.channels) == 0 {
		c.channels = notify.Channels()
	}
	if f.Recipient == "" {
		return c, nil
	}
	c.recipients = map[notify.Channel]string{}
	for _, ch := range c.channels {
		if address, ok := bare(ch, f.Recipient); ok {
			c.recipients[ch] = address
		}
	}
	if len(c.recipients) == 0 {
		return nil, notify.Faults{{Pointer: "#/recipient", Code: notify.FaultInvalid, Detail: "no such recipient can be on the channel: " +
			"give an address such as ada@example.com, or a number such as +14155550100"}}
	}
	return c, nil
}

// within narrows a partition's bounds to what was asked for.
func (f *filter) within(b kafka.Bounds) (kafka.Bounds, bool) {
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

// wants reports whether a letter is one that was asked for.
func (f *filter) wants(l *dispatcher.Letter) bool {
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
	return f.recipients == nil || l.Notification != nil && f.isFor(l.Channel, l.Notification.Recipient)
}

func (f *filter) isFor(ch notify.Channel, recipient string) bool {
	wanted, ok := f.recipients[ch]
	address, valid := bare(ch, recipient)
	return ok && valid && address == wanted
}

// bare is a recipient in the spelling by which recipients are compared; ok is false for what cannot be one of the channel.
// What is for push may be a token, a topic or a condition, and is compared as it is.
func bare(ch notify.Channel, recipient string) (address string, ok bool) {
	if ch == notify.ChannelPush {
		return recipient, recipient != ""
	}
	address, faults := validate.Recipient(&notify.Notification{Channel: ch, Recipient: recipient})
	return address, len(faults) == 0
}
