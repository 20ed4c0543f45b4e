package dispatcher

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// delayed is the next step of r's job, on the ladder until at. e is the event of the step that ends.
func (d Desk) delayed(r *kafka.Record, e *notify.Event, at time.Time) kafka.Message {
	back := home(r)
	ours := []kafka.Header{
		header(notify.HeaderID, e.NotificationID),
		header(notify.HeaderLane, string(e.Lane)),
		header(notify.HeaderRun, strconv.Itoa(e.Run)),
		header(notify.HeaderStep, strconv.Itoa(e.Step+1)),
		header(notify.HeaderAttempt, strconv.Itoa(e.Attempt)),
		header(notify.HeaderHome, strconv.Itoa(int(back))),
		header(notify.HeaderAcceptedAt, stamp(accepted(r))),
		header(notify.HeaderNotBefore, stamp(at)),
	}
	ours = append(append(ours, inDoubt(r, e)...), finished(e, notify.StateSent, notify.StateRejected)...)
	return kafka.Message{
		Topic:     d.Topics.Delay(e.Channel, e.Lane, time.Until(at)),
		Partition: back, Key: r.Key, Value: r.Value, Headers: keep(ours, r.Headers),
	}
}

// inDoubt returns the header that names the gateways which may have accepted r's job, in this step or before; none if no
// gateway may have.
func inDoubt(r *kafka.Record, e *notify.Event) []kafka.Header {
	before, _ := r.Header(notify.HeaderInDoubt)
	var names []string
	for _, name := range strings.Split(notify.Clip(before, 255), ",") {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, t := range e.Tries {
		if t.Verdict == notify.Ambiguous && !slices.Contains(names, t.Gateway) {
			names = append(names, t.Gateway)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []kafka.Header{header(notify.HeaderInDoubt, strings.Join(names, ","))}
}

// finished returns the header that names the recipients of an e-mail which have one of these results; none if none has.
func finished(e *notify.Event, states ...notify.State) []kafka.Header {
	var p notify.Parts
	for _, r := range e.Recipients {
		if slices.Contains(states, r.State) {
			p.Finish(r.State, r.Code, r.Field)
		}
	}
	if text := p.String(); text != "" {
		return []kafka.Header{header(notify.HeaderRecipients, text)}
	}
	return nil
}

// accepted is when r's job was accepted, as the worker of its next step will find it. It is written anew, for what a
// producer writes there is of any length.
func accepted(r *kafka.Record) time.Time { return source(r).Accepted(time.Now()) }

// NotBefore is when the job of r is due again, as the ladder knows it; zero when r does not say, or says what nobody can
// mean: bad values never delay anything.
func NotBefore(r *kafka.Record) time.Time {
	s, ok := r.Header(notify.HeaderNotBefore)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || time.Until(at) > notify.FarthestDue {
		return time.Time{}
	}
	return at
}

// tier reads the tier from the name of a delay topic.
func tier(topic string) time.Duration {
	d, err := time.ParseDuration(topic[strings.LastIndex(topic, delays)+len(delays):])
	if err != nil { // not reached: the topics are ours
		return 0
	}
	return d
}
