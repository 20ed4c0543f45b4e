package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// trimEvery is how often the records that are done are deleted: one request for each partition.
const trimEvery = 5 * time.Minute

// trimmer deletes the records of a runner's partitions that have been done for RunnerConfig.DeleteAfter. It needs the
// permission to delete records; without it the records stay until their retention ends. One goroutine uses it.
type trimmer struct {
	r       *Runner
	marks   map[topicPartition][]mark
	deleted map[topicPartition]int64 // below it has been asked for
	refused map[string]bool          // topics
}

// mark is a watermark that was committed at a time.
type mark struct {
	at     time.Time
	offset int64
}

// trim runs until ctx ends.
func (r *Runner) trim(ctx context.Context) {
	if r.cfg.DeleteAfter == 0 {
		return
	}
	t := &trimmer{r: r, marks: map[topicPartition][]mark{}, deleted: map[topicPartition]int64{}, refused: map[string]bool{}}
	tick := time.NewTicker(r.cfg.DeleteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for tp, offset := range t.due(r.committed(), time.Now()) {
			if ctx.Err() != nil {
				return
			}
			t.delete(tp, offset)
		}
	}
}

// committed returns the watermarks that are known to be committed.
func (r *Runner) committed() map[topicPartition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[topicPartition]int64{}
	if r.session == nil || r.session.fenced {
		return all
	}
	for _, c := range r.session.claims {
		if c.taken && !c.over {
			all[c.topicPartition] = c.last.offset
		}
	}
	return all
}

// due notes the watermarks and returns those that were committed long enough ago, of partitions that are still held.
func (t *trimmer) due(committed map[topicPartition]int64, now time.Time) map[topicPartition]int64 {
	due := map[topicPartition]int64{}
	for tp := range t.marks {
		if _, held := committed[tp]; !held {
			delete(t.marks, tp) // somebody else's now
		}
	}
	for tp, offset := range committed {
		marks := t.marks[tp]
		for len(marks) > 0 && marks[len(marks)-1].offset > offset { // set back by an operator, or the topic was made anew
			marks = marks[:len(marks)-1]
		}
		t.deleted[tp] = min(t.deleted[tp], offset)
		if n := len(marks); offset > t.deleted[tp] && (n == 0 || marks[n-1].offset < offset) {
			marks = append(marks, mark{now, offset})
		}
		for len(marks) > 0 && now.Sub(marks[0].at) >= t.r.cfg.DeleteAfter {
			if !t.refused[tp.topic] {
				due[tp], t.deleted[tp] = marks[0].offset, marks[0].offset
			}
			marks = marks[1:]
		}
		t.marks[tp] = marks
	}
	return due
}

// delete deletes the records of tp below offset, and never one at or above what the group has committed now.
func (t *trimmer) delete(tp topicPartition, offset int64) {
	err := t.tryDelete(tp, offset)
	switch {
	case err == nil:
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrPolicyViolation),
		errors.Is(err, sarama.ErrUnsupportedVersion), errors.Is(err, sarama.ErrInvalidRequest):
		if !t.refused[tp.topic] {
			t.r.log.Info("records that have been moved on cannot be deleted and stay until their retention ends: allow Delete on the topic to save the room",
				zap.String("topic", tp.topic), zap.Error(err))
		}
		t.refused[tp.topic] = true
	default: // the next mark deletes these too
		t.r.log.Debug("deleting records that have been moved on", zap.Stringer("claim", tp), zap.Error(err))
	}
}

func (t *trimmer) tryDelete(tp topicPartition, offset int64) error {
	was, err := t.r.offsets.fetch(tp)
	if err != nil {
		return err
	}
	if offset = min(offset, was.offset); offset <= 0 {
		return nil
	}
	client, err := t.r.offsets.conn.get()
	if err != nil {
		return err
	}
	leader, err := client.Leader(tp.topic, tp.partition)
	if err != nil {
		return fmt.Errorf("find the leader of %s: %w", tp, err)
	}
	resp, err := leader.DeleteRecords(&sarama.DeleteRecordsRequest{
		Topics:  map[string]*sarama.DeleteRecordsRequestTopic{tp.topic: {PartitionOffsets: map[int32]int64{tp.partition: offset}}},
		Timeout: 2 * time.Second,
	})
	if err != nil {
		_ = leader.Close() // the next one who needs it dials again
		return fmt.Errorf("delete records of %s: %w", tp, err)
	}
	of := resp.Topics[tp.topic]
	if of == nil || of.Partitions[tp.partition] == nil {
		return fmt.Errorf("delete records of %s: no answer", tp)
	}
	if err := of.Partitions[tp.partition].Err; err != sarama.ErrNoError {
		if errors.Is(err, sarama.ErrNotLeaderForPartition) {
			_ = client.RefreshMetadata(tp.topic)
		}
		return fmt.Errorf("delete records of %s: %w", tp, err)
	}
	return nil
}
