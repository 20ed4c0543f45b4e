package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/audit"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Account for every notification that was accepted",
		Long: `Reads the topics, not the status store, and accounts for every notification on them: it has ended, is in flight on its lane,
waits on the delay ladder, is held for a person, is a dead letter, or is lost. What is none of these is unaccounted for: its job
is behind what its workers have committed, and no outcome tells what became of it. The usual cause is an offset that was moved
by hand. Each is printed with its id and the record that leads nowhere.

Lost are notifications whose record Kafka deleted before it was processed, and whose result is not known. Unknown are those that
are missing without proof of a loss. Missing ranges are records that were deleted before they were processed, by topic, partition
and offset: nobody can tell their ids, unless the status store had read them; then they are lost, or with --against-store
unaccounted for, by id. The exit code is 1 when anything is lost, unknown, missing or unaccounted for, and with any other error;
it is 0 otherwise.

Everything may go on meanwhile: what the topics held when the command began is accounted for. It takes nothing, writes
nothing to Kafka, and needs little memory: what it notes of each record goes to a file in TMPDIR, 57 bytes each.

"Sent again" counts how often a gateway accepted a notification once more within one run, as a crash may cause.
"Faded" are those that are done, and so old that the status topic no longer holds what became of them: nobody can say more.
With --since only what was accepted since then is read and counted, give or take what clocks differ; an hour is allowed for.

With --against-store the status store is compared, once it has read what the topics held: what it says of state and run
has to be what the topics say, or later, and of what it says has not ended the topics have to hold a record. Every difference is
printed, and the exit code is 1. It needs status.dsn or data_dir as the API has them, and looks only at the channels that are
configured.

With --json every finding is one JSON object a line, with "what": unaccounted, lost, unknown, missing_range, void_position,
undecodable, duplicate or difference, with --open also in_flight, waiting and held; the last line, "what": "summary", is the
report.`,
		Example: `  laudspeaker audit
  laudspeaker audit --since 24h --open
  laudspeaker audit --against-store --config configs/production.yaml
  laudspeaker audit --config configs/production.yaml --json | jq -r 'select(.what == "unaccounted") | .id'`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	f := auditFlags{}
	c.Flags().StringVar(&f.since, "since", "", "only what was accepted since: 24h (ago), 2026-01-31 or 2026-01-31T09:30:00Z")
	c.Flags().BoolVar(&f.open, "open", false, "also show each that is in flight, waiting or held, and where")
	c.Flags().BoolVar(&f.store, "against-store", false, "also compare the status store")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object a line, the report as the last")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return f.run(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
	}
	return c
}

type auditFlags struct {
	since      string
	open, json bool
	store      bool
}

func (f auditFlags) run(ctx context.Context, cfg *config.Config, out, said io.Writer) error {
	since, err := moment("--since", f.since, time.Now())
	if err != nil {
		return err
	}
	bus, end, err := openBus(ctx, cfg)
	if err != nil {
		return err
	}
	defer end()
	reading := newProgress(said)
	existing, err := bus.reader.Topics()
	if err != nil {
		return err
	}
	c := audit.Config{
		Log: bus.reader, Status: bus.topics.Status(), Topics: auditedTopics(bus.topics, existing), Since: since, ListOpen: f.open,
		Found:    func(f audit.Finding) error { return printFinding(out, f) },
		Progress: func(p audit.Progress) { reading.at(p.Done, p.Total, p.Doing) },
	}
	if f.json {
		c.Found = func(f audit.Finding) error { return printJSON(out, f) }
	}
	if c.Cluster, err = bus.reader.ClusterID(); err != nil {
		return err
	}
	if f.store {
		opened, err := compareStore(ctx, cfg, &c, existing)
		if err != nil {
			return err
		}
		defer opened.Close()
	}
	report, err := audit.Run(ctx, c)
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(out, report)
	} else {
		err = printReport(out, report)
	}
	return errors.Join(err, auditFault(report))
}

// compareStore makes the audit compare the status store, which the caller closes. Only what is configured is compared: the
// recorder reads no other channels.
func compareStore(ctx context.Context, cfg *config.Config, c *audit.Config, existing []string) (*store.Store, error) {
	p, err := newProcess(cfg, io.Discard, "audit", true)
	if err != nil {
		return nil, err
	}
	opened, err := storeOf(ctx, cfg, p)
	if err != nil {
		return nil, err
	}
	kept := time.Now().Add(-cfg.Status.Retention).Add(time.Hour) // it may be about to go
	c.Store, c.Topics = opened, auditedTopics(p.topics, existing)
	c.Retained = func(first time.Time) bool { return first.After(kept) }
	return opened, nil
}

// auditFault is what makes the exit code 1.
func auditFault(r *audit.Report) error {
	var said []string
	for _, f := range []struct {
		n    int64
		what string
	}{
		{r.Unaccounted, "unaccounted for"},
		{r.Lost, "lost"},
		{r.Unknown, "unknown"},
		{r.MissingRecords, "records deleted before they were processed"},
		{r.VoidPositions, "positions of topics or records that are no more"},
	} {
		if f.n > 0 {
			said = append(said, f.what+": "+thousands(f.n))
		}
	}
	switch {
	case len(said) > 0:
		return errors.New(strings.Join(said, ", "))
	case r.Differences != nil && *r.Differences > 0:
		return fmt.Errorf("the status store differs from the topics in %s", thousands(*r.Differences))
	default:
		return nil
	}
}

// auditedTopics lists the topics that hold notifications: of each channel its lanes, what waits, and the dead letters. Tiers of the
// ladder that are no longer configured are among them.
func auditedTopics(t dispatcher.Topics, existing []string) (all []audit.Topic) {
	t = t.WithExisting(existing)
	for _, ch := range t.Channels() {
		for _, lane := range notify.Lanes() {
			all = append(all, audit.Topic{Name: t.Job(ch, lane), Group: t.Group(ch, lane), Channel: ch, Lane: lane})
		}
		for _, tier := range t.Ladder(ch) {
			all = append(all, audit.Topic{Name: tier.Topic, Group: tier.Group, Channel: ch, DelayTier: true})
		}
		all = append(all, audit.Topic{Name: t.DeadLetters(ch), Channel: ch})
	}
	return all
}
