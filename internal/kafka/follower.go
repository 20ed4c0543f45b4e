package kafka

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Follower reads all partitions of some topics at once and goes on for ever, outside of any group: for a reader that keeps
// its own account of how far it has come. Only what is committed is given.
//
// Each broker is asked for all partitions that it leads in one request, and again as soon as the caller has taken the
// answer: what is in memory is one answer a broker.
type Follower struct {
	cfg     Config
	topics  []string
	log     *zap.Logger
	large   sync.Mutex // see cursor
	skipped skippedBatches
}

// Chunk is what one answer brought of a partition.
type Chunk struct {
	Topic     string
	Partition int32
	Records   []*Record // none where all that was there is skipped: markers, and what was never committed
	Next      int64     // the offset to go on from
	End       int64     // where the partition ended then

	TopicID TopicID // of the log that was read; zero where the broker knows none
	Restart Restart // why the partition is not read on where it was to be; then Next may lie before what was read already
}

// Restart says why a partition is not read on at the offset where it was to be.
type Restart int

// The reasons.
const (
	NotRestarted Restart = iota
	RecordsGone          // the records there were deleted: Next is the oldest offset
	Recreated            // the topic was deleted and created again: Next is the oldest offset of the new log
	Truncated            // the partition ended below it: Next is its new end
)

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
	return &Follower{cfg: cfg, topics: topics, log: log, skipped: skippedBatches{log: log, what: "events"}}, nil
}

// Undecodable returns how many record batches were skipped because they cannot be decoded.
func (f *Follower) Undecodable() uint64 { return f.skipped.n.Load() }

// From says where a partition is read on, and the id of the topic to which that offset belongs: zero where it is not known.
type From func(topic string, partition int32) (next int64, id TopicID)

// Run reads until ctx ends. from is asked when a partition is met first. An offset that is not there, or that belongs to a topic
// of that name that is no more, is replaced as [Restart] says. Each answer is sent to out, partition by partition in order. A
// topic that is not there is waited for, and Kafka being away is no error: it is asked again for ever.
//
// A topic that is created again is noticed within 10 s. Until then records of the new topic may come with the old id; they come
// once more then.
func (f *Follower) Run(ctx context.Context, from From, out chan<- []Chunk) error {
	sc, err := f.cfg.commits()
	if err != nil {
		return err
	}
	conn := newLazyClient(f.cfg.Brokers, sc)
	defer conn.close()
	defer context.AfterFunc(ctx, conn.cut)()
	r := &following{
		conn: conn, log: newSeldom(f.log), from: from, large: &f.large, skipped: &f.skipped,
		parts: map[topicPartition]*followed{}, busy: map[string]bool{}, answers: make(chan answer),
	}
	defer r.fetches.Wait()
	tick := time.NewTicker(50 * time.Millisecond) // for what has to be asked again
	defer tick.Stop()
	for ctx.Err() == nil {
		r.discover(f.topics, f.cfg.withDefaults().RefreshInterval)
		if chunks := r.renew(); len(chunks) > 0 {
			select {
			case out <- chunks:
			case <-ctx.Done():
			}
		}
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
	from    From
	large   *sync.Mutex
	skipped *skippedBatches
	parts   map[topicPartition]*followed
	ids     map[string]TopicID // of the topics that are there; nil before the first answer
	idsAt   time.Time          // when they were asked for last
	looked  time.Time          // when the topics' partitions were asked for last
	busy    map[string]bool    // addresses of the brokers that have a fetch of ours
	answers chan answer
	fetches sync.WaitGroup
}

// followed is a partition.
type followed struct {
	*cursor
	id    TopicID   // of the log to which the position belongs
	sure  bool      // the position is known to belong to it
	void  bool      // it does not: the topic was created again
	asked bool      // in a fetch that is under way
	later time.Time // not to be asked for before: it was in trouble

	short shortfall
}

type answer struct {
	addr  string // of the broker
	parts []topicPartition
	of    map[topicPartition]fetched
	err   error
}

const askedAgain = 500 * time.Millisecond

// identify asks for the ids of the topics, and finds the partitions whose topic was created again. It reports whether the ids
// have ever been told.
func (r *following) identify(topics []string) bool {
	if time.Since(r.idsAt) < idsEvery {
		return r.ids != nil
	}
	r.idsAt = time.Now()
	ids, err := r.conn.topicIDs(topics)
	if err != nil {
		r.log.warn("asking for the ids of the topics", err)
		r.idsAt = time.Now().Add(askedAgain - idsEvery)
		return r.ids != nil
	}
	if r.ids == nil {
		r.ids = map[string]TopicID{}
	}
	for topic, id := range ids {
		r.ids[topic] = id
	}
	for tp, p := range r.parts {
		p.belongs(r.ids[tp.topic])
	}
	return true
}

// belongs takes the id that the partition's topic has now.
func (p *followed) belongs(id TopicID) {
	p.void = p.void || p.id.Differs(id)
	if !p.void && !id.IsZero() {
		p.id = id
	}
}

// discover finds partitions: those that are there at the start, and later ones.
func (r *following) discover(topics []string, every time.Duration) {
	if !r.identify(topics) || time.Since(r.looked) < every {
		return
	}
	r.looked = time.Now()
	client, err := r.conn.get()
	for _, topic := range topics {
		var ps []int32
		if err == nil {
			ps, err = partitionsOf(client, topic)
		}
		if err != nil {
			r.log.warn("looking for the partitions of "+topic, err)
			r.looked = time.Now().Add(askedAgain - every)
			return
		}
		for _, p := range ps {
			tp := topicPartition{topic, p}
			if r.parts[tp] == nil {
				at, id := r.from(topic, p)
				met := &followed{cursor: newCursor(tp, max(0, at), r.large), id: id, sure: at <= 0 || !id.IsZero()}
				met.belongs(r.ids[topic])
				r.parts[tp] = met
			}
		}
	}
}
