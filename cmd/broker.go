package cmd

import (
	"errors"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// bringBroker opens the embedded broker and makes it the process's Kafka.
func (p *process) bringBroker() (*embedded.Broker, error) {
	settings := p.cfg.Kafka.Embedded
	broker, err := embedded.Open(brokerConfig(p.brokerDir(), settings.Listen, settings, p.topics, p.log))
	var taken *embedded.PortError
	if errors.As(err, &taken) {
		return nil, portTaken("kafka.embedded.listen", taken.Addr, taken.Free)
	}
	if err != nil {
		return nil, err
	}
	p.kafka.Brokers = []string{broker.Addr()}
	p.partitions, p.full = settings.Partitions, broker.Full
	p.gauge("laudspeaker_broker_set_aside_batches", "Damaged record batches that the embedded broker has moved to its folder quarantine at this start.", nil,
		func() float64 { return float64(len(broker.SetAside())) })
	return broker, nil
}

// brokerConfig tells the broker who needs what it keeps.
func brokerConfig(dir, listen string, settings config.Embedded, topics dispatcher.Topics, log *zap.Logger) embedded.Config {
	return embedded.Config{
		Dir: dir, Listen: listen, MaxBytes: int64(settings.MaxBytes), Log: log, Topics: topics.Readers(),
		Ledger:   embedded.Ledger{Topic: topics.Status(), Needed: kafka.LedgerNeeded},
		Recorder: embedded.Recorder{Group: topics.RecorderGroup(), Topics: topics.Recorded()},
		Identify: recordID,
	}
}

// recordID returns the id of the notification that a record is about, or "" where neither its headers nor its value name one.
func recordID(value []byte, header func(key string) string) string {
	if id, ok := notify.ParseID(header(notify.HeaderID)); ok {
		return id
	}
	if n, _, _ := validate.Decode(value, false); n != nil {
		if id, ok := notify.ParseID(n.ID); ok {
			return id
		}
	}
	return ""
}

func (p *process) brokerDir() string { return filepath.Join(p.dataDir, "kafka") }

// warnOfLeftLog says what stays behind when a host that had the embedded broker is given another Kafka.
func (p *process) warnOfLeftLog() {
	if embedded.Exists(p.brokerDir()) {
		p.log.Warn("kafka.brokers is set, and data_dir holds the log of an embedded broker: the notifications on it stay there, unsent ones too. "+
			"To have them sent: laudspeaker topics move --from DIR, with the folder below; then remove it", zap.String("folder", p.brokerDir()))
	}
}
