package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// process is what the roles of one process share.
type process struct {
	cfg     *config.Config
	log     *zap.Logger
	health  *health
	metrics *prometheus.Registry
	pages   pages

	dataDir    string // absolute
	routes     map[notify.Channel]config.Route
	topics     dispatcher.Topics
	kafka      kafka.Config
	partitions int
	full       func() error  // why the bus must not take more; nil while it may
	made       chan struct{} // closed once the topics are there; then report says what they are like
	report     kafka.Report
	topicsDone func()

	api   net.Listener // of serve-api
	admin net.Listener
}

// newProcess prepares what every role needs. capture is what the role all adds: without any gateway it captures.
func newProcess(cfg *config.Config, stderr io.Writer, role string, capture bool) (*process, error) {
	p := &process{
		cfg: cfg, log: newLogger(cfg.Log, stderr), health: &health{}, metrics: prometheus.NewRegistry(),
		routes: map[notify.Channel]config.Route{},
		topics: dispatcher.Topics{Prefix: cfg.Kafka.Prefix, Jobs: map[notify.Channel]string{}, Tiers: cfg.Kafka.Tiers()},
		kafka:  kafkaConfig(cfg), partitions: cfg.Kafka.Partitions, full: func() error { return nil }, made: make(chan struct{}),
	}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.pages = newPages(p.health, p.metrics)
	p.topicsDone = p.health.step("topics", "waiting for Kafka")
	var err error
	if p.dataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	for channel, route := range cfg.Outlets(capture) {
		p.routes[notify.Channel(channel)] = route
		p.topics.Jobs[notify.Channel(channel)] = cfg.Channels.ByName()[channel].Topic
	}
	p.log.Info("laudspeaker starts", zap.String("role", role), zap.String("data_dir", p.dataDir),
		zap.String("version", version), zap.String("go", runtime.Version()), zap.Int("pid", os.Getpid()))
	for _, name := range cfg.Unused() {
		p.log.Warn("a gateway is used by no channel", zap.String("key", "gateways."+name))
	}
	return p, nil
}

// makeDataDir makes data_dir where something of this process is kept there. It is nobody else's business: captured
// messages hold what they say, and so does the status store.
func (p *process) makeDataDir() error {
	keepsStatus := p.api != nil && p.cfg.Status.DSN == ""
	if !p.captures() && !keepsStatus && len(p.cfg.Kafka.Brokers) > 0 {
		return nil
	}
	if err := os.MkdirAll(p.dataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w: set it to a folder that this user may write, such as --data-dir ./data", err)
	}
	if info, err := os.Stat(p.dataDir); err == nil && info.Mode().Perm()&0o077 != 0 {
		p.log.Warn("others on this host may look into data_dir: chmod 0700 it", zap.String("data_dir", p.dataDir), zap.Stringer("mode", info.Mode().Perm()))
	}
	return nil
}

func (p *process) captures() bool {
	for _, route := range p.routes {
		for _, o := range route {
			if o.Gateway.Type == "capture" {
				return true
			}
		}
	}
	return false
}

// run runs the roles, and what stands below them, until ctx ends or something fails. It ends from the top: nothing new
// comes in, what is under way is finished, and the operator's pages are there to the last.
//
// base is what even the operator's pages may outlast: the embedded broker.
func (p *process) run(ctx context.Context, roles []part, base ...part) error {
	if err := p.kafka.Validate(); err != nil {
		return err
	}
	p.log.Info("admin listens", zap.String("url", "http://"+p.admin.Addr().String()))
	defer context.AfterFunc(ctx, func() {
		p.health.close()
		p.log.Info("shutting down; a second signal ends the process at once")
	})()
	a := &admin{p.admin, p.pages}
	below := []part{{"topics", p.makeTopics}, {"admin", a.Run}}
	err := bounded(ctx, hardLimit+p.cfg.Kafka.Drain, func(ctx context.Context) error {
		return inOrder(ctx, slices.Concat(roles, below, base)...)
	})
	if err == nil {
		p.log.Info("laudspeaker ends")
	}
	return err
}

// role makes a role a part. The process is not ready before the role has called started: by then it has added its probes.
func (p *process) role(name string, run func(ctx context.Context, started func()) error) part {
	started := p.health.step(name, "starting")
	return part{name, func(ctx context.Context) error { return run(ctx, started) }}
}

// take takes all that fs take, addresses above all, or none of it.
func (p *process) take(fs ...func() error) error {
	for _, f := range fs {
		if err := f(); err != nil {
			p.close()
			return err
		}
	}
	return nil
}

// close frees the addresses, whether their servers have run or not.
func (p *process) close() {
	for _, l := range []net.Listener{p.api, p.admin} {
		if l != nil {
			_ = l.Close() // closed twice is an error of no consequence
		}
	}
}

// listenAdmin takes admin.listen. Several processes on one host need not be told apart by hand: the default gives way to
// the next free port.
func (p *process) listenAdmin() (err error) {
	if p.cfg.IsSet("admin.listen") {
		p.admin, err = listen("admin.listen", p.cfg.Admin.Listen)
	} else {
		p.admin, err = listenNear("admin.listen", p.cfg.Admin.Listen)
	}
	return err
}

func (p *process) listenAPI() (err error) {
	p.api, err = listen("api.listen", p.cfg.API.Listen)
	return err
}

// rules is what the gateways add to what makes a notification valid. Any of a route may have to send it.
func (p *process) rules() validate.Rules {
	from := map[notify.Channel]bool{}
	for channel, route := range p.routes {
		from[channel] = true
		for _, o := range route {
			from[channel] = from[channel] && o.Gateway.HasSender()
		}
	}
	return validate.Rules{DefaultFrom: from, RecipientTypes: p.recipientTypes()}
}

// recipientTypes are those that some gateway of channel push delivers to.
func (p *process) recipientTypes() []string {
	var types []string
	for _, o := range p.routes[notify.ChannelPush] {
		for _, t := range o.Gateway.RecipientTypes() {
			if !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	return types
}
