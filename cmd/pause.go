package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newPause() *cobra.Command {
	c := &cobra.Command{
		Use:   "pause",
		Short: "Keep a channel, a lane or a gateway from sending",
		Long: `Keeps jobs from being started: those of a channel, of one of its lanes, or those for a gateway. Notifications are taken in
as before and wait in Kafka; attempts under way end as usual. A pause outlives restarts, until laudspeaker resume. What
expires meanwhile is not sent later.

It is written to Kafka (kafka.brokers, or else the broker that "laudspeaker all" brings on this host), for all processes
at once.`,
		Example: `  laudspeaker pause --channel email --lane bulk
  laudspeaker pause --gateway mail --note 'the relay moves house'
  laudspeaker pause --list`,
		Args: cobra.NoArgs,
	}
	s, t := addSettings(c), addTargets(c)
	note := c.Flags().String("note", "", "why, for those who see the list")
	list := c.Flags().Bool("list", false, "show what is paused, and pause nothing")
	asJSON := c.Flags().Bool("json", false, "with --list: one JSON object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *list {
			return s.onBus(c, func(b *openedBus) error { return b.listPauses(c.Context(), c.OutOrStdout(), *asJSON) })
		}
		entries, err := t.entries("pause")
		if err != nil {
			return err
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		if err := t.known(c.ErrOrStderr(), cfg, nil); err != nil {
			return err
		}
		return onBus(c, cfg, func(b *openedBus) error { return b.pause(c, entries, *note) })
	}
	return c
}

func newResume() *cobra.Command {
	c := &cobra.Command{
		Use:   "resume",
		Short: "Lift a pause",
		Long:  "Lifts what laudspeaker pause did. What waited is started in its order.",
		Example: `  laudspeaker resume --channel email --lane bulk
  laudspeaker resume --gateway mail`,
		Args: cobra.NoArgs,
	}
	s, t := addSettings(c), addTargets(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		entries, err := t.entries("resume")
		if err != nil {
			return err
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return onBus(c, cfg, func(b *openedBus) error {
			paused, err := b.told(c.Context(), control.KindPause)
			if err != nil {
				return err
			}
			if err := t.known(c.ErrOrStderr(), cfg, paused); err != nil {
				return err
			}
			return b.resume(c, entries, paused)
		})
	}
	return c
}

func (b *openedBus) pause(c *cobra.Command, entries []control.Entry, note string) error {
	var records []control.Record
	for _, e := range entries {
		e.At, e.By, e.Note = time.Now(), operator(), note
		records = append(records, e.Record())
	}
	from, err := b.tell(c.Context(), records...)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Fprintf(c.OutOrStdout(), "%s is paused, in force everywhere by %s, in 1 s. To go on: laudspeaker resume %s\n", e.Name(), clock(from), flagsOf(e))
	}
	return nil
}

// resume lifts those of entries that are paused, and says what stays paused.
func (b *openedBus) resume(c *cobra.Command, entries []control.Entry, paused map[string]control.Entry) error {
	var records []control.Record
	var resumed []string
	for _, e := range entries {
		if _, is := paused[e.Name()]; !is {
			fmt.Fprintf(c.OutOrStdout(), "%s was not paused\n", e.Name())
			continue
		}
		records, resumed = append(records, e.Tombstone()), append(resumed, e.Name())
		delete(paused, e.Name())
	}
	if len(records) > 0 {
		from, err := b.tell(c.Context(), records...)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "resumed %s, in force everywhere by %s, in 1 s\n", strings.Join(resumed, ", "), clock(from))
	}
	if len(paused) > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "note: still paused: %s\n", strings.Join(slices.Sorted(maps.Keys(paused)), ", "))
	}
	return nil
}

func (b *openedBus) listPauses(ctx context.Context, out io.Writer, asJSON bool) error {
	paused, err := b.told(ctx, control.KindPause)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(paused)) {
		if asJSON {
			fmt.Fprintf(out, "%s\n", paused[name].Record().Value)
			continue
		}
		fmt.Fprintf(out, "%s  %s\n", notify.Clip(name, 255), since(paused[name], ""))
	}
	if len(paused) == 0 && !asJSON {
		fmt.Fprintln(out, "Nothing is paused.")
	}
	return nil
}

// targets are the flags that say what is paused.
type targets struct{ channels, lanes, gateways []string }

func addTargets(c *cobra.Command) *targets {
	t := &targets{}
	c.Flags().StringSliceVar(&t.channels, "channel", nil, channelWords()+"; repeated or separated by commas")
	c.Flags().StringSliceVar(&t.lanes, "lane", nil, laneWords()+": only this lane of the channel")
	c.Flags().StringSliceVar(&t.gateways, "gateway", nil, "name of a gateway")
	return t
}

// entries reads the flags. It knows every channel and lane, and no gateways: see known.
func (t *targets) entries(verb string) (all []control.Entry, err error) {
	switch {
	case len(t.channels)+len(t.lanes)+len(t.gateways) == 0:
		return nil, fmt.Errorf("say what to %s: --channel (%s), with --lane (%s) for one lane of it, or --gateway NAME", verb, channelWords(), laneWords())
	case len(t.channels) == 0 && len(t.lanes) > 0:
		return nil, errors.New("--lane needs --channel: name the channels too, such as --channel email --lane bulk")
	}
	for _, name := range t.channels {
		channel := notify.Channel(name)
		if !channel.Known() {
			return nil, fmt.Errorf("--channel knows %s", channelWords())
		}
		if len(t.lanes) == 0 {
			all = append(all, control.Pause(channel, ""))
		}
		for _, lane := range t.lanes {
			if !notify.Lane(lane).Known() {
				return nil, fmt.Errorf("--lane knows %s", laneWords())
			}
			all = append(all, control.Pause(channel, notify.Lane(lane)))
		}
	}
	for _, name := range t.gateways {
		all = append(all, control.PauseGateway(name))
	}
	return all, nil
}

// known refuses gateways that are neither configured nor paused. A configuration without any is not that of the workers.
func (t *targets) known(stderr io.Writer, cfg *config.Config, paused map[string]control.Entry) error {
	names := slices.Sorted(maps.Keys(cfg.Gateways))
	for _, g := range t.gateways {
		if _, is := paused[control.PauseGateway(g).Name()]; is || slices.Contains(names, g) {
			continue
		}
		if g == "" || len(names) > 0 {
			return fmt.Errorf("--gateway knows %s", strings.Join(names, ", "))
		}
		fmt.Fprintln(stderr, "note: no gateways are configured here, so that nothing could be compared with the name of --gateway")
	}
	return nil
}

// flagsOf spells e as the flags that name it.
func flagsOf(e control.Entry) string {
	switch {
	case e.Gateway != "":
		return "--gateway " + e.Gateway
	case e.Lane != "":
		return "--channel " + string(e.Channel) + " --lane " + string(e.Lane)
	default:
		return "--channel " + string(e.Channel)
	}
}

func channelWords() string { return words(notify.Channels()) }

func laneWords() string { return words(notify.Lanes()) }

func words[T ~string](all []T) string {
	list := make([]string, len(all))
	for i, w := range all {
		list[i] = string(w)
	}
	return strings.Join(list, ", ")
}
