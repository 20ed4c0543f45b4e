package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Every use of Kafka has a Sarama configuration and a client of its own: a kept client that producer and consumer share
// makes each send wait for the consumer's long poll.

// boundDecompression: without it a batch of a few KB may unpack to gigabytes. Sarama has it as a package variable, which
// must be set before the first client is made.
var boundDecompression = sync.OnceFunc(func() { sarama.MaxDecompressedBatchSize = 64 << 20 }) //nolint:gochecknoglobals // Sarama's is one, too

// Validate finds what is wrong with c without reaching out to Kafka.
func (c Config) Validate() error {
	sc, err := c.base()
	if err != nil {
		return err
	}
	if c = c.withDefaults(); c.ReadTimeout <= c.Group.RebalanceTimeout {
		return fmt.Errorf("kafka: the read timeout (%s) must be longer than the rebalance timeout (%s): a join is answered only when the rebalance is over",
			c.ReadTimeout, c.Group.RebalanceTimeout)
	}
	return sc.Validate()
}

// base is what all clients have in common.
func (c Config) base() (*sarama.Config, error) {
	boundDecompression()
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka: no brokers are given")
	}
	c = c.withDefaults()
	version, err := sarama.ParseKafkaVersion(c.Version)
	if err != nil {
		return nil, fmt.Errorf("kafka: version %q is not one of Kafka's, such as 2.8.0", c.Version)
	}
	sc := sarama.NewConfig()
	sc.Version = version
	sc.ClientID = c.ClientID
	sc.MetricRegistry = noMetrics{}
	sc.Net.DialTimeout = 5 * time.Second
	sc.Net.ReadTimeout = c.ReadTimeout
	sc.Net.WriteTimeout = 10 * time.Second
	sc.Metadata.Full = false
	sc.Metadata.AllowAutoTopicCreation = false
	sc.Metadata.RefreshFrequency = c.RefreshInterval
	bound(context.Background(), sc, c.Brokers)
	if err := c.TLS.apply(sc); err != nil {
		return nil, err
	}
	return sc, c.SASL.apply(sc)
}

// group is for a consumer group's client, which fetches nothing. Whoever uses it drains Errors(). Its balance strategy keeps
// state: never share the result between two groups.
func (c Config) group() (*sarama.Config, error) {
	sc, err := c.base()
	if err != nil {
		return nil, err
	}
	sc.Consumer.Offsets.AutoCommit.Enable = false
	sc.Consumer.Return.Errors = true
	c = c.withDefaults()
	g := &sc.Consumer.Group
	g.Session.Timeout = c.Group.SessionTimeout
	g.Heartbeat.Interval = c.Group.HeartbeatInterval
	g.Rebalance.Timeout = c.Group.RebalanceTimeout
	g.Rebalance.Retry.Max = 10
	g.Rebalance.Retry.Backoff = 500 * time.Millisecond
	// Eager: with cooperative rebalances generations change while a session goes on, which leases do not follow.
	g.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	g.InstanceId = c.Group.InstanceID
	sc.Metadata.Retry.Max = 10 // also bounds the attempts of a heartbeat; the default of 3 ends sessions at a hiccup
	sc.Metadata.Retry.Backoff = 250 * time.Millisecond
	return sc, nil
}

// commits is for committing offsets and reading them and the ledger: it fails soon, for the lease hangs on it.
func (c Config) commits() (*sarama.Config, error) {
	sc, err := c.base()
	if err != nil {
		return nil, err
	}
	sc.Net.ReadTimeout = 3 * time.Second
	sc.Net.DialTimeout = 3 * time.Second
	sc.Net.WriteTimeout = 3 * time.Second
	sc.Metadata.Retry.Max = 1
	sc.Consumer.IsolationLevel = sarama.ReadCommitted
	return sc, nil
}

// producer is for publishing. persistent never gives up while the brokers are away; otherwise all of it ends in seconds.
func (c Config) producer(persistent bool) (*sarama.Config, error) {
	sc, err := c.base()
	if err != nil {
		return nil, err
	}
	p := &sc.Producer
	p.RequiredAcks = sarama.WaitForAll
	p.Idempotent = true
	sc.Net.MaxOpenRequests = 1 // idempotence asks for it
	p.Timeout = 5 * time.Second
	p.Retry.Max = 10
	p.Retry.BackoffFunc = producerBackoff
	p.Transaction.Retry.Max = 2 // of the request for a producer id, which idempotence begins with
	p.Compression = sarama.CompressionZSTD
	p.Return.Successes, p.Return.Errors = true, true
	p.Partitioner = newPartitioner
	sc.ChannelBufferSize = producerBuffer
	if persistent {
		p.Compression = sarama.CompressionSnappy // outcomes are small and many: 7 µs of CPU less for each than with zstd
		// Waiting here, in the metadata, keeps Sarama's circuit breaker closed, which would refuse for another 10 s.
		p.Retry.Max = 20 // the time in which a lost leader is replaced
		sc.Metadata.Retry.Max = 600
		sc.Metadata.Retry.Backoff = 100 * time.Millisecond
		sc.Metadata.Timeout = time.Minute     // a frozen broker would cost a read timeout for each of the 600
		sc.Net.ReadTimeout = 15 * time.Second // above p.Timeout: the broker must be the first to give up. See brokerConn
		return sc, nil
	}
	p.Retry.Max = 6 // within the time of a request
	p.Timeout = 3 * time.Second
	sc.Net.DialTimeout = 2 * time.Second
	sc.Net.ReadTimeout = 4 * time.Second
	sc.Net.WriteTimeout = 4 * time.Second
	sc.Metadata.Retry.Max = 1
	sc.Metadata.Retry.Backoff = 100 * time.Millisecond
	sc.Metadata.Timeout = 3 * time.Second
	return sc, nil
}

// producerBackoff waits 50 ms to 2 s, with jitter.
func producerBackoff(retries, _ int) time.Duration {
	d := min(50*time.Millisecond<<min(retries, 6), 2*time.Second)
	return d/2 + rand.N(d/2)
}
