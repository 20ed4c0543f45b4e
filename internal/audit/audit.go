package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Config configures [Run].
type Config struct {
	Log          Log
	Cluster      string // Kafka's cluster id, from which notification ids may be derived
	Status       string // the status topic
	Topics       []Topic
	Since        time.Time            // only notifications accepted at that time or later; zero = all
	ListOpen     bool                 // also report notifications that are in flight, waiting or held
	MaxInMemory  int                  // entries in memory, of 64 bytes each; 0 = a million
	Dir          string               // of the temporary file; "" = the system's
	Found        func(Finding) error  // called for each finding; its error ends the audit
	Progress     func(Progress)       // called now and then; may be nil
	Store        Store                // compared with the topics; nil = no comparison
	Retained     func(time.Time) bool // reports whether the store retains notifications accepted at that time; nil = always
	StoreTimeout time.Duration        // how long the store may make no progress while it is behind the topics; 0 = 30 s
}

// Progress is the progress of the present step of an audit.
type Progress struct {
	Doing       string // the step
	Done, Total int64  // records
}

// audit is one run of [Run].
type audit struct {
	Config
	snapshot      *snapshot
	entries       *spillBuffer
	suspects      *suspects // nil until all topics have been read once
	readingLater  bool      // the records being read were written after the snapshot
	report        *Report
	tally         tally
	missingRanges missingRanges
	read          int64 // records
	batch         []compared
	judged        int64 // notifications
}

// Run accounts for all notifications that the topics hold now, while everything may go on running. It calls cfg.Found for each
// finding; the report holds the sums.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.MaxInMemory == 0 {
		cfg.MaxInMemory = 1 << 20
	}
	if cfg.StoreTimeout == 0 {
		cfg.StoreTimeout = 30 * time.Second
	}
	s, err := takeSnapshot(cfg.Log, cfg.Status, cfg.Topics, cfg.Since)
	if err != nil {
		return nil, err
	}
	a := &audit{
		Config:   cfg,
		snapshot: s,
		entries:  newSpillBuffer(cfg.MaxInMemory, cfg.Dir),
		tally:    tally{lanes: map[*topicState]*Lane{}, tiers: map[*topicState]*Tier{}},
		report: &Report{
			What: FoundSummary, At: s.began.UTC(), Ended: map[notify.State]int64{}, Lanes: []Lane{}, Tiers: []Tier{},
		},
	}
	defer a.entries.close()
	if !cfg.Since.IsZero() {
		since := cfg.Since.UTC()
		a.report.Since = &since
	}
	if err := a.readAll(ctx); err != nil {
		return nil, err
	}
	if err := a.observeCommits(); err != nil {
		return nil, err
	}
	if a.Store != nil {
		a.report.Differences = new(int64)
		if err := a.awaitStore(ctx); err != nil {
			return nil, err
		}
		if err := a.readStore(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.countMissing(); err != nil {
		return nil, fmt.Errorf("say what was found: %w", err)
	}
	return a.report, a.judgeAll(ctx)
}

// readAll adds an entry for each record. It reads the events first; see readEvents.
func (a *audit) readAll(ctx context.Context) error {
	a.findUncommitted()
	if err := a.readEvents(ctx); err != nil {
		return err
	}
	for _, t := range a.snapshot.topics {
		if err := a.readTopicEntries(ctx, t, t.bounds); err != nil {
			return err
		}
	}
	return nil
}

// addEntry stores an entry. Once there are suspects, it stores only entries of suspects.
func (a *audit) addEntry(e entry) error {
	if a.readingLater {
		e.marks |= isLate
	}
	if a.suspects != nil {
		return a.suspects.addIfSuspect(e)
	}
	return a.entries.add(e)
}

// countRead counts one record of the topic, and reports the progress now and then.
func (a *audit) countRead(topic string) {
	const reportEvery = 4096
	a.read++
	if a.read%reportEvery == 0 && a.Progress != nil {
		a.Progress(Progress{Doing: "reading " + topic, Done: a.read, Total: max(a.snapshot.total, a.read)})
	}
}

// judgeAll judges one notification after another. It reads the topics again for notifications that seem to be unaccounted for.
func (a *audit) judgeAll(ctx context.Context) error {
	s := newSuspects(a.MaxInMemory, a.Dir)
	defer s.entries.close()
	err := a.entries.each(func(es []entry) error {
		v := judge(es)
		if v.class == missing && a.inScope(&v) {
			return s.addSuspect(es)
		}
		return a.finish(ctx, es, &v)
	})
	if err == nil && len(s.ids) > 0 {
		err = a.judgeSuspects(ctx, s)
	}
	if err == nil {
		err = a.compareBatch(ctx)
	}
	a.tally.addTo(a)
	return err
}

// inScope reports whether the notification was accepted at Since or later.
func (a *audit) inScope(v *verdict) bool { return a.Since.IsZero() || v.acceptedInScope }

// finish counts a notification, reports it and compares it with the store.
func (a *audit) finish(ctx context.Context, es []entry, v *verdict) error {
	a.judged++
	if a.judged%4096 == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	if !a.inScope(v) {
		a.report.Earlier++
		return nil
	}
	if err := a.count(es, v); err != nil {
		return fmt.Errorf("say what was found: %w", err)
	}
	return a.compare(ctx, es, v)
}
