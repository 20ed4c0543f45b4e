package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// A topic that every process knows whole may be deleted and created again, or lose its end. Then it says less than the
// processes know, and they get the chance to write to it what must not be forgotten before they read it.

// tailIDEvery is how often a [Tail] asks for the id of its topic.
const tailIDEvery = 2 * time.Second

// BeforeRestart sets what is called before the topic is read from its start again, because it was created again or is shorter
// than it was. f reads what the topic holds now by read, writes to it what is missing, and is called again until it returns
// nil. It is set before [Tail.Run].
func (t *Tail) BeforeRestart(f func(ctx context.Context, read func(visit func(*Record)) error) error) {
	t.restart = f
}

// Restarts is how often the topic was read from its start again.
func (t *Tail) Restarts() uint64 { return t.restarts.Load() }

// checkID fails with [errRecreated] when the topic is another one than the one that is being read, and with [errTruncated]
// when its log is.
func (t *Tail) checkID(cur *cursor) error {
	if time.Since(t.askedID) < tailIDEvery {
		return nil
	}
	ids, err := t.conn.topicIDs([]string{t.topic})
	if err != nil {
		return err
	}
	id, there := ids[t.topic]
	if !there {
		return nil // reading it says what is wrong
	}
	if t.id.Differs(id) {
		if err := t.conn.agreeOnIDs([]string{t.topic}, ids); err != nil {
			return err
		}
		t.id = id
		return errRecreated
	}
	if cur.epoch.known {
		a, err := t.conn.epochEnd(cur.topicPartition, cur.epoch.number)
		if err != nil {
			return err
		}
		if _, _, differs := cur.epoch.divergence(a, 0, cur.at); differs {
			return errTruncated
		}
	}
	t.askedID = time.Now()
	if !id.IsZero() {
		t.id = id
	}
	return nil
}

// startAgain prepares reading from the start. It returns when what must not be forgotten is on the topic, or when ctx ends.
func (t *Tail) startAgain(ctx context.Context) {
	t.restarts.Add(1)
	t.log.Error("a topic that every process knows whole was deleted and created again, or has lost its end. What must outlast it is written to it "+
		"again, and the rest of what it said has ended", zap.String("topic", t.topic), zap.Stringer("topic_id", t.id))
	log := newSeldom(t.log)
	for t.restart != nil && ctx.Err() == nil {
		err := t.restart(ctx, t.readAll)
		if err == nil {
			return
		}
		t.note(err, false, time.Time{})
		log.warn("writing again what "+t.topic+" has lost", err)
		pause(ctx, time.Second)
	}
}

// readAll gives visit what the topic holds now.
func (t *Tail) readAll(visit func(*Record)) error {
	cur, end := newCursor(topicPartition{t.topic, 0}, 0, &t.large), int64(-1)
	for end < 0 || cur.at < end {
		at := cur.at
		_, err := t.turn(cur, &end, visit)
		if err == nil && cur.at == at && at < end && cur.suspect < 0 {
			err = errNoRecord
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", t.topic, err)
		}
	}
	return nil
}

// mustStartAgain reports whether reading cannot go on where it was.
func mustStartAgain(err error) bool {
	return errors.Is(err, errRecreated) || errors.Is(err, errTruncated) || errors.Is(err, sarama.ErrOffsetOutOfRange)
}
