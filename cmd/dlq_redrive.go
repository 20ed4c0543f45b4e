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

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
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
		r := &redrive{dry: *dry, now: time.Now()}
		filter, err := flags.filter(ids, r.now)
		if err != nil {
			return err
		}
		if !filter.narrow && !*all {
			return errors.New("which dead letters? Name ids or a filter, such as --reason attempts_used_up or --since 24h, or ask for --all of them")
		}
		if r.perSecond, err = perSecond(*rate); err != nil {
			return err
		}
		if *in < 0 || *in == 0 && c.Flags().Changed("expires-in") {
			return errors.New("--expires-in needs a time ahead, such as 24h")
		}
		if *in > 0 {
			r.expires = r.now.Add(*in).Truncate(time.Millisecond).UTC()
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		var end func()
		if r.deadLetters, end, err = openDeadLetters(c.Context(), cfg, c.ErrOrStderr()); err != nil {
			return err
		}
		defer end()
		return r.run(c.Context(), filter, c.OutOrStdout())
	}
	return c
}

// redrive is one run of the command.
type redrive struct {
	*deadLetters
	dry       bool
	now       time.Time
	expires   time.Time // zero: as the letters say
	perSecond float64   // 0 = no limit

	jobs, events []kafka.Message
	letters      []*dispatcher.Letter
	bytes        int
	began        time.Time // when the first were published
	progress     *progress

	redriven, skipped, expired, refused int
}

func (r *redrive) run(ctx context.Context, filter *letterFilter, out io.Writer) error {
	r.progress = newProgress(r.said)
	err := r.each(ctx, filter, func(l *dispatcher.Letter, redriven bool) error { return r.letter(ctx, l, redriven) })
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil && r.began.IsZero() {
		return err
	}
	if err != nil {
		return fmt.Errorf("stopped after redriving %s: %w; run it again, what was sent is not sent twice", thousands(int64(r.redriven)), err)
	}
	form := "redriven %s, skipped %s (already redriven), expired %s\n"
	if r.dry {
		form = "would redrive %s, skip %s (already redriven), leave %s (expired)\n"
	}
	fmt.Fprintf(out, form, thousands(int64(r.redriven)), thousands(int64(r.skipped)), thousands(int64(r.expired)))
	if r.expired > 0 {
		fmt.Fprintln(r.said, "What has expired would only expire again: give it more time by --expires-in 24h.")
	}
	if r.refused > 0 {
		return fmt.Errorf("%s could not be redriven, as said above", thousands(int64(r.refused)))
	}
	return nil
}

// letter takes one letter. It is an error only when nothing more can be done.
func (r *redrive) letter(ctx context.Context, l *dispatcher.Letter, redriven bool) error {
	if redriven {
		r.skipped++
		return nil
	}
	whole, err := r.whole(ctx, l)
	if errors.Is(err, errGone) {
		r.refuse(l, err)
		return nil
	}
	if err != nil {
		return err
	}
	if l.Elsewhere() { // what it says of its expiry came with the value
		if l, err = r.desk.Letter(whole); err != nil {
			return err
		}
	}
	if at, ok := l.Expires(r.lifetimes); ok && r.expires.IsZero() && !r.now.Before(at) {
		r.expired++
		return nil
	}
	job, event, err := r.desk.Redrive(whole, r.now, r.expires)
	if err != nil {
		r.refuse(l, err)
		return nil
	}
	r.jobs, r.events, r.letters = append(r.jobs, job), append(r.events, event), append(r.letters, l)
	if r.bytes += len(job.Value); len(r.jobs) < r.batch() && r.bytes < batchBytes {
		return nil
	}
	return r.flush(ctx)
}

func (r *redrive) refuse(l *dispatcher.Letter, why error) {
	r.refused++
	fmt.Fprintf(r.said, "%s: %s\n", l.ID, why)
}

// flush publishes the jobs at hand and, of those that are acknowledged, the events.
func (r *redrive) flush(ctx context.Context) error {
	jobs, events, letters := r.jobs, r.events, r.letters
	r.jobs, r.events, r.letters, r.bytes = nil, nil, nil, 0
	if r.dry {
		r.redriven += len(jobs)
		return nil
	}
	if r.began.IsZero() {
		r.began = time.Now()
	}
	var failed error
	var say []kafka.Message
	for i, err := range r.publishAll(ctx, jobs) {
		switch {
		case err == nil:
			say = append(say, events[i])
		case errors.Is(err, kafka.ErrTooLarge):
			r.refuse(letters[i], fmt.Errorf("its topic no longer takes a record of this size: raise max.message.bytes of %s", jobs[i].Topic))
		default:
			failed = err
		}
	}
	for _, err := range r.publishAll(ctx, say) {
		if err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	r.redriven += len(say)
	r.progress.add(len(say), "redriving")
	return r.pace(ctx)
}

// batch is how many letters are on their way at once: a tenth of a second's.
func (r *redrive) batch() int {
	if r.perSecond == 0 {
		return batchRecords
	}
	return min(batchRecords, max(1, int(r.perSecond/10)))
}

// pace waits until as many as have been redriven may have been.
func (r *redrive) pace(ctx context.Context) error {
	if r.perSecond == 0 {
		return nil
	}
	due := r.began.Add(time.Duration(float64(r.redriven) / r.perSecond * float64(time.Second)))
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
