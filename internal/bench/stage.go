package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are what all runs have in common.
type Options struct {
	Program  string // path of the executable; "laudspeaker" itself
	Version  string
	Progress io.Writer

	Brokers    []string // empty: an embedded broker of the run's own
	Partitions int      // of the topics; 0: 2 on the embedded broker, 12 on others
	KafkaPID   int      // a broker whose CPU time is measured too
	Set        []string // key=value for the roles

	Leg        time.Duration
	Legs       int
	Short      bool
	AnyMachine bool
}

// shortLeg is the length of a leg with --short.
const shortLeg = time.Second

func (o *Options) check() error {
	if o.Short {
		o.Leg, o.Legs = min(o.Leg, shortLeg), 1
	}
	switch {
	case o.Leg < 100*time.Millisecond:
		return errors.New("--leg: give at least 100ms, such as --leg 30s")
	case o.Legs < 1:
		return errors.New("--legs: give at least 1, such as --legs 7")
	case o.Partitions < 0:
		return errors.New("--partitions: give a number above 0, or leave it out")
	}
	for _, s := range o.Set {
		if key, _, ok := strings.Cut(s, "="); !ok {
			return errors.New("--set needs key=value, such as --set channels.email.concurrency=128")
		} else if key == "log.level" || key == "log.format" {
			return errors.New("--set: a run reads the addresses of the roles from their log, so log.level and log.format stay as they are")
		}
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	fmt.Fprintf(o.Progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (o *Options) bus() string {
	if len(o.Brokers) > 0 {
		return "Kafka at " + strings.Join(o.Brokers, ",")
	}
	return "embedded broker"
}

func (o *Options) result(bench, settings, baseline string) *Result {
	return &Result{
		Bench: bench, Settings: settings, Baseline: baseline, Judged: !o.Short, Version: o.Version,
		Machine: fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
}

// finish fills in the rows, and judges the run unless it is short or void. It fails when a message was lost.
func (o *Options) finish(r *Result, f *figures, targets map[string]Target, voided string) error {
	if voided != "" && !o.Short && !o.AnyMachine {
		r.Void, r.Judged = voided, false
	}
	r.Rows = f.rows(targets, r.Judged)
	if r.Audit.Lost > 0 {
		return fmt.Errorf("%d accepted messages did not arrive", r.Audit.Lost)
	}
	return nil
}

// stage is the processes of one leg, and what they work on.
type stage struct {
	*Options
	dir       string
	brokers   []string
	prefix    string
	kafkaPID  int
	processes []*process
}

func (o *Options) newStage() (*stage, error) {
	dir, err := os.MkdirTemp("", "laudspeaker-bench-")
	if err != nil {
		return nil, err
	}
	return &stage{Options: o, dir: dir, brokers: o.Brokers, kafkaPID: o.KafkaPID, prefix: filepath.Base(dir) + "."}, nil
}

// startBroker starts an embedded broker, unless another one is configured.
func (s *stage) startBroker(ctx context.Context) error {
	if len(s.brokers) > 0 {
		return nil
	}
	broker, err := s.helper(ctx, "kafka", brokerHelper, brokerSettings{Dir: filepath.Join(s.dir, "kafka")})
	if err != nil {
		return err
	}
	s.brokers, s.kafkaPID = []string{broker.at.Address}, broker.pid()
	return nil
}

// close ends the processes in the order opposite to that of their start, deletes the topics of a foreign Kafka and the directory.
func (s *stage) close() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
	if len(s.Brokers) > 0 {
		if err := dropTopics(s.Brokers, s.prefix); err != nil {
			s.say("topics that begin with %s are left on the Kafka: %v", s.prefix, err)
		}
	}
	_ = os.RemoveAll(s.dir) // in the system's temporary directory
}

func (s *stage) partitions() int {
	switch {
	case s.Partitions > 0:
		return s.Partitions
	case len(s.Brokers) > 0:
		return 12
	}
	return 2
}

// helper starts a process of this package, and returns once it says where it listens.
func (s *stage) helper(ctx context.Context, name, kind string, settings any) (*process, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	p, err := launch(s.dir, name, s.Program, true, "bench", "helper", kind, string(text))
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, p)
	err = p.receive(ctx, &p.at)
	p.url = p.at.Address
	return p, err
}

// role starts a role, and returns once it is ready. A status store that is off is not waited for.
func (s *stage) role(ctx context.Context, name, config string, args ...string) (*process, error) {
	args = append(args, "--config", config)
	for _, set := range s.Set {
		args = append(args, "--set", set)
	}
	p, err := launch(s.dir, name, s.Program, false, args...)
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, p)
	admin, err := p.logged(ctx, "admin listens")
	if err != nil {
		return nil, err
	}
	p.metric = admin + "/metrics"
	if err := p.await(ctx, "become ready", 20*time.Millisecond, func() bool { return isReady(ctx, admin) }); err != nil {
		return nil, err
	}
	if args[0] != "work" {
		p.url, err = p.logged(ctx, "api listens")
	}
	return p, err
}

// isReady ignores a status store that is not open: that is how a run without a store works.
func isReady(ctx context.Context, admin string) bool {
	status, body, err := get(ctx, admin+"/readyz")
	if err != nil || status == http.StatusOK {
		return err == nil
	}
	for line := range strings.Lines(string(body)) {
		// The cause may have lines of its own, which are indented.
		if !strings.HasPrefix(line, "status store:") && !strings.HasPrefix(line, "\t") {
			return false
		}
	}
	return len(body) > 0
}

// metric returns the value of a metric without labels, or of the largest of its series; 0 where there is none.
func (p *process) metricValue(ctx context.Context, name string) (largest float64) {
	_, body, err := get(ctx, p.metric)
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		v, _ := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		largest = max(largest, v)
	}
	return largest
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
