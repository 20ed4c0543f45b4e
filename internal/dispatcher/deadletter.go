package dispatcher

import (
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// deadLetter is r with its bytes as they were and headers that say what became of it.
func (d Desk) deadLetter(r *kafka.Record, e *notify.Event, reason string) kafka.Message {
	at := home(r)
	ours := []kafka.Header{
		header(notify.HeaderID, e.NotificationID),
		header(notify.HeaderLane, string(e.Lane)),
		header(notify.HeaderRun, strconv.Itoa(e.Run)),
		header(notify.HeaderStep, strconv.Itoa(e.Step)),
		header(notify.HeaderAttempt, strconv.Itoa(e.Attempt)),
		header(notify.HeaderHome, strconv.Itoa(int(at))),
		header(notify.HeaderDeadReason, notify.Clip(reason, 255)),
		header(notify.HeaderDeadCode, notify.Clip(e.Code, 64)),
		header(notify.HeaderDeadGateway, notify.Clip(e.Gateway, 255)),
		header(notify.HeaderDeadAt, stamp(e.At)),
		header(notify.HeaderOriginTopic, r.Topic),
		header(notify.HeaderOriginPartition, strconv.Itoa(int(r.Partition))),
		header(notify.HeaderOriginOffset, strconv.FormatInt(r.Offset, 10)),
	}
	// A redrive is another try for recipients that were rejected.
	ours = append(append(ours, inDoubt(r, e)...), finished(e, notify.StateSent)...)
	return kafka.Message{
		Topic: d.Topics.DeadLetters(e.Channel), Partition: at, Key: r.Key, Value: r.Value, Headers: keep(ours, r.Headers),
	}
}

// Undecodable is [kafka.RunnerConfig.Undecodable]: the dead letter of a record batch that cannot be decoded. Its value is the
// batch. Nobody knows what notifications are in it; its id is that of its place.
func (d Desk) Undecodable(b *kafka.UndecodableBatch) kafka.Message {
	ch, _ := d.moves(b.Topic)
	e := d.arrived(b.Record, ch)
	e.Lane = d.laneOf(b.Topic)
	m := d.deadLetter(b.Record, &e, notify.ReasonUndecodableBatch)
	m.Headers = append(m.Headers,
		header(notify.HeaderOriginLastOffset, strconv.FormatInt(b.LastOffset, 10)),
		header(notify.HeaderOriginCount, strconv.Itoa(int(b.Count))),
	)
	return m
}

// Panicked is [kafka.RunnerConfig.Panicked] of a mover: the job ends as a dead letter.
func (d Desk) Panicked(a *kafka.Attempt) kafka.Result {
	ch, _ := d.moves(a.Topic)
	e := d.arrived(a.Record, ch)
	e.State = notify.StateDead
	buried := d.Bury(a.Record, e, notify.ReasonPanicked)
	return kafka.Result{Follow: append(buried.Follow, d.apart(buried.Outcome))}
}

// laneOf is the lane of a job topic, or of a topic of lane urgent's own delay ladder; normal for one of the ladder that the
// other lanes share.
func (d Desk) laneOf(topic string) notify.Lane {
	for _, ch := range d.Topics.Channels() {
		if strings.HasPrefix(topic, d.Topics.Job(ch, notify.LaneUrgent)+delays) {
			return notify.LaneUrgent
		}
		for _, lane := range notify.Lanes() {
			if topic == d.Topics.Job(ch, lane) {
				return lane
			}
		}
	}
	return notify.LaneNormal
}

// keep adds to ours what a job brought along, in this order while there is room: what a producer may set, then whatever
// else is not ours to write. Of several headers of one name the last counts.
func keep(ours, brought []kafka.Header) []kafka.Header {
	room := maxHeaders - headerBytes(ours)
	written := map[string]bool{}
	for _, h := range ours {
		written[h.Key] = true
	}
	add := func(wanted func(key string) bool) {
		for i := len(brought) - 1; i >= 0; i-- {
			h := brought[i]
			need := len(h.Key) + len(h.Value)
			if wanted(h.Key) && !written[h.Key] && need <= room {
				ours, room = append(ours, h), room-need
			}
			if wanted(h.Key) {
				written[h.Key] = true // an earlier one of the same name was never in force
			}
		}
	}
	add(producers)
	add(func(key string) bool { return !strings.HasPrefix(key, "ls-") })
	return ours
}

// producers reports whether key is a header that came with the job and stays in force for the next run.
func producers(key string) bool {
	switch key {
	case notify.HeaderSchema, notify.HeaderIdempotency, notify.HeaderTrace, notify.HeaderAcceptedAt, notify.HeaderNotBefore,
		notify.HeaderExpiresAt, notify.HeaderFingerprint, notify.HeaderInDoubt:
		return true
	default:
		return false
	}
}

// home is the partition number that r's job was given when it was first published.
func home(r *kafka.Record) int32 {
	if s, ok := r.Header(notify.HeaderHome); ok {
		if n, err := strconv.ParseInt(s, 10, 32); err == nil && n >= 0 {
			return int32(n)
		}
	}
	return r.Partition
}
