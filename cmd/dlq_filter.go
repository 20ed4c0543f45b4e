package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// letterFlags are the flags that choose letters, as they were written.
type letterFlags struct {
	channels                                                     []string
	reason, code, gateway, recipient, lane, sinceText, untilText string
}

func addLetterFlags(c *cobra.Command) *letterFlags {
	f := &letterFlags{}
	fs := c.Flags()
	fs.StringSliceVar(&f.channels, "channel", nil, "email, sms or push; repeated or separated by commas (default: all)")
	fs.StringVar(&f.reason, "reason", "", "what the reason contains, such as attempts_used_up")
	fs.StringVar(&f.code, "code", "", "what the provider's code begins with, such as 550 or \"451 4.7.1\"")
	fs.StringVar(&f.gateway, "gateway", "", "name of the gateway that was called last")
	fs.StringVar(&f.recipient, "recipient", "", "address, number, token, topic or condition")
	fs.StringVar(&f.lane, "lane", "", "urgent, normal or bulk")
	fs.StringVar(&f.sinceText, "since", "", "not before that time: 24h (ago), 2026-01-31 or 2026-01-31T09:30:00Z")
	fs.StringVar(&f.untilText, "until", "", "before that time, spelt alike")
	return f
}

// letterFilter says which letters a command is about.
type letterFilter struct {
	channels              []notify.Channel
	ids                   map[string]bool // nil wants all
	reason, code, gateway string
	lane                  notify.Lane
	since, until          time.Time
	recipients            map[notify.Channel]string // nil wants all
	narrow                bool                      // something was asked for besides channels
}

// filter reads the flags, and the ids that the command was given.
func (f *letterFlags) filter(ids []string, now time.Time) (*letterFilter, error) {
	w := &letterFilter{
		reason: strings.ToLower(f.reason), code: strings.ToLower(f.code), gateway: f.gateway, lane: notify.Lane(f.lane),
		narrow: len(ids) > 0 || f.reason+f.code+f.gateway+f.lane+f.recipient+f.sinceText+f.untilText != "",
	}
	if f.lane != "" && !w.lane.Known() {
		return nil, errors.New("--lane knows urgent, normal and bulk")
	}
	var err error
	if w.channels, err = knownChannels(f.channels); err != nil {
		return nil, err
	}
	if w.ids, err = knownIDs(ids); err != nil {
		return nil, err
	}
	if w.since, err = moment("--since", f.sinceText, now); err != nil {
		return nil, err
	}
	if w.until, err = moment("--until", f.untilText, now); err != nil {
		return nil, err
	}
	return w, w.readRecipient(f.recipient)
}

func (w *letterFilter) readRecipient(given string) error {
	if given == "" {
		return nil
	}
	w.recipients = map[notify.Channel]string{}
	for _, ch := range w.channels {
		if address, ok := bare(ch, given); ok {
			w.recipients[ch] = address
		}
	}
	if len(w.recipients) == 0 {
		return errors.New("--recipient: no such recipient can be on the channel: give an address such as ada@example.com, or a number such as +14155550100")
	}
	return nil
}

// wants reports whether a letter is one that was asked for.
func (w *letterFilter) wants(l *dispatcher.Letter) bool {
	switch {
	case w.ids != nil && !w.ids[l.ID],
		w.lane != "" && w.lane != l.Lane,
		w.gateway != "" && w.gateway != l.Gateway,
		!strings.Contains(strings.ToLower(l.Reason), w.reason),
		!strings.HasPrefix(strings.ToLower(l.Code), w.code),
		!w.since.IsZero() && l.Died.Before(w.since),
		!w.until.IsZero() && !l.Died.Before(w.until):
		return false
	}
	return w.recipients == nil || l.Notification != nil && w.isFor(l.Channel, l.Notification.Recipient)
}

func (w *letterFilter) isFor(ch notify.Channel, recipient string) bool {
	wanted, ok := w.recipients[ch]
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

func knownChannels(names []string) ([]notify.Channel, error) {
	if len(names) == 0 {
		return notify.Channels(), nil
	}
	var channels []notify.Channel
	for _, name := range names {
		ch := notify.Channel(strings.TrimSpace(name))
		if !ch.Known() {
			return nil, errors.New("--channel knows email, sms and push")
		}
		if !slices.Contains(channels, ch) {
			channels = append(channels, ch)
		}
	}
	return channels, nil
}

func knownIDs(ids []string) (map[string]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	known := map[string]bool{}
	for _, given := range ids {
		id, ok := notify.ParseID(given)
		if !ok {
			return nil, errors.New("ID must be a notification's, such as 0190163d-8694-739b-aea5-966c26f8ad91; laudspeaker dlq list shows them")
		}
		known[id] = true
	}
	return known, nil
}

// moment reads a time, or how long ago it is.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%s needs how long ago, such as 90m or 24h, or a time such as 2026-01-31T09:30:00Z", flag)
}
