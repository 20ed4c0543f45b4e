package kafka

import (
	"time"

	"go.uber.org/zap"
)

// seldom logs trouble that lasts at once and then every so often, not at every turn. Not for use by several goroutines.
type seldom struct {
	log   *zap.Logger
	every time.Duration
	last  time.Time
}

func newSeldom(log *zap.Logger, every time.Duration) *seldom {
	return &seldom{log: log, every: every}
}

func (p *seldom) warn(msg string, err error) {
	if now := time.Now(); now.Sub(p.last) >= p.every {
		p.last = now
		p.log.Warn(msg, zap.Error(err))
	}
}
