package status

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// losses finds notifications that are lost. A notification is lost if its furthest record lies in a published gap, or its topic
// was deleted, and no result is known although the store has read everything that was written until [ReconcilerConfig.StuckAfter]
// after the gap was published, or after the topic was found gone. A result that comes later replaces the state.
//
// Which notifications that are is found by one pass over those that have not ended, for each gap and each topic that is gone.
type losses struct {
	lost    prometheus.Counter
	unknown prometheus.Counter

	since map[Log]time.Time // when a log was found gone first
	swept map[any]bool      // gaps, by their keys, and logs that a pass has been made for
	pass  *pass
}

// pass is one pass over all notifications that have not ended.
type pass struct {
	gaps  []Gap
	logs  map[Log]bool
	after *notify.Life
}

// mostLost bounds how many notifications one look ends as lost, and mostOpenPages how many it looks at: more waits for the next.
const (
	mostLost      = 10_000
	mostOpenPages = 400
)

type gapKey struct {
	Log
	partition int32
	from, to  int64
}

func keyOf(g *Gap) gapKey { return gapKey{g.Log, g.Partition, g.From, g.To} }

func newLosses() losses {
	return losses{
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "laudspeaker_notifications_lost_total", Help: "Notifications whose record Kafka no longer has and whose result is not known: they are in state lost.",
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "laudspeaker_notifications_unknown_total", Help: "Notifications that are missing without proof that they are lost: they have the note unknown.",
		}),
		since: map[Log]time.Time{}, swept: map[any]bool{},
	}
}

// findLost makes a pass where there is reason to, or goes on with one.
func (r *Reconciler) findLost(ctx context.Context, w *whereabouts, now time.Time) error {
	l := &r.losses
	if l.pass == nil {
		var err error
		if l.pass, err = r.reasons(ctx, w, now); err != nil || l.pass == nil {
			return err
		}
	}
	lost, err := r.sweep(ctx, w, l.pass, now)
	if lost > 0 {
		l.lost.Add(float64(lost))
		r.cfg.Log.Error("notifications are lost: Kafka deleted their records before they were processed, or their topic was deleted; "+
			"laudspeaker status --state lost names them, laudspeaker audit the ranges", zap.Int("count", lost))
	}
	if err != nil || l.pass.after != nil {
		return err
	}
	for _, g := range l.pass.gaps {
		l.swept[keyOf(&g)] = true
	}
	for log := range l.pass.logs {
		l.swept[log] = true
	}
	l.pass = nil
	return nil
}

// reasons gives a pass for the gaps and logs that none has been made for; nil where there is nothing new.
func (r *Reconciler) reasons(ctx context.Context, w *whereabouts, now time.Time) (*pass, error) {
	logs, err := r.cfg.Store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	p := &pass{logs: map[Log]bool{}}
	for _, g := range w.gaps {
		if !r.losses.swept[keyOf(&g)] && now.Sub(g.At) >= r.cfg.StuckAfter {
			p.gaps = append(p.gaps, g)
		}
	}
	for _, log := range logs {
		if !w.gone(log) {
			delete(r.losses.since, log) // a broker that did not know yet of a new topic
			continue
		}
		if _, known := r.losses.since[log]; !known {
			r.losses.since[log] = now
		}
		if !r.losses.swept[log] && now.Sub(r.losses.since[log]) >= r.cfg.StuckAfter {
			p.logs[log] = true
		}
	}
	if err := r.confirm(ctx, w, p.logs); err != nil {
		return nil, err
	}
	if len(p.gaps) == 0 && len(p.logs) == 0 {
		return nil, nil
	}
	return p, nil
}

// confirm leaves out the logs whose topic was created again without the recorder having read the new topic: until it has noticed
// that, it takes the new topic's records for those of the old one.
func (r *Reconciler) confirm(ctx context.Context, w *whereabouts, logs map[Log]bool) error {
	if len(logs) == 0 {
		return nil
	}
	positions, err := r.cfg.Store.Positions(ctx)
	if err != nil {
		return err
	}
	for log := range logs {
		now, there := w.ids[log.Topic]
		if there && slices.ContainsFunc(positions, func(p Position) bool { return p.Topic == log.Topic && p.TopicID != now }) {
			delete(logs, log)
		}
	}
	return r.cfg.Caught(ctx)
}

// sweep goes on with a pass, and gives how many notifications it ended as lost. p.after is nil once the pass is over.
func (r *Reconciler) sweep(ctx context.Context, w *whereabouts, p *pass, now time.Time) (lost int, err error) {
	latest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for range mostOpenPages {
		page, err := r.cfg.Store.Unended(ctx, latest, p.after, pageSize)
		if err != nil {
			return lost, err
		}
		n, err := r.endLost(ctx, w, p, page, now)
		lost += n
		if err != nil {
			return lost, err
		}
		if len(page) < pageSize {
			p.after = nil
			return lost, nil
		}
		if p.after = &page[len(page)-1].Life; lost >= mostLost {
			break
		}
	}
	return lost, nil
}

func (r *Reconciler) endLost(ctx context.Context, w *whereabouts, p *pass, page []Open, now time.Time) (lost int, err error) {
	for i := range page {
		o := &page[i]
		if !o.furthest() || !p.about(&o.Record) {
			continue
		}
		is, err := r.isLost(ctx, w, p, o)
		if err != nil {
			return lost, err
		}
		if !is {
			continue
		}
		e := of(&o.Life, now)
		e.Run, e.Step, e.State = o.Record.Run, o.Record.Step, notify.StateLost
		e.Gateway, e.ProviderID, e.Simulated = "", "", false // no try of that step is known
		e.Reason = "Kafka no longer has its record, and no result is known"
		e.Origin = &notify.Origin{Topic: o.Record.Topic, Partition: o.Record.Partition, Offset: o.Record.Offset}
		if err := r.cfg.Tell(ctx, e); err != nil {
			return lost, fmt.Errorf("tell that a notification is lost: %w", err)
		}
		lost++
	}
	return lost, nil
}

// about reports whether a record is in one of the gaps or logs.
func (p *pass) about(at *RecordPlace) bool {
	return p.logs[at.Log] || slices.ContainsFunc(p.gaps, func(g Gap) bool { return g.Has(at) })
}

// isLost makes sure that Kafka does not have the record: offsets are given again after a truncation, and what was read of the new
// record may be taken for that of the old one.
func (r *Reconciler) isLost(ctx context.Context, w *whereabouts, p *pass, o *Open) (bool, error) {
	f, err := w.of(o.Record)
	if err != nil || f == fateTopicGone {
		return err == nil && p.logs[o.Record.Log], err
	}
	b := w.bounds[o.Record.Topic][o.Record.Partition]
	if o.Record.Offset < b.Oldest || o.Record.Offset >= b.Newest {
		return f != fateUnknown, nil
	}
	found, err := w.holds(ctx, o.Record, func(rec *kafka.Record) bool { return r.cfg.Same(rec, o.ID) })
	return !found, err
}

// furthest reports whether o.Record is the furthest record of the notification: the one that its last step is about.
func (o *Open) furthest() bool {
	if o.Record.Topic == "" || o.Record.Run != o.Run {
		return false
	}
	switch o.State {
	case notify.StateQueued:
		return true
	case notify.StateScheduled, notify.StateRetrying: // its next step was put somewhere
		return o.Record.Step > o.Step
	default:
		return false
	}
}

// overdueNote gives the note for a notification that should have ended: unknown if it is missing, because its furthest record is done
// or deleted; else stuck. It is empty while the notification is about to be ended as lost.
func (r *Reconciler) overdueNote(w *whereabouts, o *Open) (string, error) {
	if w == nil || !o.furthest() {
		return notify.NoteStuck, nil
	}
	if r.isDue(w, &o.Record) {
		return "", nil
	}
	f, err := w.of(o.Record)
	if f == fateDeleted || f == fateDone {
		return notify.NoteUnknown, err
	}
	return notify.NoteStuck, err
}

// isDue reports whether a record is in a gap or log for which a pass is still to be made.
func (r *Reconciler) isDue(w *whereabouts, at *RecordPlace) bool {
	if w.gone(at.Log) && !r.losses.swept[at.Log] {
		return true
	}
	return slices.ContainsFunc(w.gaps, func(g Gap) bool { return !r.losses.swept[keyOf(&g)] && g.Has(at) })
}
