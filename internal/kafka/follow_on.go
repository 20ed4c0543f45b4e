package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// A follow-on is the record in which a job goes on: its next step, or its dead letter. An attempt publishes it before its
// outcome, so a worker that is killed between the two leaves a follow-on whose job seems to be undone. Whoever takes the
// partition over finds it by its source and gives the job the outcome that is missing, without another attempt.

// source is what [HeaderSource] says.
type source struct {
	topic     TopicID // zero when unknown; then generation is zero, too
	partition int32
	offset    int64
	by        generation
}

func (s source) String() string {
	return fmt.Sprintf("%s/%d/%d/%d", s.topic, s.partition, s.offset, s.by)
}

// sourceOf reads the source of r. ok is false when r has none, or one that cannot be read.
func sourceOf(r *Record) (s source, ok bool) {
	text, ok := r.Header(HeaderSource)
	if !ok {
		return source{}, false
	}
	f := strings.Split(text, "/")
	if len(f) != 4 {
		return source{}, false
	}
	topic, err1 := ParseTopicID(f[0])
	partition, err2 := strconv.ParseInt(f[1], 10, 32)
	offset, err3 := strconv.ParseInt(f[2], 10, 64)
	by, err4 := strconv.ParseUint(f[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || partition < 0 || offset < 0 {
		return source{}, false
	}
	return source{topic, int32(partition), offset, generation(by)}, true
}

// signs reports whether m is a follow-on that takes a source.
func (r *Runner) signs(m Message) bool { return slices.Contains(r.cfg.FollowTopics, m.Topic) }

// signed gives a follow-on its source.
func (r *Runner) signed(f *flight, m Message, intended bool) Message {
	if !r.signs(m) {
		return m
	}
	s := source{topic: f.jobID, partition: f.partition, offset: f.offset, by: f.signature(intended)}
	f.signed = f.signed || s.by > 0
	m.Headers = append(slices.Clip(m.Headers), Header{HeaderSource, []byte(s.String())})
	return m
}

// signature is the generation that f's records carry. Without a topic id it is unknown, since offsets of another topic of
// the same name would be taken for its own.
func (f *flight) signature(intended bool) generation {
	if intended || f.jobID.IsZero() {
		return 0
	}
	return f.by
}

// The limits of what a take-over reads of the topics of follow-ons.
const (
	followOnRecords = 10_000          // of all of these topics together, the newest of each
	followOnTime    = time.Second     // for all of them
	followOnSkew    = 5 * time.Second // how much a worker's clock may differ from a broker's
)

// readFollowOns gives visit the follow-ons that may have been written since that time to the partitions that belong to job
// partition p: the newest, as many as the limits allow. What cannot be read is left out and logged: then jobs are repeated
// whose follow-on is there, and the follow-on is void.
func (l *Ledger) readFollowOns(ctx context.Context, topics []string, p int32, since time.Time, visit func(*Record)) {
	ctx, cancel := context.WithTimeout(ctx, followOnTime)
	defer cancel()
	parts, err := l.followOnParts(topics, p, since.Add(-followOnSkew))
	if err != nil {
		l.log.Warn("follow-ons are not looked for", zap.Int32("partition", p), zap.Error(err))
	}
	for _, part := range newest(parts, followOnRecords) {
		err := l.readPart(ctx, part, visit)
		if err != nil {
			l.log.Warn("follow-ons are not looked for", zap.String("topic", part.topic), zap.Int32("partition", part.partition), zap.Error(err))
		}
	}
}

// part is a range of a partition.
type part struct {
	topicPartition
	span
}

func (l *Ledger) readPart(ctx context.Context, p part, visit func(*Record)) error {
	cur := newCursor(p.topicPartition, p.from, &l.large)
	for cur.at < p.to {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := cur.at
		if err := l.conn.load(cur, 0); err != nil {
			return err
		}
		err := cur.scan(new(skippedBatches), func(rec *Record) bool { // what cannot be decoded is the mover's business
			if rec.Offset < p.to {
				visit(rec)
			}
			return rec.Offset < p.to
		})
		if err != nil {
			return err
		}
		if cur.at == at && cur.suspect < 0 { // nothing: a leader that has less than it said before
			return nil
		}
	}
	return nil
}

// followOnParts asks where the partitions begin at that time and where they end, each broker twice. Partitions in which
// nothing is as late are left out. With an error there may be parts all the same.
func (l *Ledger) followOnParts(topics []string, p int32, since time.Time) ([]part, error) {
	client, err := l.conn.get()
	if err != nil {
		return nil, err
	}
	var failed error
	at := map[*sarama.Broker][]topicPartition{}
	for _, topic := range topics {
		ps, err := partitionsOf(client, topic)
		if err == nil && len(ps) > 0 {
			tp := topicPartition{topic, p % int32(len(ps))}
			var leader *sarama.Broker
			if leader, err = client.Leader(topic, tp.partition); err == nil {
				at[leader] = append(at[leader], tp)
				continue
			}
		}
		failed = fmt.Errorf("find the leader of %s: %w", topic, err)
	}
	var parts []part
	for leader, tps := range at {
		from, err := l.offsetsAt(leader, tps, max(since.UnixMilli(), 0))
		var to map[topicPartition]int64
		if err == nil {
			to, err = l.offsetsAt(leader, tps, sarama.OffsetNewest)
		}
		if err != nil {
			failed = err
		}
		for tp, begins := range from {
			if begins >= 0 && begins < to[tp] {
				parts = append(parts, part{tp, span{begins, to[tp]}})
			}
		}
	}
	if failed != nil {
		_ = client.RefreshMetadata(topics...)
	}
	return parts, failed
}

// offsetsAt asks a broker for an offset of each of the partitions by time, -1 where nothing is as late, or for their ends.
func (l *Ledger) offsetsAt(leader *sarama.Broker, tps []topicPartition, when int64) (map[topicPartition]int64, error) {
	req := sarama.NewOffsetRequest(l.conn.config.Version)
	for _, tp := range tps {
		req.AddBlock(tp.topic, tp.partition, when, 1)
	}
	resp, err := leader.GetAvailableOffsets(req)
	if err != nil {
		_ = leader.Close() // the next one who needs it dials again
		return nil, fmt.Errorf("ask %s for offsets: %w", leader.Addr(), err)
	}
	at := map[topicPartition]int64{}
	for topic, blocks := range resp.Blocks {
		for p, b := range blocks {
			if b.Err != sarama.ErrNoError {
				err = fmt.Errorf("ask for an offset of %s/%d: %w", topic, p, b.Err)
				continue
			}
			at[topicPartition{topic, p}] = b.Offset
		}
	}
	return at, err
}

// newest shortens parts so that together they have at most that many records: the largest first, at their beginnings.
func newest(parts []part, most int64) []part {
	slices.SortFunc(parts, func(a, b part) int { return int(min(max((a.to-a.from)-(b.to-b.from), -1), 1)) })
	for i := range parts {
		share := most / int64(len(parts)-i)
		parts[i].from = max(parts[i].from, parts[i].to-share)
		most -= parts[i].to - parts[i].from
	}
	return parts
}

// adopt takes in the follow-ons that the take-over has found, and fences off what the owner before may still bring about.
// From here on the claim's commits carry the fences. The lock is held.
func (c *claim) adopt(s start, found []*Record) {
	c.fences = s.fences
	defer func() { c.fenceText = c.fences.encode() }()
	if s.orderly {
		return
	}
	c.follows = map[int64]*followOn{}
	ended := map[int64]bool{}
	for _, r := range found {
		c.adoptOne(s, r, ended)
	}
	for o := range c.follows {
		ended[o] = true
	}
	for o := range c.unverified {
		ended[o] = true
	}
	if undone := c.undone(min(s.limit, c.horizon), ended); len(undone) > 0 && s.by > 1 {
		c.fences = append(fences{{by: s.by, undone: undone}}, s.fences...)
	}
}

// findFollowOns reads what an owner that has not left in order may have left behind.
func (c *claim) findFollowOns(ctx context.Context, s start) []*Record {
	if s.orderly || s.since.IsZero() || s.low >= s.limit || len(c.r.cfg.FollowTopics) == 0 {
		return nil
	}
	found := make(chan []*Record, 1)
	go func() { // a broker that does not answer must not keep the claim waiting
		var all []*Record
		c.r.cfg.Ledger.readFollowOns(ctx, c.r.cfg.FollowTopics, c.partition, s.since, func(r *Record) {
			if src, ok := sourceOf(r); ok && src.partition == c.partition && src.offset >= s.low {
				all = append(all, r)
			}
		})
		found <- all
	}()
	select {
	case all := <-found:
		return all
	case <-time.After(2 * followOnTime):
		return nil
	}
}

// followOn is one that was found of a job of the claim that is undone.
type followOn struct {
	by  generation
	rec *Record // without its value
}

// adoptOne takes in one of them. It adds to ended the jobs that it finds ended otherwise.
func (c *claim) adoptOne(s start, r *Record, ended map[int64]bool) {
	src, ok := sourceOf(r)
	if !ok || src.topic != c.jobID || src.partition != c.partition || src.by >= s.by || src.offset >= min(s.limit, c.horizon) ||
		c.isDone(src.offset) || c.toldOf(src.offset) || s.fences.voidFollowOn(src.by, src.offset) {
		return
	}
	if f := c.r.flights[c.topicPartition][src.offset]; f != nil && !f.adopts {
		if f.signed && f.by == src.by { // it is this process's own, which only lacks the acknowledgement
			ended[src.offset] = true
		}
		return
	}
	if known := c.follows[src.offset]; known != nil && known.by >= src.by {
		return
	}
	rec := *r
	rec.Key, rec.Value = nil, nil // its headers say all that is needed
	c.follows[src.offset] = &followOn{src.by, &rec}
}

// followed gives the follow-on that was found of the job at rec's offset; nil when there is none.
func (c *claim) followed(rec *Record) *Record {
	f := c.follows[rec.Offset]
	if f == nil || c.r.cfg.Handler.Identify(f.rec) != c.r.cfg.Handler.Identify(rec) {
		return nil
	}
	return f.rec
}

// isVoid reports whether rec has come from an owner that had lost the partition before, for a job that began anew elsewhere.
func (c *claim) isVoid(rec *Record) bool {
	if len(c.fences) == 0 {
		return false
	}
	src, ok := sourceOf(rec)
	return ok && src.topic == c.jobID && src.partition == c.partition && c.fences.voidFollowOn(src.by, src.offset)
}

// MayRepeat reports whether an earlier owner of the partition may have made an attempt at this step of the job: that owner
// has not left in order, and no outcome of the step is known. It says nothing about earlier attempts of the present owner.
func (a *Attempt) MayRepeat() bool {
	if a.runner == nil {
		return a.Played.mayRepeat()
	}
	return a.begun
}

// Left gives the next step or the dead letter that an earlier attempt at this job has left behind although no outcome tells
// of it: the job ends with the outcome that is missing, and no provider is called. The record comes without key and value;
// nil when there is none.
func (a *Attempt) Left() *Record {
	if a.runner == nil {
		return a.Played.left()
	}
	return a.left
}
