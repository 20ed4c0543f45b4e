package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newDLQRedrive() *cobra.Command {
	c := &cobra.Command{
		Use:   "redrive [ID…]",
		Short: "Send dead letters again",
		Long: `Publishes dead letters as jobs again, unchanged, as the next run of their notification. A letter that was redriven is skipped,
and one that is redriven twice all the same is sent once. A letter whose notification has expired would only expire again:
it is skipped too, unless --expires-in gives it more time. Say which letters by their ids or by filters, or --all.`,
		Example: `  laudspeaker dlq redrive --channel email --code 451 --since 24h --dry-run
  laudspeaker dlq redrive --gateway mail --expires-in 24h --rate 100/s
  laudspeaker dlq redrive 0190163d-8694-739b-aea5-966c26f8ad91
  laudspeaker dlq redrive --channel sms --all`,
	}
	s := addSettings(c)
	flags := addLetterFlags(c)
	all := c.Flags().Bool("all", false, "every letter, where no filter is given")
	dry := c.Flags().Bool("dry-run", false, "count, and publish nothing")
	rate := c.Flags().String("rate", "", "letters a second at most, such as 100/s (default: no limit)")
	in := c.Flags().Duration("expires-in", 0, "how long from now they are worth delivering, such as 24h (default: as they say themselves)")
	c.RunE = func(c *cobra.Command, ids []string) error {
		r := &redrive{now: time.Now(), said: c.ErrOrStderr()}
		filter, err := flags.filter(ids, r.now)
		if err != nil {
			return err
		}
		if !filter.Narrow() && !*all {
			return errors.New("which dead letters? Name ids or a filter, such as --reason attempts_used_up or --since 24h, or ask for --all of them")
		}
		if r.perSecond, err = perSecond(*rate); err != nil {
			return err
		}
		if *in < 0 || *in == 0 && c.Flags().Changed("expires-in") {
			return errors.New("--expires-in needs a time ahead, such as 24h")
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		bus, letters, end, err := openDeadLetters(c.Context(), cfg, r.said)
		if err != nil {
			return err
		}
		defer end()
		r.Redriver = deadletters.Redriver{
			Scanner: letters, Publish: r.timed(bus.publishAll), Now: r.now, Batch: r.batch(), Skip: r.skip,
			Flushed: func(n int) error { return r.flushed(c.Context(), n) },
		}
		if *dry {
			r.Publish = nil
		}
		if *in > 0 {
			r.Expires = r.now.Add(*in).Truncate(time.Millisecond).UTC()
		}
		return r.run(c.Context(), filter, c.OutOrStdout())
	}
	return c
}

// redrive is one run of the command.
type redrive struct {
	deadletters.Redriver
	now       time.Time
	said      io.Writer
	perSecond float64   // 0 = no limit
	began     time.Time // when the first were published
	progress  *progress

	skipped, expired, refused int
}

func (r *redrive) run(ctx context.Context, filter notify.LetterFilter, out io.Writer) error {
	r.progress = newProgress(r.said)
	done, err := r.Scanner.Redriven(ctx, filter)
	if err != nil {
		return err
	}
	r.SkipChecker = done
	if err = r.Each(ctx, filter, func(l *dispatcher.Letter) error { return r.Add(ctx, l) }); err == nil {
		err = r.Flush(ctx)
	}
	if err != nil && r.began.IsZero() {
		return err
	}
	if err != nil {
		return fmt.Errorf("stopped after redriving %s: %w; run it again, what was sent is not sent twice", thousands(int64(r.Count)), err)
	}
	form := "redriven %s, skipped %s (already redriven), expired %s\n"
	if r.Publish == nil {
		form = "would redrive %s, skip %s (already redriven), leave %s (expired)\n"
	}
	fmt.Fprintf(out, form, thousands(int64(r.Count)), thousands(int64(r.skipped)), thousands(int64(r.expired)))
	if r.expired > 0 {
		fmt.Fprintln(r.said, "What has expired would only expire again: give it more time by --expires-in 24h.")
	}
	if r.refused > 0 {
		return fmt.Errorf("%s could not be redriven, as said above", thousands(int64(r.refused)))
	}
	return nil
}

// skip counts a letter that is left alone.
func (r *redrive) skip(l *dispatcher.Letter, why string, err error) {
	switch {
	case err != nil:
		r.refused++
		fmt.Fprintf(r.said, "%s: %s\n", l.ID, err)
	case why == notify.SkipExpired:
		r.expired++
	default:
		r.skipped++
	}
}

// timed is publish, and notes when it was called first.
func (r *redrive) timed(publish func(context.Context, []kafka.Message) []error) func(context.Context, []kafka.Message) []error {
	return func(ctx context.Context, ms []kafka.Message) []error {
		if r.began.IsZero() {
			r.began = time.Now()
		}
		return publish(ctx, ms)
	}
}

func (r *redrive) flushed(ctx context.Context, n int) error {
	r.progress.add(n, "redriving")
	return r.pace(ctx)
}

// batch is how many letters are on their way at once: a tenth of a second's.
func (r *redrive) batch() int {
	if r.perSecond == 0 {
		return 0
	}
	return max(1, int(r.perSecond/10))
}

// pace waits until as many as have been redriven may have been.
func (r *redrive) pace(ctx context.Context) error {
	if r.perSecond == 0 {
		return nil
	}
	due := r.began.Add(time.Duration(float64(r.Count) / r.perSecond * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}

var rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?:/s)?$`)

// perSecond reads "100/s" or "100"; nothing is no limit.
func perSecond(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	if form := rateForm.FindStringSubmatch(text); form != nil {
		if n, err := strconv.ParseFloat(form[1], 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, errors.New("--rate needs a number a second, such as 100/s")
}
