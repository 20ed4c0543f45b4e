package kafka

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// producerClient is the client of a producer. One partition without a leader must not delay the others, but Sarama's
// producer refreshes metadata on the goroutine that writes to a broker, where a leaderless partition uses up all retries,
// and its circuit breaker refuses a partition for 10 s after three failed look-ups.
//
// The wrapped client does not retry. Here, RefreshMetadata retries only while no broker answers at all, and Leader, which
// Sarama calls only on goroutines of one partition, waits for the leader. A partition that has no leader for longer is led
// by a broker that cannot be reached: its records fail as they do when a broker is down, and no breaker opens.
//
// Records go over connections of their own. Sarama holds a broker's lock while a request waits for the one before it, and to ask
// for metadata it takes the locks of all brokers of a client: on shared connections one frozen broker would stop all partitions.
type producerClient struct {
	sarama.Client
	config   *sarama.Config // with the retries of RefreshMetadata
	patience time.Duration  // of Leader
	nobody   *sarama.Broker // is never connected

	mu      sync.Mutex
	brokers map[string]*sarama.Broker // for records, by address; nil once closed
}

// newProducerClient connects to the brokers.
func newProducerClient(brokers []string, sc *sarama.Config, patience time.Duration) (*producerClient, error) {
	once := *sc
	once.Metadata.Retry.Max = 0
	client, err := sarama.NewClient(brokers, &once)
	if err != nil {
		return nil, err
	}
	return &producerClient{
		Client: client, config: sc, patience: patience, nobody: sarama.NewBroker("no leader"), brokers: map[string]*sarama.Broker{},
	}, nil
}

// forRecords returns the connection for records to the broker at the address, open or being opened.
func (c *producerClient) forRecords(addr string) (*sarama.Broker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.brokers == nil {
		return nil, sarama.ErrClosedClient
	}
	b := c.brokers[addr]
	if b == nil {
		b = sarama.NewBroker(addr)
		c.brokers[addr] = b
	}
	if err := b.Open(c.config); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return nil, err
	}
	return b, nil
}

// Close closes all connections. It waits for requests that have no answer yet.
func (c *producerClient) Close() error {
	err := c.Client.Close()
	c.mu.Lock()
	brokers := c.brokers
	c.brokers = nil
	c.mu.Unlock()
	var closing sync.WaitGroup
	for _, b := range brokers {
		closing.Go(func() { _ = b.Close() })
	}
	closing.Wait()
	return err
}

// Config returns the configuration of the producer.
func (c *producerClient) Config() *sarama.Config { return c.config }

// RefreshMetadata returns once a broker has answered, whatever the answer says of the topics, or when its retries are used up.
// Its errors would open circuit breakers: Sarama learns from Leader, and from the brokers, what is wrong.
func (c *producerClient) RefreshMetadata(topics ...string) error {
	began := time.Now()
	for left := c.config.Metadata.Retry.Max; ; left-- {
		err := c.Client.RefreshMetadata(topics...)
		if c.Closed() {
			return sarama.ErrClosedClient
		}
		if !errors.Is(err, sarama.ErrOutOfBrokers) || left <= 0 || time.Since(began) > c.config.Metadata.Timeout {
			return nil
		}
		time.Sleep(c.config.Metadata.Retry.Backoff)
	}
}

// Leader waits until the partition has a leader. After the client's patience it returns a broker that cannot be reached.
func (c *producerClient) Leader(topic string, partition int32) (*sarama.Broker, error) {
	began := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		b, err := c.Client.Leader(topic, partition)
		switch {
		case err == nil:
			return c.forRecords(b.Addr())
		case c.Closed():
			return nil, err
		case time.Since(began) >= c.patience:
			return c.nobody, nil
		}
		time.Sleep(pause)
	}
}
