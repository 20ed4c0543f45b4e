package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Log is Kafka, as [kafka.Reader] shows it. One call at a time is made.
type Log interface {
	Topics() ([]string, error)
	TopicIDs(topics []string) (map[string]kafka.TopicID, error)
	Bounds(topic string) ([]kafka.Bounds, error)
	Since(topic string, at time.Time, bounds []kafka.Bounds) ([]kafka.Bounds, error)
	Positions(group, topic string) (map[int32]*kafka.Position, error)
	Scan(ctx context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error
}

// Shelf is a topic that holds notifications, and the group that takes them from it.
type Shelf struct {
	Topic   string
	Group   string // empty for dead letters
	Channel notify.Channel
	Lane    notify.Lane // of a lane's jobs; otherwise empty
	Waits   bool        // it is of the delay ladder
}

// opened is a shelf as it was found.
type opened struct {
	Shelf
	index     uint16
	bounds    []kafka.Bounds // what is read
	whole     []kafka.Bounds // what there is
	positions map[int32]*kafka.Position
	newest    map[int32]int64
	id        kafka.TopicID
}

// done reports whether the group is done with a record. A commit beyond the log's end, or with the id of another topic, is of a
// log that is no more.
func (o *opened) done(partition int32, offset int64) bool {
	p := o.positions[partition]
	return p != nil && p.Offset <= o.newest[partition] && !p.Topic.Differs(o.id) && p.Done(offset)
}

// view is what is read, and how far.
type view struct {
	log     Log
	since   time.Time
	began   time.Time
	status  string
	bounds  []kafka.Bounds // of the status topic, as far as it is read
	whole   []kafka.Bounds // all of it
	ids     map[string]kafka.TopicID
	shelves []*opened
	from    map[int32]int64 // by partition of the status topic: it is complete for what was written since, Unix ms
	total   int64
}

// clocksApart is how much the clocks may differ that have written the times of records and events.
const clocksApart = time.Hour

// look takes the commits of all groups, then the end of the status topic, then those of all others. The order is what the
// whole accounting rests on; see the package.
func look(log Log, status string, shelves []Shelf, since time.Time) (*view, error) {
	v := &view{log: log, since: since, began: time.Now(), status: status, from: map[int32]int64{}}
	there, err := log.Topics()
	if err != nil {
		return nil, err
	}
	for _, s := range shelves {
		if !slices.Contains(there, s.Topic) { // its channel was never on
			continue
		}
		o := &opened{Shelf: s, index: uint16(len(v.shelves)), newest: map[int32]int64{}}
		if s.Group != "" {
			if o.positions, err = log.Positions(s.Group, s.Topic); err != nil {
				return nil, err
			}
		}
		v.shelves = append(v.shelves, o)
	}
	if len(v.shelves) == 0 {
		return nil, fmt.Errorf("there is no topic such as %s: a role makes them when it starts; check kafka.prefix", shelves[0].Topic)
	}
	if v.ids, err = log.TopicIDs(there); err != nil {
		return nil, err
	}
	if v.bounds, v.whole, err = v.measure(status, clocksApart); err != nil {
		return nil, err
	}
	for _, o := range v.shelves {
		if err := v.close(o); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// close takes the shelf's bounds. Only of jobs the time asked for is exact: everything else may bear an earlier one.
func (v *view) close(o *opened) error {
	slack := clocksApart
	if o.Lane != "" {
		slack = 0
	}
	bounds, whole, err := v.measure(o.Topic, slack)
	if err != nil {
		return err
	}
	o.bounds, o.whole, o.id = bounds, whole, v.ids[o.Topic]
	for _, b := range whole {
		o.newest[b.Partition] = b.Newest
	}
	return nil
}

// later gives what has come to a topic since the view was taken.
func (v *view) later(topic string, whole []kafka.Bounds) ([]kafka.Bounds, error) {
	seen := map[int32]int64{}
	for _, b := range whole {
		seen[b.Partition] = b.Newest
	}
	now, err := v.log.Bounds(topic)
	for i := range now {
		now[i].Oldest = max(now[i].Oldest, seen[now[i].Partition])
	}
	return now, err
}

// measure gives what is read of a topic, and what there is.
func (v *view) measure(topic string, slack time.Duration) (bounds, whole []kafka.Bounds, err error) {
	if whole, err = v.log.Bounds(topic); err != nil {
		return nil, nil, err
	}
	bounds = whole
	if !v.since.IsZero() {
		if bounds, err = v.log.Since(topic, v.since.Add(-slack), whole); err != nil {
			return nil, nil, err
		}
	}
	for _, b := range bounds {
		v.total += max(0, b.Newest-b.Oldest)
	}
	return bounds, whole, nil
}

// lane is where a channel's jobs of a lane are; nil when there is no such topic.
func (v *view) lane(ch notify.Channel, lane notify.Lane) *opened {
	for _, o := range v.shelves {
		if o.Channel == ch && o.Lane == lane {
			return o
		}
	}
	return nil
}

// ledger is the partition of the status topic that has the outcomes of a lane's partition; count is how many it has now.
func (o *opened) ledger(partition int32, count int) int32 {
	n := int32(count)
	if p := o.positions[partition]; p != nil && p.Ledger > 0 {
		n = p.Ledger
	}
	return partition % max(1, n)
}

// home is the lane's partition to which a record of the ladder goes back, as its mover reads it.
func (o *opened) home(r *kafka.Record) int32 {
	home := r.Partition
	text, _ := r.Header(notify.HeaderHome)
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && n >= 0 {
		home = int32(n)
	}
	return home % max(1, int32(len(o.newest)))
}

// faded reports whether an outcome that was written after that time, to that partition of the status topic, may have been
// deleted.
func (v *view) faded(partition int32, written time.Time) bool {
	from, cut := v.from[partition]
	return cut && written.UnixMilli() < from
}

// fadedAnywhere is faded for an outcome of which nobody knows where it is.
func (v *view) fadedAnywhere(written time.Time) bool {
	for p := range v.from {
		if v.faded(p, written) {
			return true
		}
	}
	return false
}

// cut takes note that what a partition of the status topic held until then may be gone.
func (v *view) cut(partition int32, until time.Time) {
	v.from[partition] = max(v.from[partition], until.Add(clocksApart).UnixMilli())
}

// cutOff takes note that nothing is known of what it held.
func (v *view) cutOff(partition int32) { v.from[partition] = math.MaxInt64 }
