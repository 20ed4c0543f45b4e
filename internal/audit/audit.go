package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Config is what an audit works with.
type Config struct {
	Log      Log
	Cluster  string // Kafka's id of itself, which ids may follow from
	Status   string // the topic of events
	Shelves  []Shelf
	Since    time.Time            // only what was accepted at that time or later; zero = everything
	Open     bool                 // also find what is in flight, waiting or held
	Held     int                  // entries of records in memory, each takes 64 bytes there; 0 = a million
	Dir      string               // of the temporary file; "" = the system's
	Found    func(Finding) error  // called for each; its error ends the audit
	Progress func(Progress)       // called now and then; nil tells nobody
	Store    Store                // compared with the topics; nil is not
	Kept     func(time.Time) bool // whether the store keeps what was accepted then; nil keeps everything
	Patience time.Duration        // how long the store may stand still behind the topics; 0 = 30 s
}

// Progress is how far an audit is.
type Progress struct {
	Doing       string
	Done, Total int64 // of it
}

// audit is one run.
type audit struct {
	Config
	view    *view
	pile    *pile
	doubts  *doubts // nil until everything has been read once
	late    bool    // what is read was written after what is accounted for
	report  *Report
	tally   tally
	missing missing
	read    int64
	batch   []compared
	checked int64 // notifications
}

// Run accounts for what the topics hold now. Nothing has to stand still meanwhile. The findings are given one by one; the
// report says what they add up to.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Held == 0 {
		cfg.Held = 1 << 20
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	v, err := look(cfg.Log, cfg.Status, cfg.Shelves, cfg.Since)
	if err != nil {
		return nil, err
	}
	a := &audit{Config: cfg, view: v, pile: newPile(cfg.Held, cfg.Dir), tally: tally{lanes: map[*opened]*Lane{}, tiers: map[*opened]*Tier{}}}
	defer a.pile.close()
	a.report = &Report{What: FoundSummary, At: v.began.UTC(), Ended: map[notify.State]int64{}, Lanes: []Lane{}, Tiers: []Tier{}}
	if !cfg.Since.IsZero() {
		since := cfg.Since.UTC()
		a.report.Since = &since
	}
	if err := a.readAll(ctx); err != nil {
		return nil, err
	}
	if err := a.observe(); err != nil {
		return nil, err
	}
	if a.Store != nil {
		a.report.Differences = new(int64)
		if err := a.await(ctx); err != nil {
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

// readAll makes all records entries, the events first: see readEvents.
func (a *audit) readAll(ctx context.Context) error {
	a.suspect()
	if err := a.readEvents(ctx); err != nil {
		return err
	}
	for _, o := range a.view.shelves {
		if err := a.readShelf(ctx, o, o.bounds); err != nil {
			return err
		}
	}
	return nil
}

// keep takes an entry: of those in doubt, once there are any.
func (a *audit) keep(e entry) error {
	if a.late {
		e.marks |= isLate
	}
	if a.doubts != nil {
		return a.doubts.add(e)
	}
	return a.pile.add(e)
}

// progress counts one record.
func (a *audit) progress(topic string) {
	const seldom = 4096
	if a.read++; a.read%seldom == 0 && a.Progress != nil {
		a.Progress(Progress{"reading " + topic, a.read, max(a.view.total, a.read)})
	}
}

// judgeAll judges notification by notification, and looks once more for those that seem to be unaccounted for.
func (a *audit) judgeAll(ctx context.Context) error {
	d := newDoubts(a.Held, a.Dir)
	defer d.pile.close()
	err := a.pile.each(func(es []entry) error {
		v := judge(es)
		if v.class == hole && a.wants(&v) {
			return d.raise(es)
		}
		return a.settle(ctx, es, &v)
	})
	if err == nil && len(d.ids) > 0 {
		err = a.resolve(ctx, d)
	}
	if err == nil {
		err = a.compareBatch(ctx)
	}
	a.tally.close(a)
	return err
}

// wants reports whether the notification is among those that were asked for.
func (a *audit) wants(v *verdict) bool { return a.Since.IsZero() || v.first }

// settle counts a notification.
func (a *audit) settle(ctx context.Context, es []entry, v *verdict) error {
	if a.checked++; a.checked%4096 == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	if !a.wants(v) {
		a.report.Earlier++
		return nil
	}
	if err := a.count(es, v); err != nil {
		return fmt.Errorf("say what was found: %w", err)
	}
	return a.compare(ctx, es, v)
}
