package cmd

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// letters is what the API does with dead letters, and the part that ends its connections. It knows the configured channels:
// of the others nobody would deliver what is sent again.
func (p *process) letters(lives deadletters.StatusGetter, publisher dispatcher.Publisher) (*deadletters.Service, part, error) {
	reader, err := kafka.NewReader(p.kafka)
	if err != nil {
		return nil, part{}, err
	}
	known := &deadletters.Scanner{Topics: p.topics, Reader: reader, Lifetimes: lifetimes(p.cfg), Recipients: p.cfg.Log.Recipients}
	closes := part{"dead letters", func(ctx context.Context) error {
		<-ctx.Done()
		reader.Close()
		return nil
	}}
	return deadletters.NewService(known, deadletters.StatusChecker{StatusGetter: lives}, publisher.PublishAll), closes, nil
}
