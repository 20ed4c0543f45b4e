package cmd

import (
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// senders are gateways by their names. Channels that use the same gateway share its connections.
type senders map[string]gateway.Sender

func (p *process) senders(channels []notify.Channel, log *zap.Logger) (senders, error) {
	used := map[string]config.Gateway{}
	for _, channel := range channels {
		used[p.outlets[channel].Name] = p.outlets[channel].Gateway
	}
	all := senders{}
	for name, g := range used {
		s, err := newSender(name, g, log)
		if err != nil {
			all.close()
			return nil, err
		}
		all[name] = s
	}
	return all, nil
}

func (s senders) close() {
	for _, sender := range s {
		_ = sender.Close() // what it kept open goes with the process
	}
}
