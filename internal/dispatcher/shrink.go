package dispatcher

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Shrink is [kafka.RunnerConfig.Shrink]: it gives what takes the place of res, the first record of which its topic refuses
// for its size.
//
// A job that cannot go where it should, to the ladder, up it, or back to its lane, ends as a dead letter, and its event says
// so in place of the one that was to be written; a mover, which has no outcome, gets one to publish. A dead letter that is
// too large goes without its value, which stays at the origin that its headers name for as long as that topic keeps it: that
// one always fits.
func (d Desk) Shrink(r *kafka.Record, res kafka.Result) kafka.Result {
	m, rest := res.Follow[0], res.Follow[1:]
	ch, moves := d.moves(m.Topic)
	if !moves {
		res.Follow = append([]kafka.Message{withoutValue(m)}, rest...)
		return res
	}
	var e notify.Event
	if res.Outcome == nil || json.Unmarshal(res.Outcome.Value, &e) != nil {
		e = d.arrived(r, ch)
	}
	e.State, e.NextAt = notify.StateDead, nil
	buried := d.Bury(r, e, notify.ReasonTooLarge)
	if res.Outcome == nil {
		buried.Follow = append(buried.Follow, d.apart(buried.Outcome))
	} else {
		res.Outcome = buried.Outcome
	}
	res.Follow = slices.Concat(buried.Follow, rest)
	return res
}

// moves reports whether what is published to topic is a job, and of which channel, on its way to be tried.
func (d Desk) moves(topic string) (notify.Channel, bool) {
	for _, ch := range d.Topics.Channels() {
		if strings.HasPrefix(topic, d.Topics.Channel(ch)+delays) || strings.HasPrefix(topic, d.Topics.Job(ch, notify.LaneUrgent)+delays) {
			return ch, true
		}
		for _, lane := range notify.Lanes() {
			if topic == d.Topics.Job(ch, lane) {
				return ch, true
			}
		}
	}
	return "", false
}

// arrived is what a record says of its job.
func (d Desk) arrived(r *kafka.Record, ch notify.Channel) notify.Event {
	n, _, _ := validate.Decode(r.Value, false)
	e := notify.Event{
		NotificationID: identity(n, r), Run: number(r, notify.HeaderRun), Step: number(r, notify.HeaderStep), Attempt: number(r, notify.HeaderAttempt),
		At: time.Now().UTC(), Tenant: validate.Tenant(n), Channel: ch, Lane: notify.LaneNormal,
	}
	if n != nil {
		e.Reference = n.Reference
	}
	if lane, _ := r.Header(notify.HeaderLane); notify.Lane(lane).Known() {
		e.Lane = notify.Lane(lane)
	}
	return e
}

// withoutValue is m as small as it gets.
func withoutValue(m kafka.Message) kafka.Message {
	const orderable = 1 << 10
	if m.Value = nil; len(m.Key) > orderable {
		m.Key = nil // the partition is given, so nothing depends on it
	}
	if !slices.ContainsFunc(m.Headers, func(h kafka.Header) bool { return h.Key == notify.HeaderDeadReason }) {
		return m // no dead letter
	}
	headers := slices.DeleteFunc(slices.Clone(m.Headers), func(h kafka.Header) bool { return h.Key == notify.HeaderDeadReason })
	m.Headers = append(headers, header(notify.HeaderDeadReason, notify.ReasonTooLarge))
	return m
}
