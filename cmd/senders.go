package cmd

import (
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// senders are gateways by their names. Channels that use the same gateway share its connections.
type senders map[string]gateway.Sender

func (p *process) senders(channels []notify.Channel, log *zap.Logger) (senders, error) {
	all := senders{}
	for _, channel := range channels {
		outlet := p.outlets[channel]
		if all[outlet.Name] != nil {
			continue
		}
		s, err := newSender(outlet.Name, outlet.Gateway, log)
		if err != nil {
			all.close()
			return nil, err
		}
		all[outlet.Name] = s
	}
	return all, nil
}

func (s senders) close() {
	for _, sender := range s {
		_ = sender.Close() // what it kept open goes with the process
	}
}
