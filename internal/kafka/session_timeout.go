package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Session timeouts when none is configured: the shortest that brokers take by default, and the one for brokers whose
// group.min.session.timeout.ms is higher.
const (
	shortSession = 6 * time.Second
	longSession  = 10 * time.Second
)

// groupConfig returns the configuration of the group's client.
func (r *Runner) groupConfig() (*sarama.Config, error) {
	k := r.cfg.Kafka
	if k.Group.SessionTimeout == 0 && r.cfg.Ledger.longSession.Load() {
		k.Group.SessionTimeout = longSession
	}
	return k.group()
}

// refusedSession handles the brokers' refusal of the session timeout. It returns nil if joining again, with a longer timeout,
// makes sense. A configured timeout is never changed.
func (r *Runner) refusedSession(err error) error {
	const remedy = "set kafka.session_timeout between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"
	timeout := r.cfg.Kafka.withDefaults().Group.SessionTimeout
	if r.cfg.Kafka.Group.SessionTimeout == 0 {
		if r.cfg.Ledger.longSession.CompareAndSwap(false, true) { // of all runners of this process
			r.log.Info("the brokers refuse the default session timeout; a longer one is used", zap.Duration("refused", shortSession),
				zap.Duration("used", longSession), zap.String("remedy", remedy))
			return nil
		}
		timeout = longSession
	}
	return fmt.Errorf("the brokers refuse a session timeout of %s: %s: %w", timeout, remedy, err)
}

// joinFault adds the remedy to an error of joining that has one.
func joinFault(err error) error {
	if errors.Is(err, sarama.ErrFencedInstancedId) {
		return fmt.Errorf("another process has the same kafka.instance_id: give each process its own: %w", err)
	}
	return err
}
