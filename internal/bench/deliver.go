package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Deliver measures how fast a worker empties a full topic, beside the library of the gateway alone.
type Deliver struct {
	Options
	Channel     string
	Profile     Profile
	InFlight    int
	Connections int // to the relay; 0: 16, or InFlight where the sink takes time
	Messages    int // of a leg; 0: as many as the direct side should send in a leg
	Size        int
}

// Check says what is wrong with the arguments, and fills in what was left out.
func (r *Deliver) Check() error {
	if err := errors.Join(r.check(), checkMessage(r.Channel, r.Size)); err != nil {
		return err
	}
	switch {
	case r.InFlight < 1:
		return errors.New("--in-flight: give at least 1, such as --in-flight 64")
	case r.Connections < 0 || r.Messages < 0:
		return errors.New("--connections and --messages: give a number above 0, or leave it out")
	case r.Profile.Latency < 0:
		return errors.New("--sink-latency: give 0s or more, such as --sink-latency 50ms")
	}
	switch {
	case r.Connections > 0:
	case r.Profile.Latency > 0:
		r.Connections = r.InFlight
	default:
		r.Connections = 16
	}
	if r.Messages == 0 {
		r.Messages = int(r.expected() * r.Leg.Seconds())
	}
	if r.Short {
		r.Messages = min(r.Messages, 2000)
	}
	r.Messages = max(r.Messages, 100)
	return nil
}

// expected is the rate of the direct side: that of the reference, unless the sink's latency allows less.
func (r *Deliver) expected() float64 {
	rate := directRate(r.Channel)
	if r.Profile.Latency > 0 {
		inFlight := r.InFlight
		if r.Channel == "email" {
			inFlight = min(inFlight, r.Connections)
		}
		rate = min(rate, float64(inFlight)/r.Profile.Latency.Seconds())
	}
	return rate
}

// Run alternates legs of the library and of a worker.
func (r *Deliver) Run(ctx context.Context) (*Result, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	result := r.result("deliver", fmt.Sprintf("%s, %d in flight, %d connections to the relay, sink latency %s, %s messages of %d bytes in each leg, %s, %d legs",
		r.Channel, r.InFlight, r.Connections, r.Profile.Latency, whole(r.Messages), r.Size, r.bus(), r.Legs), "direct")
	f := newFigures()
	for leg := range r.Legs {
		if err := r.direct(ctx, leg, f); err != nil {
			return nil, err
		}
		audit, err := r.worker(ctx, leg, f)
		if err != nil {
			return nil, err
		}
		result.Audit.add(audit)
	}
	reference := 0.0
	if r.Profile.Latency == 0 && r.InFlight == 64 {
		reference = directRate(r.Channel)
	}
	return result, r.finish(result, f, deliverTargets(r.Profile.Latency == 0, r.InFlight), void(f.values[rowRate][baseline], reference))
}

func (r *Deliver) direct(ctx context.Context, leg int, f *figures) error {
	s, err := r.newStage()
	if err != nil {
		return err
	}
	defer s.close()
	sink, err := s.newSink(ctx, r.Profile)
	if err != nil {
		return err
	}
	d, err := s.helper(ctx, "direct", directHelper, directSettings{
		Channel: r.Channel, Sink: sink.at, InFlight: r.InFlight, Connections: r.Connections, Size: r.Size,
	})
	if err != nil {
		return err
	}
	m := newMeter()
	m.watch("worker", d.pid())
	m.watch("sink", sink.pid())
	m.start()
	if err := d.send(order{Messages: r.Messages}); err != nil {
		return err
	}
	var result done
	if err := d.receive(ctx, &result); err != nil {
		return err
	}
	if result.Failed > 0 && r.Profile.Faults == (Faults{}) {
		return fmt.Errorf("%d messages of the direct side failed: %s", result.Failed, result.Error)
	}
	counts, err := sink.counts(ctx)
	if err != nil {
		return err
	}
	r.figures(baseline, leg, "direct", f, m.read(), counts)
	return nil
}

// figures adds those of a leg. The rate is that between the first and the last message at the sink, so the start of a worker is not
// in it; it is in the CPU time.
func (r *Deliver) figures(side, leg int, name string, f *figures, used reading, counts Counts) {
	rate := float64(counts.Ended-1) / time.Duration(max(counts.Last-counts.First, 1)).Seconds()
	f.add(side, rowRate, "/s", rate)
	for _, watched := range []string{"worker", "Kafka", "sink"} {
		cpu, known := used.cpu[watched]
		if !known {
			cpu = -1
		}
		f.add(side, "CPU of "+article(watched), "µs", perMessage(cpu, counts.Ended))
	}
	f.add(side, rowWorkPeak, "MB", used.peak["worker"])
	r.say("leg %d of %d, %s: %s messages, %s per second", leg+1, r.Legs, name, whole(counts.Ended), number(rate))
}

func (r *Deliver) worker(ctx context.Context, leg int, f *figures) (none Audit, err error) {
	s, err := r.newStage()
	if err != nil {
		return none, err
	}
	defer s.close()
	sink, err := s.newSink(ctx, r.Profile)
	if err != nil {
		return none, err
	}
	if err := s.startBroker(ctx); err != nil {
		return none, err
	}
	out := outlets{sink, r.InFlight, r.Connections}
	l, err := r.fill(ctx, s, out)
	if err != nil {
		return none, err
	}
	m := newMeter()
	m.watch("Kafka", s.kafkaPID)
	m.watch("sink", sink.pid())
	m.start()
	worker, err := s.worker(ctx, r.Channel, out)
	if err != nil {
		return none, err
	}
	m.watch("worker", worker.pid()) // all that it has used
	counts, err := s.drained(ctx, sink, worker, l.count)
	if err != nil {
		return none, err
	}
	r.figures(ours, leg, "work", f, m.read(), counts)
	// Before the worker has ended it could still repeat something.
	worker.stop()
	taken, err := sink.takenAll(ctx)
	if err != nil {
		return none, err
	}
	audit := taken.judge(l.at)
	audit.Refused = l.refused
	return audit, nil
}

// fill puts the messages on their topic through an API that ends before the worker starts.
func (r *Deliver) fill(ctx context.Context, s *stage, out outlets) (*load, error) {
	api, err := s.api(ctx, storeOff, out)
	if err != nil {
		return nil, err
	}
	l := &load{url: api.url, message: message{channel: r.Channel, size: r.Size}, connections: 8, batch: 500}
	took := l.flood(ctx, 0, r.Messages)
	if err := errors.Join(ctx.Err(), api.alive()); err != nil {
		return nil, err
	}
	if l.count == 0 {
		return nil, fmt.Errorf("the API accepted nothing: %s", l.why)
	}
	r.say("%s messages are on the topic after %s", whole(l.count), took.Round(time.Millisecond))
	api.stop()
	return l, nil
}

// drained waits until so many messages have ended at the sink. It gives up when none ends for too long: the audit counts what is
// missing.
func (s *stage) drained(ctx context.Context, k *sink, sender *process, messages int) (counts Counts, err error) {
	moved, told, before := time.Now(), time.Now(), 0
	for {
		if counts, err = k.counts(ctx); err != nil {
			return counts, errors.Join(err, k.alive())
		}
		if counts.Ended >= messages {
			return counts, nil
		}
		if err := sender.alive(); err != nil {
			return counts, err
		}
		if counts.Ended != before {
			moved, before = time.Now(), counts.Ended
		}
		if time.Since(moved) > patience {
			return counts, nil
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			s.say("%s of %s messages", whole(counts.Ended), whole(messages))
		}
		if !pause(ctx, 20*time.Millisecond) {
			return counts, ctx.Err()
		}
	}
}
