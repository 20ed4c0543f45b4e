package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// letterFlags are the flags that choose letters, as they were written.
type letterFlags struct {
	flags                                                        func(name string) bool // whether it was given
	channels                                                     []string
	reason, code, gateway, recipient, lane, sinceText, untilText string
	partition                                                    int32
	from, to                                                     int64
}

func addLetterFlags(c *cobra.Command) *letterFlags {
	f := &letterFlags{flags: func(name string) bool { return c.Flags().Changed(name) }}
	fs := c.Flags()
	fs.StringSliceVar(&f.channels, "channel", nil, "email, sms or push; repeated or separated by commas (default: all)")
	fs.StringVar(&f.reason, "reason", "", "what the reason contains, such as attempts_used_up")
	fs.StringVar(&f.code, "code", "", "what the provider's code begins with, such as 550 or \"451 4.7.1\"")
	fs.StringVar(&f.gateway, "gateway", "", "name of the gateway that was called last")
	fs.StringVar(&f.recipient, "recipient", "", "address, number, token, topic or condition")
	fs.StringVar(&f.lane, "lane", "", "urgent, normal or bulk")
	fs.StringVar(&f.sinceText, "since", "", "not before that time: 24h (ago), 2026-01-31 or 2026-01-31T09:30:00Z")
	fs.StringVar(&f.untilText, "until", "", "before that time, spelt alike")
	fs.Int32Var(&f.partition, "partition", 0, "partition of the topic of dead letters")
	fs.Int64Var(&f.from, "from-offset", 0, "with --partition: first offset")
	fs.Int64Var(&f.to, "to-offset", 0, "with --partition: last offset")
	return f
}

// filter reads the flags, and the ids that the command was given.
func (f *letterFlags) filter(ids []string, now time.Time) (w notify.LetterFilter, err error) {
	w = notify.LetterFilter{Reason: f.reason, Code: f.code, Gateway: f.gateway, Lane: notify.Lane(f.lane), Recipient: f.recipient}
	if f.lane != "" && !w.Lane.Known() {
		return w, errors.New("--lane knows urgent, normal and bulk")
	}
	if w.Channels, err = knownChannels(f.channels); err != nil {
		return w, err
	}
	if w.IDs, err = knownIDs(ids); err != nil {
		return w, err
	}
	if w.Since, err = moment("--since", f.sinceText, now); err != nil {
		return w, err
	}
	if w.Until, err = moment("--until", f.untilText, now); err != nil {
		return w, err
	}
	if err = f.place(&w); err == nil {
		err = flagged(deadletters.Check(w))
	}
	return w, err
}

// place reads the flags about partitions and offsets.
func (f *letterFlags) place(w *notify.LetterFilter) error {
	if f.flags == nil {
		return nil
	}
	if f.flags("partition") {
		w.Partition = &f.partition
	}
	for flag, at := range map[string]*int64{"from-offset": &f.from, "to-offset": &f.to} {
		if f.flags(flag) && w.Partition == nil {
			return fmt.Errorf("--%s needs --partition: offsets are those of one partition", flag)
		}
		if f.flags(flag) && *at < 0 {
			return fmt.Errorf("--%s must be 0 or more", flag)
		}
	}
	if f.flags("from-offset") {
		w.From = &f.from
	}
	if f.flags("to-offset") {
		w.To = &f.to
	}
	return nil
}

// flagged gives what is wrong with a filter in the words of the flags.
func flagged(err error) error {
	var faults notify.Faults
	if !errors.As(err, &faults) {
		return err
	}
	return fmt.Errorf("--%s: %s", strings.TrimPrefix(faults[0].Pointer, "#/"), faults[0].Detail)
}

func knownChannels(names []string) (channels []notify.Channel, err error) {
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

func knownIDs(ids []string) (known []string, err error) {
	for _, given := range ids {
		id, ok := notify.ParseID(given)
		if !ok {
			return nil, errors.New("ID must be a notification's, such as 0190163d-8694-739b-aea5-966c26f8ad91; laudspeaker dlq list shows them")
		}
		known = append(known, id)
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
