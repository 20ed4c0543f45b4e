package kafka

import (
	"errors"
	"math"
	"time"

	"github.com/IBM/sarama"
)

// groupClient is the client of a consumer group. Sarama's group gives up joining and balancing while any partition of its
// topics has no leader; with this client it goes on with the partitions as they are known, and only the claim of the
// leaderless partition waits.
//
// The runner fetches by itself, see [partitionReader]. Sarama's consumers of the partitions are paused as soon as they are made,
// and no answer of this client makes them wait: they are told of a broker that is never dialled.
//
// The wrapped client does not retry. The retries are here, so that metadata without a leader, which is an answer like any
// other, does not use them up.
type groupClient struct {
	sarama.Client
	config *sarama.Config // with the retries that the group and its heartbeats are to have
	nobody *sarama.Broker // leads all partitions as far as Sarama's consumers know
}

// newGroupClient connects to the brokers. Closing it closes the wrapped client.
func newGroupClient(brokers []string, sc *sarama.Config) (*groupClient, error) {
	once := *sc
	once.Metadata.Retry.Max = 0
	client, err := sarama.NewClient(brokers, &once)
	if err != nil {
		return nil, err
	}
	return &groupClient{Client: client, config: sc, nobody: sarama.NewBroker("")}, nil
}

// Config returns the configuration of the group.
func (c *groupClient) Config() *sarama.Config { return c.config }

// RefreshMetadata returns nil also when partitions have no leader, if all topics and their partitions are known.
func (c *groupClient) RefreshMetadata(topics ...string) error {
	return c.retry(func() error {
		err := c.Client.RefreshMetadata(topics...)
		if errors.Is(err, sarama.ErrLeaderNotAvailable) && c.knows(topics) {
			return nil
		}
		return err
	})
}

// knows reports whether the partitions of each topic are known. It asks Kafka for none that is.
func (c *groupClient) knows(topics []string) bool {
	for _, topic := range topics {
		if ps, err := c.Client.Partitions(topic); err != nil || len(ps) == 0 {
			return false
		}
	}
	return true
}

// Coordinator returns the group's coordinator, from memory if it is known and can be reached. Sarama's heartbeats would
// dial a coordinator that is gone until the retries are used up.
func (c *groupClient) Coordinator(group string) (b *sarama.Broker, err error) {
	err = c.retry(func() error {
		b, err = c.reachCoordinator(group)
		return err
	})
	return b, err
}

func (c *groupClient) reachCoordinator(group string) (*sarama.Broker, error) {
	b, err := c.Client.Coordinator(group)
	if err != nil {
		return nil, err
	}
	if reached, _ := b.Connected(); reached {
		return b, nil
	}
	if err := c.Client.RefreshCoordinator(group); err != nil {
		return nil, err
	}
	return c.Client.Coordinator(group)
}

// RefreshCoordinator asks for the group's coordinator.
func (c *groupClient) RefreshCoordinator(group string) error {
	return c.retry(func() error { return c.Client.RefreshCoordinator(group) })
}

// PartitionNotReadable returns false: the claim of a partition without a leader waits by itself.
func (c *groupClient) PartitionNotReadable(string, int32) bool { return false }

// LeaderAndEpoch returns a broker that nothing is sent to.
func (c *groupClient) LeaderAndEpoch(string, int32) (*sarama.Broker, int32, error) {
	return c.nobody, -1, nil
}

// GetOffset returns bounds within which every committed offset lies.
func (c *groupClient) GetOffset(_ string, _ int32, which int64) (int64, error) {
	if which == sarama.OffsetOldest {
		return 0, nil
	}
	return math.MaxInt64, nil
}

// retry calls try until it succeeds, as often as the configuration says.
func (c *groupClient) retry(try func() error) error {
	for left := c.config.Metadata.Retry.Max; ; left-- {
		err := try()
		if err == nil || left <= 0 || c.Closed() || isFinal(err) {
			return err
		}
		time.Sleep(c.config.Metadata.Retry.Backoff)
	}
}

// isFinal reports whether asking again cannot help.
func isFinal(err error) bool {
	return errors.Is(err, sarama.ErrClosedClient) || errors.Is(err, sarama.ErrSASLAuthenticationFailed) ||
		errors.Is(err, sarama.ErrTopicAuthorizationFailed) || errors.Is(err, sarama.ErrGroupAuthorizationFailed) ||
		errors.Is(err, sarama.ErrInvalidTopic)
}
