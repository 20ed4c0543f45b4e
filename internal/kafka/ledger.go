package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Ledger headers, on every event that a job causes.
const (
	HeaderKind         = "ls-kind" // [KindOutcome], [KindIntent], [KindProgress] or [KindBarrier]
	HeaderGroup        = "ls-group"
	HeaderJobTopic     = "ls-job-topic"
	HeaderJobPartition = "ls-job-partition"
	HeaderJobOffset    = "ls-job-offset"
	HeaderJobID        = "ls-id"
	HeaderGeneration   = "ls-generation"   // on an outcome that has follow-ons: the generation in their source
	HeaderJobTopicID   = "ls-job-topic-id" // as [TopicID.String] has it; left out when the id is unknown
)

// HeaderSource, on a follow-on, names the job that it comes from: "<topic id>/<partition>/<offset>/<generation>".
const HeaderSource = "ls-source"

// Kinds of ledger records. Only an outcome says that a job is done with its offset.
const (
	KindOutcome  = "outcome"
	KindIntent   = "intent"   // an attempt is about to call a provider; the value is empty
	KindProgress = "progress" // how far an attempt has come; the value is empty
	KindBarrier  = "barrier"  // of a take-over, about no job; the value is empty, and HeaderNonce tells it from others
)

// Ledger is this process's view of the topic on which outcomes are recorded: where each partition ends, and what it
// says about the jobs of a claim that is taken over. All runners of a process share one.
type Ledger struct {
	topic string
	conn  *lazyClient
	log   *zap.Logger
	mu    sync.Mutex
	ends  map[int32]*ledgerEnd
	reads map[int32]*sharedReads
	ids   map[string]TopicID // of the ledger and the job topics of this process, as the brokers gave them last

	longSession atomic.Bool // the brokers refuse the default session timeout, see Runner.groupConfig
	large       sync.Mutex  // see cursor
	skipped     skippedBatches
}

// ledgerEnd is the end of one ledger partition as far as it is known: the highest acknowledgement or a newer answer of
// the broker. Too low is safe, too high is not.
type ledgerEnd struct {
	mu    sync.Mutex
	at    int64
	epoch leaderEpoch // of the leader when it was asked last, and the end that it gave
}

// NewLedger makes the ledger of a topic; it connects when it is first asked.
func NewLedger(cfg Config, topic string, log *zap.Logger) (*Ledger, error) {
	sc, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	return &Ledger{
		topic: topic, conn: newLazyClient(cfg.Brokers, sc), log: log,
		ends: map[int32]*ledgerEnd{}, reads: map[int32]*sharedReads{}, ids: map[string]TopicID{},
		skipped: skippedBatches{log: log, what: "outcomes"},
	}, nil
}

// Undecodable returns how many record batches of the ledger were skipped because they cannot be decoded. Outcomes may be
// missing until the next start.
func (l *Ledger) Undecodable() uint64 { return l.skipped.n.Load() }

// Run asks the brokers once a second where the partitions in use end, until ctx ends. Without it a quiet claim's L would
// stand still, and its next owner would read everything that others have written since.
func (l *Ledger) Run(ctx context.Context) error {
	defer l.conn.close()
	defer context.AfterFunc(ctx, l.conn.cut)()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	asked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(asked) >= idsEvery {
			asked = time.Now()
			if err := l.refreshIDs(); err != nil {
				l.log.Debug("topic ids unknown", zap.Error(err))
			}
		}
		for _, p := range l.inUse() {
			if _, err := l.ask(p); err != nil {
				l.log.Debug("ledger end unknown", zap.Int32("partition", p), zap.Error(err))
			}
		}
	}
}

func (l *Ledger) inUse() []int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ps := make([]int32, 0, len(l.ends))
	for p := range l.ends {
		ps = append(ps, p)
	}
	return ps
}

func (l *Ledger) end(p int32) *ledgerEnd {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.ends[p]
	if e == nil {
		e = &ledgerEnd{}
		l.ends[p] = e
	}
	return e
}

// known gives the end as known now.
func (l *Ledger) known(p int32) int64 {
	at, _ := l.knownEnd(p)
	return at
}

// knownEnd returns the end as known now, and the epoch of the leader when it was asked last; the epoch's from is the end that the
// leader gave.
func (l *Ledger) knownEnd(p int32) (int64, leaderEpoch) {
	e := l.end(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at, e.epoch
}

// raise takes an acknowledgement: the end is beyond that offset. A negative offset is unknown and says nothing.
func (l *Ledger) raise(p int32, offset int64) {
	e := l.end(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = max(e.at, offset+1)
}

// ask asks the broker for the end. A lower answer lowers what is known: the topic was made anew, or the answer is older
// than an acknowledgement, which costs nothing.
func (l *Ledger) ask(p int32) (int64, error) {
	at, epoch, err := l.conn.newest(topicPartition{l.topic, p})
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s/%d: %w", l.topic, p, err)
	}
	e := l.end(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at, e.epoch = at, epoch
	return at, nil
}

// offsetSince gives the first offset of what was written at that time or later; -1 when nothing was.
func (l *Ledger) offsetSince(p int32, at time.Time) (int64, error) {
	client, err := l.conn.get()
	if err != nil {
		return 0, err
	}
	offset, err := client.GetOffset(l.topic, p, max(at.UnixMilli(), 0))
	if err != nil {
		return 0, fmt.Errorf("ask what %s/%d holds since %s: %w", l.topic, p, at.Format(time.RFC3339), err)
	}
	return offset, nil
}

// partitions gives the ledger's partition count.
func (l *Ledger) partitions() (int32, error) {
	client, err := l.conn.get()
	if err != nil {
		return 0, err
	}
	ps, err := partitionsOf(client, l.topic)
	if err != nil {
		return 0, fmt.Errorf("ask for the partitions of %s: %w", l.topic, err)
	}
	return int32(len(ps)), nil
}

// bounds gives the first offset and the end of a job partition.
func (l *Ledger) bounds(tp topicPartition) (oldest, newest int64, err error) {
	if newest, err = l.conn.offset(tp, sarama.OffsetNewest); err == nil {
		oldest, err = l.conn.offset(tp, sarama.OffsetOldest)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the bounds of %s: %w", tp, err)
	}
	return oldest, newest, nil
}

// entry is what the ledger says of one job.
type entry struct {
	kind, group string
	job         topicPartition
	jobOffset   int64
	topicID     TopicID // of job's topic; zero when unknown
	id          string
	at          int64      // the entry's own offset
	by          generation // of its follow-ons; zero when it has none
}

// readEntry reads the ledger headers of r; ok is false for an event that no job has caused.
func readEntry(r *Record) (e entry, ok bool) {
	e.at = r.Offset
	var err1, err2 error = errors.ErrUnsupported, errors.ErrUnsupported
	for _, h := range r.Headers {
		v := string(h.Value)
		switch h.Key {
		case HeaderKind:
			e.kind = v
		case HeaderGroup:
			e.group = v
		case HeaderJobTopic:
			e.job.topic = v
		case HeaderJobID:
			e.id = v
		case HeaderJobTopicID:
			e.topicID, _ = ParseTopicID(v) // an unreadable id is an unknown one
		case HeaderGeneration:
			by, _ := strconv.ParseUint(v, 10, 63) // an unreadable one is unknown
			e.by = generation(by)
		case HeaderJobPartition:
			var n int64
			n, err1 = strconv.ParseInt(v, 10, 32)
			e.job.partition = int32(n)
		case HeaderJobOffset:
			e.jobOffset, err2 = strconv.ParseInt(v, 10, 64)
		}
	}
	return e, err1 == nil && err2 == nil && e.kind != "" && e.jobOffset >= 0
}

// headers is the opposite of readEntry.
func (e entry) headers() []Header {
	hs := append(make([]Header, 0, 10), // with room for those of the handler
		Header{HeaderKind, []byte(e.kind)},
		Header{HeaderGroup, []byte(e.group)},
		Header{HeaderJobTopic, []byte(e.job.topic)},
		Header{HeaderJobPartition, strconv.AppendInt(nil, int64(e.job.partition), 10)},
		Header{HeaderJobOffset, strconv.AppendInt(nil, e.jobOffset, 10)},
		Header{HeaderJobID, []byte(e.id)},
	)
	if !e.topicID.IsZero() {
		hs = append(hs, Header{HeaderJobTopicID, []byte(e.topicID.String())})
	}
	return hs
}
