package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Latency measures the time from the acceptance of a message to its arrival at the sink, at a steady rate.
type Latency struct {
	Options // a leg is the time at the steady rate
	Channel string
	Profile Profile
	Rate    float64
	Keys    bool
	Size    int
}

// Check says what is wrong with the arguments.
func (r *Latency) Check() error {
	if r.Rate < 1 || r.Rate > 100_000 {
		return errors.New("--rate: give 1 to 100000 messages per second, such as --rate 500")
	}
	return errors.Join(r.check(), checkMessage(r.Channel, r.Size))
}

// Run measures the role "all" on its embedded broker, or serve-api and work on the configured brokers. The bare side is a server
// that sends with Sarama, and a consumer that calls the library of the gateway.
func (r *Latency) Run(ctx context.Context) (*Result, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	keys := ""
	if r.Keys {
		keys = " with Idempotency-Keys"
	}
	result := r.result("latency", fmt.Sprintf("%s messages per second%s, %s, sink latency %s, %d bytes, %s, %d legs of %s",
		number(r.Rate), keys, r.Channel, r.Profile.Latency, r.Size, r.bus(), r.Legs, r.Leg), "bare")
	f := newFigures()
	for leg := range r.Legs {
		if err := r.leg(ctx, leg, baseline, f, result); err != nil {
			return nil, err
		}
		if err := r.leg(ctx, leg, ours, f, result); err != nil {
			return nil, err
		}
	}
	return result, r.finish(result, f, latencyTargets(len(r.Brokers) == 0, r.Keys), "")
}

// system is what takes messages in and delivers them.
type system struct {
	url       string
	processes map[string]*process // by their names in the rows
	names     []string
}

func (y *system) add(name string, p *process) {
	if y.processes == nil {
		y.processes = map[string]*process{}
	}
	y.names, y.processes[name] = append(y.names, name), p
}

func (y *system) alive() error {
	var faults []error
	for _, p := range y.processes {
		faults = append(faults, p.alive())
	}
	return errors.Join(faults...)
}

func (r *Latency) leg(ctx context.Context, leg, side int, f *figures, result *Result) error {
	s, err := r.newStage()
	if err != nil {
		return err
	}
	defer s.close()
	profile := r.Profile
	if side == baseline {
		profile.Faults = Faults{} // the bare side repeats nothing
	}
	sink, err := s.newSink(ctx, profile)
	if err != nil {
		return err
	}
	y, err := r.start(ctx, s, side, sink)
	if err != nil {
		return err
	}
	l := &load{url: y.url, message: message{channel: r.Channel, size: r.Size}, connections: 64, batch: 1}
	if r.Keys && side == ours {
		l.keys = "bench-"
	}
	l.steady(ctx, r.Rate, max(r.Leg/warmUp, time.Second))
	warm := len(l.at)
	l.message.number, l.answers = warm, nil
	m := newMeter()
	for name, p := range y.processes {
		m.watch(name, p.pid())
	}
	if y.processes["all"] == nil {
		m.watch("Kafka", s.kafkaPID)
	}
	m.watch("sink", sink.pid())
	m.watch("load", os.Getpid())
	m.start()
	began := m.read()
	l.steady(ctx, r.Rate, r.Leg)
	used := m.read()
	if err := errors.Join(ctx.Err(), y.alive()); err != nil {
		return err
	}
	if l.count == 0 {
		return fmt.Errorf("nothing was accepted: %s", l.why)
	}
	for _, p := range y.processes {
		if _, err := s.drained(ctx, sink, p, l.count); err != nil {
			return err
		}
	}
	taken, err := sink.takenAll(ctx)
	if err != nil {
		return err
	}
	audit := taken.judge(l.at)
	audit.Refused = l.refused
	r.figures(side, f, y, l, warm, &taken, began, used)
	if side == ours {
		result.Audit.add(audit)
		r.store(ctx, s, f, y, len(l.at))
	}
	r.say("leg %d of %d, %s: %s messages, %d missing", leg+1, r.Legs, []string{"bare", "laudspeaker"}[side], whole(audit.Accepted), audit.Lost)
	return nil
}

func (r *Latency) start(ctx context.Context, s *stage, side int, k *sink) (*system, error) {
	y := &system{}
	out := outlets{sink: k}
	// The role "all" brings a broker of its own; a second one would only take CPU time.
	if side == baseline || len(s.Brokers) > 0 {
		if err := s.startBroker(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case side == baseline:
		settings := bareSettings{Brokers: s.brokers, Topic: s.prefix + "bare", Partitions: s.partitions(), Direct: directSettings{
			Channel: r.Channel, Sink: k.at, InFlight: 64, Connections: 16, Size: r.Size,
		}}
		server, err := s.helper(ctx, "bare", bareHelper, settings)
		if err != nil {
			return nil, err
		}
		consumer, err := s.helper(ctx, "consume", consumeHelper, settings)
		if err != nil {
			return nil, err
		}
		y.url = server.url
		y.add("API", server)
		y.add("worker", consumer)
	case len(s.Brokers) == 0:
		all, err := s.all(ctx, out)
		if err != nil {
			return nil, err
		}
		y.url = all.url
		y.add("all", all)
	default:
		api, err := s.api(ctx, storeSQLite, out)
		if err != nil {
			return nil, err
		}
		worker, err := s.worker(ctx, r.Channel, out)
		if err != nil {
			return nil, err
		}
		y.url = api.url
		y.add("API", api)
		y.add("worker", worker)
	}
	return y, nil
}

// figures leaves out the messages of the warm-up.
func (r *Latency) figures(side int, f *figures, y *system, l *load, warm int, taken *Taken, began, used reading) {
	var delays []time.Duration
	for number := warm; number < len(l.at); number++ {
		if l.at[number] != 0 && taken.First[number] != 0 {
			// The sink may have it before the client has read the answer.
			delays = append(delays, max(0, time.Duration(taken.First[number]-l.at[number])))
		}
	}
	slices.Sort(delays)
	f.add(side, rowP50, "ms", quantile(delays, 0.50))
	f.add(side, rowP99, "ms", quantile(delays, 0.99))
	f.add(side, "accepted to sink, p99.9", "ms", quantile(delays, 0.999))
	answers := l.sortedAnswers()
	f.add(side, "answer, p50", "ms", quantile(answers, 0.50))
	f.add(side, "answer, p99", "ms", quantile(answers, 0.99))
	together, known := time.Duration(0), true
	for _, name := range y.names {
		together += used.cpu[name]
		known = known && used.cpu[name] >= 0
	}
	if !known {
		together = -1
	}
	f.add(side, rowOursCPU, "µs", perMessage(together, len(answers)))
	for _, name := range []string{"API", "worker", "Kafka", "all", "sink", "load"} {
		if _, watched := used.cpu[name]; watched {
			f.add(side, "CPU of "+article(name), "µs", perMessage(used.cpu[name], len(answers)))
		}
	}
	if side == baseline {
		return
	}
	for _, name := range y.names {
		if used.core(name) >= 0 {
			f.add(side, name+", CPU", "% of a core", used.core(name))
		}
		f.add(side, name+", RSS at the start", "MB", began.rss[name])
		f.add(side, name+", RSS at the end", "MB", used.rss[name])
		f.add(side, name+", peak RSS", "MB", used.peak[name])
	}
}

// store adds what the status store takes on the disk, and the goroutines.
func (r *Latency) store(ctx context.Context, s *stage, f *figures, y *system, messages int) {
	for _, name := range y.names {
		f.add(ours, name+", goroutines", "", y.processes[name].metricValue(ctx, "go_goroutines"))
	}
	var bytes int64
	files, _ := filepath.Glob(filepath.Join(s.dir, "*", "status.db*")) // the pattern is sound
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			bytes += info.Size()
		}
	}
	f.add(ours, rowBytes, "bytes per notification", float64(bytes)/float64(max(messages, 1)))
}
