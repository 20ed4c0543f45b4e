package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Ingest measures how many notifications the API makes durable, beside a bare server that sends with Sarama.
type Ingest struct {
	Options
	Channel     string
	Connections int
	Batch       int
	Store       string
	Size        int
}

// Check says what is wrong with the arguments.
func (r *Ingest) Check() error {
	switch {
	case r.Connections < 1:
		return errors.New("--connections: give at least 1, such as --connections 64")
	case r.Batch < 1 || r.Batch > 1000:
		return errors.New("--batch: give 1 to 1000, such as --batch 500")
	case r.Store != storeOff && r.Store != storeSQLite:
		return errors.New("--store knows off and sqlite")
	}
	return errors.Join(r.check(), checkMessage(r.Channel, r.Size))
}

func checkMessage(channel string, size int) error {
	if directRate(channel) == 0 {
		return errors.New("--channel knows email, sms and push")
	}
	if size < 1 || size > 1500 {
		return errors.New("--size: give 1 to 1500 bytes of text, such as --size 100; longer ones are not allowed on every channel")
	}
	return nil
}

// Run alternates legs of the bare server and of the API.
func (r *Ingest) Run(ctx context.Context) (*Result, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	result := r.result("ingest", fmt.Sprintf("%d connections, batches of %d, store %s, %s, %d bytes, %s, %d legs of %s",
		r.Connections, r.Batch, r.Store, r.Channel, r.Size, r.bus(), r.Legs, r.Leg), "bare")
	f := newFigures()
	for leg := range r.Legs {
		if err := r.round(ctx, leg, f, result); err != nil {
			return nil, err
		}
	}
	voided := void(f.values[rowRate][baseline], bareIngest(r.Connections, r.Batch))
	return result, r.finish(result, f, ingestTargets(r.Batch, r.Store), voided)
}

// round is one leg of each side on one broker, which is new in each round: what it holds would make the next round slower.
func (r *Ingest) round(ctx context.Context, leg int, f *figures, result *Result) error {
	s, err := r.newStage()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.startBroker(ctx); err != nil {
		return err
	}
	bare, err := s.helper(ctx, "bare", bareHelper, bareSettings{Brokers: s.brokers, Topic: s.prefix + "bare", Partitions: s.partitions()})
	if err != nil {
		return err
	}
	if _, err := r.leg(ctx, s, baseline, leg, bare, f); err != nil {
		return err
	}
	bare.stop()
	api, err := s.api(ctx, r.Store, outlets{})
	if err != nil {
		return err
	}
	audit, err := r.leg(ctx, s, ours, leg, api, f)
	if err != nil {
		return err
	}
	result.Audit.add(audit)
	return nil
}

// warmUp is how much of a leg goes before it without being measured.
const warmUp = 10

func (r *Ingest) leg(ctx context.Context, s *stage, side, leg int, server *process, f *figures) (Audit, error) {
	first := &load{url: server.url, message: message{channel: r.Channel, size: r.Size}, connections: r.Connections, batch: r.Batch}
	first.flood(ctx, r.Leg/warmUp, 0)
	l := &load{url: server.url, message: first.message, connections: r.Connections, batch: r.Batch}
	l.message.number = int(first.next.Load())
	m := newMeter()
	m.watch("API", server.pid())
	m.watch("Kafka", s.kafkaPID)
	m.watch("load", os.Getpid())
	m.start()
	took := l.flood(ctx, r.Leg, 0)
	used := m.read()
	if err := errors.Join(ctx.Err(), server.alive()); err != nil {
		return Audit{}, err
	}
	if l.count == 0 {
		return Audit{}, fmt.Errorf("%s accepted nothing: %s", server.name, l.why)
	}
	rate := float64(l.count) / took.Seconds()
	f.add(side, rowRate, "/s", rate)
	for _, name := range m.names {
		f.add(side, "CPU of "+article(name), "µs", perMessage(used.cpu[name], l.count))
	}
	answers := l.sortedAnswers()
	f.add(side, "answer, p50", "ms", quantile(answers, 0.50))
	f.add(side, "answer, p99", "ms", quantile(answers, 0.99))
	f.add(side, "answer, p99.9", "ms", quantile(answers, 0.999))
	f.add(side, rowAPIPeak, "MB", used.peak["API"])
	r.say("leg %d of %d, %s: %s per second", leg+1, r.Legs, server.name, number(rate))
	if side == baseline {
		return Audit{}, nil
	}
	if r.Store != storeOff {
		if err := r.catchUp(ctx, server, f, took); err != nil {
			return Audit{}, err
		}
	}
	return r.audit(s, first, l)
}

// catchUp waits until the recorder has read what the flood has left on the log, for three times as long as the flood.
func (r *Ingest) catchUp(ctx context.Context, api *process, f *figures, flood time.Duration) error {
	const lag = "laudspeaker_recorder_lag_seconds"
	began := time.Now()
	f.add(ours, "lag of the recorder", "s", api.metricValue(ctx, lag))
	for time.Since(began) < 3*flood+patience {
		if api.metricValue(ctx, lag) < 1 {
			break
		}
		if err := api.alive(); err != nil {
			return err
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
	f.add(ours, "recorder caught up after", "s", time.Since(began).Seconds())
	return nil
}

// audit counts what is on the log: what was accepted, and no more.
func (r *Ingest) audit(s *stage, loads ...*load) (a Audit, err error) {
	for _, l := range loads {
		a.Accepted += l.count
		a.Refused += l.refused
	}
	if a.Delivered, err = recordsOn(s.brokers, s.prefix+r.Channel+"_topic"); err != nil {
		return a, err
	}
	// A request without an answer may be on the log.
	a.Lost, a.Duplicated = max(0, a.Accepted-a.Delivered), max(0, a.Delivered-a.Accepted-a.Refused)
	return a, nil
}

// article makes a name part of a sentence.
func article(name string) string {
	switch name {
	case "API", "worker", "sink", "load":
		return "the " + name
	}
	return name
}
