package kafka

import (
	"time"

	"go.uber.org/zap"
)

// seldom logs trouble that lasts at once and then every ten seconds, not at every turn. Not for use by several goroutines.
type seldom struct {
	log  *zap.Logger
	last time.Time
}

func newSeldom(log *zap.Logger) *seldom { return &seldom{log: log} }

func (p *seldom) warn(msg string, err error) {
	if now := time.Now(); now.Sub(p.last) >= 10*time.Second {
		p.last = now
		p.log.Warn(msg, zap.Error(err))
	}
}
