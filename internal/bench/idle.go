package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Idle measures what the roles cost while nothing happens.
type Idle struct {
	Options // a leg is the time that is measured
}

// settle is how long the roles have been ready before they are measured: the first seconds are busier than those that follow.
const settle = 15 * time.Second

// Check says what is wrong with the arguments.
func (r *Idle) Check() error { return r.check() }

// Run starts the role "all" with its embedded broker, and serve-api and work on another one, all channels on, and measures them at
// the same time.
func (r *Idle) Run(ctx context.Context) (*Result, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	result := r.result("idle", fmt.Sprintf("all channels, %s, %d legs of %s", r.bus(), r.Legs, r.Leg), "")
	f := newFigures()
	for leg := range r.Legs {
		if err := r.leg(ctx, leg, f); err != nil {
			return nil, err
		}
	}
	return result, r.finish(result, f, idleTargets(), "")
}

func (r *Idle) leg(ctx context.Context, leg int, f *figures) error {
	s, err := r.newStage()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.startBroker(ctx); err != nil {
		return err
	}
	all, err := s.all(ctx, outlets{})
	if err != nil {
		return err
	}
	api, err := s.api(ctx, storeSQLite, outlets{})
	if err != nil {
		return err
	}
	worker, err := s.worker(ctx, "email,sms,push", outlets{})
	if err != nil {
		return err
	}
	r.say("leg %d of %d: all processes are ready", leg+1, r.Legs)
	if !pause(ctx, min(settle, r.Leg)) {
		return ctx.Err()
	}
	m := newMeter()
	m.watch("all", all.pid())
	m.watch("serve-api", api.pid())
	m.watch("work", worker.pid())
	m.watch("Kafka", s.kafkaPID)
	m.start()
	if err := r.wait(ctx, m); err != nil {
		return err
	}
	used := m.read()
	if err := errors.Join(all.alive(), api.alive(), worker.alive()); err != nil {
		return err
	}
	for _, name := range m.names {
		if used.core(name) >= 0 {
			f.add(ours, name+", CPU", "% of a core", used.core(name))
		}
		f.add(ours, name+", RSS", "MB", used.rss[name])
		f.add(ours, name+", peak RSS", "MB", used.peak[name])
	}
	for _, p := range []*process{all, api, worker} {
		name := map[string]string{"all": "all", "api": "serve-api", "work": "work"}[p.name]
		f.add(ours, name+", goroutines", "", p.metricValue(ctx, "go_goroutines"))
	}
	return nil
}

// wait lets the leg pass, and says now and then what the processes take.
func (r *Idle) wait(ctx context.Context, m *meter) error {
	for until := time.Now().Add(r.Leg); time.Now().Before(until); {
		if !pause(ctx, min(time.Minute, time.Until(until))) {
			return ctx.Err()
		}
		used := m.read()
		for _, name := range m.names {
			r.say("%s: %s %% of a core, %s MB", name, number(used.core(name)), number(used.rss[name]))
		}
	}
	return nil
}
