package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s/%d", tp.topic, tp.partition) }

// lazyClient is a client that is made when it is first needed and made anew after trouble.
type lazyClient struct {
	brokers []string
	config  *sarama.Config
	cut     func() // ends its connections, and whoever waits for an answer, for good
	decided bool   // fetch gives only what is in no transaction, or in a committed one
	mu      sync.Mutex
	client  sarama.Client
	wires   map[string]*wire     // by address
	asked   map[string]time.Time // when the leaders of a topic were asked for last in the background
	asking  sync.WaitGroup
	closed  bool
}

func newLazyClient(brokers []string, sc *sarama.Config) *lazyClient {
	life, cut := context.WithCancel(context.Background())
	bound(life, sc, brokers)
	return &lazyClient{brokers: brokers, config: sc, cut: cut}
}

func (c *lazyClient) get() (sarama.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, sarama.ErrClosedClient
	}
	if c.client == nil {
		client, err := sarama.NewClient(c.brokers, c.config)
		if err != nil {
			return nil, fmt.Errorf("reach Kafka: %w", err)
		}
		c.client = client
	}
	return c.client, nil
}

// reset drops the client; the next get dials again.
func (c *lazyClient) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		_ = c.client.Close()
		c.client = nil
	}
}

func (c *lazyClient) close() {
	c.cut()
	c.mu.Lock()
	c.closed = true
	wires := c.wires
	c.wires = nil
	c.mu.Unlock()
	c.reset()
	for _, w := range wires {
		w.close()
	}
	c.asking.Wait()
}

// wire returns the connection for fetches to the broker at addr.
func (c *lazyClient) wire(addr string) *wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.wires[addr]
	if w == nil {
		w = &wire{config: c.config, addr: addr}
		if c.wires == nil {
			c.wires = map[string]*wire{}
		}
		if !c.closed {
			c.wires[addr] = w
		}
	}
	return w
}

// leader returns the broker that leads tp. It asks Kafka only when nothing is known of the topic: for a partition without a
// leader the error comes at once, and the leaders are asked for in the background.
func (c *lazyClient) leader(tp topicPartition) (*sarama.Broker, error) {
	client, err := c.get()
	if err != nil {
		return nil, err
	}
	led, err := client.WritablePartitions(tp.topic)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(led, tp.partition) {
		c.lookUpSoon(tp.topic)
		return nil, sarama.ErrLeaderNotAvailable
	}
	return client.Leader(tp.topic, tp.partition)
}

// lookUpEvery is how often the leaders of a topic are asked for at most while a partition has none.
const lookUpEvery = 500 * time.Millisecond

func (c *lazyClient) lookUpSoon(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || time.Since(c.asked[topic]) < lookUpEvery {
		return
	}
	if c.asked == nil {
		c.asked = map[string]time.Time{}
	}
	c.asked[topic] = time.Now()
	c.asking.Go(func() { c.lookUp(topic) })
}

// offset asks the leader of tp for an offset: sarama.OffsetOldest, OffsetNewest, or that of a time in milliseconds.
func (c *lazyClient) offset(tp topicPartition, which int64) (int64, error) {
	if _, err := c.leader(tp); err != nil {
		return 0, err
	}
	client, err := c.get()
	if err != nil {
		return 0, err
	}
	return client.GetOffset(tp.topic, tp.partition, which)
}

// newest asks the leader of tp for the end of its log. The epoch is that of the leader, from that end on; unknown for brokers
// before 2.1.
func (c *lazyClient) newest(tp topicPartition) (int64, leaderEpoch, error) {
	leader, err := c.leader(tp)
	if err != nil {
		return 0, leaderEpoch{}, err
	}
	req := sarama.NewOffsetRequest(c.config.Version)
	req.AddBlock(tp.topic, tp.partition, sarama.OffsetNewest, 1)
	resp, err := leader.GetAvailableOffsets(req)
	if err != nil {
		_ = leader.Close() // the next one who needs it dials again
		return 0, leaderEpoch{}, err
	}
	b := resp.GetBlock(tp.topic, tp.partition)
	switch {
	case b == nil:
		return 0, leaderEpoch{}, errLeftOut
	case b.Err != sarama.ErrNoError:
		c.lookUpSoon(tp.topic)
		return 0, leaderEpoch{}, b.Err
	}
	const withEpoch = 4
	return b.Offset, leaderEpoch{known: resp.Version >= withEpoch && b.LeaderEpoch >= 0, number: b.LeaderEpoch, from: b.Offset}, nil
}

// clusterID asks for Kafka's cluster id.
func (c *lazyClient) clusterID() (string, error) {
	meta, err := c.metadata()
	if err != nil {
		return "", fmt.Errorf("ask for the cluster id: %w", err)
	}
	if meta.ClusterID == nil {
		return "", nil
	}
	return *meta.ClusterID, nil
}

// metadata asks for what there is of the cluster and all of its topics.
func (c *lazyClient) metadata() (*sarama.MetadataResponse, error) {
	client, err := c.get()
	if err != nil {
		return nil, err
	}
	resp, err := client.LeastLoadedBroker().GetMetadata(sarama.NewMetadataRequest(c.config.Version, []string{}))
	if err != nil {
		c.reset()
	}
	return resp, err
}

// offsets commits and reads the offsets of one group on a client of its own: a commit on the group's client would wait
// behind its long poll, and Sarama's own commits never say whether they came to pass.
type offsets struct {
	group    string
	instance *string
	conn     *lazyClient
}

func newOffsets(cfg Config, group string) (*offsets, error) {
	sc, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	o := &offsets{group: group, conn: newLazyClient(cfg.Brokers, sc)}
	if id := cfg.Group.InstanceID; id != "" {
		o.instance = &id
	}
	return o, nil
}

// member is who commits.
type member struct {
	id         string
	generation int32
}

// committed is what one partition's commit says.
type committed struct {
	topicPartition
	offset   int64
	metadata string
}

// errFenced: the group has gone on without this member; nothing more may be started.
var errFenced = errors.New("the group has gone on without this member")

// commit commits all of cs in one request and gives the answer of each. err is for the request as a whole.
func (o *offsets) commit(m member, cs []committed) (answers []sarama.KError, err error) {
	coordinator, err := o.coordinator()
	if err != nil {
		return nil, err
	}
	req := sarama.NewOffsetCommitRequest(o.conn.config, o.group)
	req.ConsumerID, req.ConsumerGroupGeneration = m.id, m.generation
	if req.Version >= 7 {
		req.GroupInstanceId = o.instance
	}
	for _, c := range cs {
		req.AddBlockWithLeaderEpoch(c.topic, c.partition, c.offset, -1, 0, c.metadata)
	}
	resp, err := coordinator.CommitOffset(req)
	if err != nil {
		o.lost(coordinator)
		return nil, fmt.Errorf("commit the offsets of %s: %w", o.group, err)
	}
	answers = make([]sarama.KError, len(cs))
	for i, c := range cs {
		answer, ok := resp.Errors[c.topic][c.partition]
		if !ok {
			answer = sarama.ErrUnknown
		}
		answers[i] = answer
	}
	return answers, o.judge(coordinator, answers)
}

// judge turns what concerns the whole member into an error.
func (o *offsets) judge(coordinator *sarama.Broker, answers []sarama.KError) error {
	for _, a := range answers {
		switch a {
		case sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId:
			o.lost(coordinator) // it may be a former coordinator, which knows nothing of the present members
			return fmt.Errorf("%w: %w", errFenced, a)
		case sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable:
			o.lost(coordinator)
			return a
		}
	}
	return nil
}

// commitForNobody commits in the name of a group without members; a group that has some refuses it.
func (o *offsets) commitForNobody(cs []committed) error {
	o.instance = nil
	answers, err := o.commit(member{generation: sarama.GroupGenerationUndefined}, cs)
	for i := 0; err == nil && i < len(answers); i++ {
		if answers[i] != sarama.ErrNoError {
			err = answers[i]
		}
	}
	return err
}

// fetch reads what is committed for tp; the offset is -1 when nothing is.
func (o *offsets) fetch(tp topicPartition) (committed, error) {
	all, err := o.fetchAll([]topicPartition{tp})
	if err != nil {
		return committed{}, err
	}
	return all[0], nil
}

// fetchAny is fetchAll for a group that may never have been: the embedded broker knows only those that have committed.
func (o *offsets) fetchAny(tps []topicPartition) ([]committed, error) {
	all, err := o.fetchAll(tps)
	if !errors.Is(err, sarama.ErrGroupIDNotFound) {
		return all, err
	}
	all = make([]committed, len(tps))
	for i, tp := range tps {
		all[i] = committed{tp, -1, ""}
	}
	return all, nil
}

// fetchAll does so for all of tps, in their order and in one request.
func (o *offsets) fetchAll(tps []topicPartition) ([]committed, error) {
	coordinator, err := o.coordinator()
	if err != nil {
		return nil, err
	}
	parts := map[string][]int32{}
	for _, tp := range tps {
		parts[tp.topic] = append(parts[tp.topic], tp.partition)
	}
	resp, err := coordinator.FetchOffset(sarama.NewOffsetFetchRequest(o.conn.config.Version, o.group, parts))
	if err != nil {
		o.lost(coordinator)
		return nil, fmt.Errorf("read the offsets of %s: %w", o.group, err)
	}
	block, whole := resp.GetBlock, resp.Err
	if g := resp.GetGroup(o.group); g != nil { // one answer may cover several groups from version 8 on
		block, whole = g.GetBlock, g.Err
	}
	all := make([]committed, len(tps))
	for i, tp := range tps {
		b := block(tp.topic, tp.partition)
		switch {
		case whole != sarama.ErrNoError:
			err = whole
		case b == nil:
			err = errLeftOut
		case b.Err != sarama.ErrNoError:
			err = b.Err
		default:
			all[i] = committed{tp, b.Offset, b.Metadata}
			continue
		}
		if !errors.Is(err, sarama.ErrGroupIDNotFound) {
			_ = o.refresh()
		}
		return nil, fmt.Errorf("read the offset of %s: %w", tp, err)
	}
	return all, nil
}

func (o *offsets) coordinator() (*sarama.Broker, error) {
	client, err := o.conn.get()
	if err != nil {
		return nil, err
	}
	b, err := client.Coordinator(o.group)
	if err != nil {
		return nil, fmt.Errorf("find the coordinator of %s: %w", o.group, err)
	}
	return b, nil
}

// lost closes a lazyClient whose answer did not come, so that the next request neither waits for it nor reads it.
func (o *offsets) lost(coordinator *sarama.Broker) {
	_ = coordinator.Close()
	_ = o.refresh()
}

func (o *offsets) refresh() error {
	client, err := o.conn.get()
	if err != nil {
		return err
	}
	return client.RefreshCoordinator(o.group)
}
