package kafka

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// afterTooLarge is when a record is published again that its topic has refused without its value.
const afterTooLarge = 30 * time.Second

// publish ends only with acknowledgements, or with life. It gives the outcome that it has published.
func (r *Runner) publish(f *flight, rec *Record, res Result) (*Outcome, error) {
	if n := sizeOf(res); n > 0 && f.publishing.IsZero() {
		r.answered(f, n)
	}
	r.sign(f)
	o, err := r.follow(f, rec, res)
	if err != nil || o == nil {
		return nil, err
	}
	r.handOff(f)
	m := Message{
		Topic: r.cfg.Ledger.topic, Partition: f.ledgerPartition, Key: o.Key, Value: o.Value,
		Headers: append(r.entry(f, rec, KindOutcome, o.ID), o.Headers...),
	}
	if f.signed {
		m.Headers = append(m.Headers, Header{HeaderGeneration, strconv.AppendUint(nil, uint64(f.by), 10)})
	}
	partition, offset, err := r.surely(m)
	if err != nil {
		return nil, err
	}
	r.cfg.Ledger.raise(partition, offset)
	return o, nil
}

// sign gives f the generation of the present claim, if that waits for f.
func (r *Runner) sign(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.signed = f.adopts && f.by > 0
	if c := r.owner(f.topicPartition); c != nil && c.taken && c.countsOn(f) && !f.adopts {
		f.by = c.by
	}
}

// follow publishes the follow-ons, or what takes the place of one that is too large, and gives the outcome that comes after
// them.
func (r *Runner) follow(f *flight, rec *Record, res Result) (*Outcome, error) {
	res.Follow = slices.Clone(res.Follow)
	for len(res.Follow) > 0 {
		m := r.signed(f, res.Follow[0], res.Intended)
		if m.Value != nil {
			_, _, err := r.cfg.Publisher.PublishForever(r.life, m)
			if errors.Is(err, ErrTooLarge) && res.cut {
				if res.Follow[0].Value = m.Value[:len(m.Value)/2]; len(m.Value) < 2 {
					res.Follow[0].Value = nil
				}
				continue
			}
			if errors.Is(err, ErrTooLarge) {
				r.log.Error("a record is too large for its topic; another takes its place", zap.String("topic", m.Topic), zap.Int("bytes", len(m.Value)))
				res = r.cfg.Shrink(rec, res)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("publish to %s: %w", m.Topic, err)
			}
		} else if _, _, err := r.surely(m); err != nil {
			return nil, err
		}
		res.Follow = res.Follow[1:]
	}
	return res.Outcome, nil
}

// surely publishes m, without its value when it is too large with it.
func (r *Runner) surely(m Message) (partition int32, offset int64, err error) {
	partition, offset, err = r.cfg.Publisher.PublishForever(r.life, m)
	for errors.Is(err, ErrTooLarge) && r.life.Err() == nil { // to give up would repeat the attempt, again and again
		if m.Value == nil {
			r.log.Error("a record is too large even without its value; it waits until its topic takes it: raise max.message.bytes", zap.String("topic", m.Topic))
			pause(r.life, afterTooLarge)
		}
		m.Value = nil
		partition, offset, err = r.cfg.Publisher.PublishForever(r.life, m)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("publish to %s: %w", m.Topic, err)
	}
	return partition, offset, nil
}

func (r *Runner) entry(f *flight, rec *Record, kind, id string) []Header {
	if id == "" {
		id = r.cfg.Handler.Identify(rec)
	}
	return entry{kind: kind, group: r.cfg.Group, job: f.topicPartition, jobOffset: f.offset, topicID: f.jobID, id: id}.headers()
}

// handOff pins L, here and on the claim that owns the partition now, before anything of f goes to the ledger.
func (r *Runner) handOff(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.pinned {
		f.pinned, f.pin = true, r.cfg.Ledger.known(f.ledgerPartition)
	}
	if c := r.owner(f.topicPartition); c != nil {
		c.handOff(f.offset, f.pin)
		c.lastEnd = time.Now()
	}
}
