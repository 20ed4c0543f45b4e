package cmd

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/producer"
)

// recordBytes is what topics must take: the largest body, and what the bus adds to it.
func recordBytes(cfg *config.Config) int { return int(cfg.API.MaxBody) + 256<<10 }

// specs are the topics of the configured channels.
func (p *process) specs() []kafka.TopicSpec {
	var specs []kafka.TopicSpec
	for _, s := range p.topics.Specs(int32(p.partitions), recordBytes(p.cfg)) {
		settings := map[string]string{}
		if s.Retention == 0 {
			settings["cleanup.policy"] = "compact"
		}
		if s.AppendTime {
			settings["message.timestamp.type"] = "LogAppendTime"
		}
		specs = append(specs, kafka.TopicSpec{
			Name: s.Name, Partitions: int(s.Partitions), Replication: p.cfg.Kafka.Replication,
			MaxMessageBytes: s.MaxMessageBytes, Retention: s.Retention, Config: settings,
		})
	}
	return specs
}

// makeTopics makes or checks the topics, waiting for Kafka as long as it takes.
func (p *process) makeTopics(ctx context.Context) error {
	var logged time.Time
	for {
		report, err := kafka.Ensure(ctx, p.kafka, p.specs(), p.cfg.Kafka.CreateTopics)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			p.report = report
			close(p.made)
			p.topicsDone()
			p.describe(report)
			return nil
		}
		if time.Since(logged) >= 10*time.Second {
			logged = time.Now()
			p.log.Warn("the topics are not there yet; waiting", zap.Strings("brokers", p.kafka.Brokers), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (p *process) describe(r kafka.Report) {
	p.log.Info("topics are there", zap.String("cluster", r.ClusterID), zap.Strings("created", r.Created))
	for _, fault := range r.Faults {
		p.log.Warn("a topic is not as it should be", zap.String("remedy", fault))
	}
}

// awaitTopics gives false when ctx ends first.
func (p *process) awaitTopics(ctx context.Context) (kafka.Report, bool) {
	select {
	case <-p.made:
		return p.report, true
	case <-ctx.Done():
		return kafka.Report{}, false
	}
}

// limits lowers what the API takes to what the topics turn out to take.
func (p *process) limits(publisher *kafka.Publisher, dispatch *dispatcher.Dispatcher, api *producer.Server) part {
	return part{"limits", func(ctx context.Context) error {
		if r, ok := p.awaitTopics(ctx); ok && r.MaxMessageBytes > 0 {
			publisher.LimitRecords(r.MaxMessageBytes)
			dispatch.SetLimit(r.MaxMessageBytes)
			api.LowerMaxBody(int64(max(r.MaxMessageBytes-dispatcher.Headroom, 1)))
		}
		return nil
	}}
}

func kafkaConfig(cfg *config.Config) kafka.Config {
	k := cfg.Kafka
	if !cfg.IsSet("kafka.session_timeout") {
		k.SessionTimeout = 0 // which brokers may refuse; what is set is not changed
	}
	return kafka.Config{
		Brokers: k.Brokers,
		TLS: kafka.TLS{
			Enabled: k.TLS.On(), CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName,
		},
		SASL: kafka.SASL{Mechanism: strings.ToUpper(k.SASL.Mechanism), User: k.SASL.Username, Password: kafka.Password(k.SASL.Password)},
		Group: kafka.Group{
			SessionTimeout: k.SessionTimeout, RebalanceTimeout: k.RebalanceTimeout, InstanceID: k.InstanceID,
		},
		ReadTimeout: k.ReadTimeout,
	}
}

// admission stops what comes in while the bus must not take more.
type admission struct {
	dispatcher.Publisher
	full func() error
}

func (a admission) PublishAll(ctx context.Context, ms []kafka.Message) []error {
	if err := a.full(); err != nil {
		return slices.Repeat([]error{err}, len(ms))
	}
	return a.Publisher.PublishAll(ctx, ms)
}
