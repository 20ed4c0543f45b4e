package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

func namesIn(meta *sarama.MetadataResponse) []string {
	var names []string
	for _, t := range meta.Topics {
		if errors.Is(t.Err, sarama.ErrNoError) || errors.Is(t.Err, sarama.ErrLeaderNotAvailable) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names
}

// names fills in what else the cluster has.
func (a *admin) names(r *Report) error {
	broker, err := a.client.Controller()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	meta, err := broker.GetMetadata(sarama.NewMetadataRequest(a.client.Config().Version, nil))
	if err != nil {
		return fmt.Errorf("%w: ask for all topics: %w", ErrUnavailable, err)
	}
	r.Existing = namesIn(meta)
	return nil
}
