package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Follower reads all partitions of some topics at once and goes on for ever, outside of any group: for a reader that keeps
// its own account of how far it has come. Only what is committed is given.
//
// Each broker is asked for all partitions that it leads in one request, and again as soon as the caller has taken the
// answer: what is in memory is one answer a broker.
type Follower struct {
	cfg    Config
	topics []string
	log    *zap.Logger
}

// Chunk is what one answer brought of a partition.
type Chunk struct {
	Topic     string
	Partition int32
	Records   []*Record // none where all that was there is skipped: markers, and what was never committed
	Next      int64     // the offset to go on from
	End       int64     // where the partition ended then

	// Restarted: there is nothing where the partition was to be read on. It was shortened or made anew, and Next, the
	// oldest offset that it has, may lie before what was read already.
	Restarted bool
}

// The broker gathers: it answers once so much is there, or so much time has passed.
const (
	followBytes = 256 << 10
	followWait  = 100 * time.Millisecond
	followMost  = 4 << 20 // of an answer; a larger record comes whole all the same
)

// NewFollower makes a reader of topics; it connects when it runs.
func NewFollower(cfg Config, topics []string, log *zap.Logger) (*Follower, error) {
	if _, err := cfg.commits(); err != nil {
		return nil, err
	}
	return &Follower{cfg, topics, log}, nil
}

// Run reads until ctx ends. from says where each partition is read on, and is asked when the partition is met first; with
// an offset that is not there it begins at the oldest. Each answer is sent to out, partition by partition in order. A
// topic that is not there is waited for, and Kafka being away is no error: it is asked again for ever.
func (f *Follower) Run(ctx context.Context, from func(topic string, partition int32) int64, out chan<- []Chunk) error {
	sc, err := f.cfg.commits()
	if err != nil {
		return err
	}
	conn := newLazyClient(f.cfg.Brokers, sc)
	defer conn.close()
	defer context.AfterFunc(ctx, conn.cut)()
	r := &following{
		conn: conn, log: newSeldom(f.log), from: from,
		parts: map[topicPartition]*followed{}, busy: map[int32]bool{}, answers: make(chan answer),
	}
	defer r.fetches.Wait()
	tick := time.NewTicker(50 * time.Millisecond) // for what has to be asked again
	defer tick.Stop()
	for ctx.Err() == nil {
		r.discover(f.topics)
		r.ask(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case a := <-r.answers:
			if chunks := r.take(a); len(chunks) > 0 {
				select {
				case out <- chunks:
				case <-ctx.Done():
				}
			}
		}
	}
	return nil
}

// following is the state of one run. One goroutine has it, all but the fetches themselves.
type following struct {
	conn    *lazyClient
	log     *seldom
	from    func(topic string, partition int32) int64
	parts   map[topicPartition]*followed
	looked  time.Time      // when the topics' partitions were asked for last
	busy    map[int32]bool // brokers that have a fetch of ours
	answers chan answer
	fetches sync.WaitGroup
}

// followed is a partition.
type followed struct {
	at    int64
	asked bool      // in a fetch that is under way
	later time.Time // not to be asked for before: it was in trouble
}

type answer struct {
	broker *sarama.Broker
	parts  []topicPartition
	resp   *sarama.FetchResponse
	err    error
}

const (
	lookEvery  = 30 * time.Second
	askedAgain = 500 * time.Millisecond
)

// discover finds partitions: those that are there at the start, and later ones.
func (r *following) discover(topics []string) {
	if time.Since(r.looked) < lookEvery {
		return
	}
	r.looked = time.Now()
	client, err := r.conn.get()
	for _, topic := range topics {
		var ps []int32
		if err == nil {
			ps, err = client.Partitions(topic)
		}
		if err != nil {
			r.log.warn("looking for the partitions of "+topic, err)
			r.looked = time.Now().Add(askedAgain - lookEvery)
			return
		}
		for _, p := range ps {
			tp := topicPartition{topic, p}
			if r.parts[tp] == nil {
				r.parts[tp] = &followed{at: max(0, r.from(topic, p))}
			}
		}
	}
}
