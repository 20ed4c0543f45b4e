package kafka

import (
	"time"

	"go.uber.org/zap"
)

// patience logs trouble that lasts at once and then every so often, not at every turn. Not for use by several goroutines.
type patience struct {
	log   *zap.Logger
	every time.Duration
	last  time.Time
}

func newPatience(log *zap.Logger, every time.Duration) *patience {
	return &patience{log: log, every: every}
}

func (p *patience) warn(msg string, err error) {
	if now := time.Now(); now.Sub(p.last) >= p.every {
		p.last = now
		p.log.Warn(msg, zap.Error(err))
	}
}
