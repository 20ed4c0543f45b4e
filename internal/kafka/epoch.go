package kafka

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// A log that was truncated may grow beyond a reader's position before anybody asks where it ends. The leader epochs show
// the truncation all the same: each election begins a new epoch, each batch carries the epoch in which it was written, and
// the leader knows where each epoch of its log ends.

// leaderEpoch is the epoch of the newest batch that was read of a partition. The zero value is an unknown one. An unknown
// epoch with a number is that or a later one.
type leaderEpoch struct {
	known  bool
	number int32
	from   int64 // the first offset that was seen of this epoch
}

// follow returns the epoch after the batch b has been read.
func (e leaderEpoch) follow(b *recordbatch.Batch) leaderEpoch {
	if b.Magic != 2 || b.LeaderEpoch < 0 || e.known && e.number == b.LeaderEpoch {
		return e
	}
	return leaderEpoch{known: true, number: b.LeaderEpoch, from: b.Base}
}

// newer returns the newer of both epochs, where other was read last. What is read again has older epochs.
func (e leaderEpoch) newer(other leaderEpoch) leaderEpoch {
	if other.number > e.number || other.number == e.number && other.known != e.known {
		return other
	}
	return e
}

// String is the text of a known epoch in a commit; it is empty for an unknown one.
func (e leaderEpoch) String() string {
	if !e.known {
		return ""
	}
	return strconv.FormatInt(int64(e.number), 36) + "/" + strconv.FormatInt(e.from, 36)
}

var errEpoch = errors.New("unreadable leader epoch")

func parseLeaderEpoch(s string) (leaderEpoch, error) {
	number, from, ok := strings.Cut(s, "/")
	n, err1 := strconv.ParseInt(number, 36, 32)
	at, err2 := strconv.ParseInt(from, 36, 64)
	if !ok || err1 != nil || err2 != nil || n < 0 || at < 0 {
		return leaderEpoch{}, errEpoch
	}
	return leaderEpoch{known: true, number: int32(n), from: at}, nil
}

// epochEnd is what a leader answers when it is asked for an epoch: the newest epoch of its log that is not newer, and where
// that epoch ends in the log.
type epochEnd struct {
	known  bool // false when the leader cannot tell
	number int32
	end    int64
}

// intact returns the offset up to which the leader's log is the log that was read with epoch e; the end of the epoch in this
// log may be beyond what was read. It is math.MaxInt64 if the answer does not tell.
//
// The records of an epoch have one writer, so an epoch of both logs has the same records at the same offsets. If the leader
// does not have e, the logs differ at the latest where e begins.
func (e leaderEpoch) intact(a epochEnd) int64 {
	switch {
	case !e.known || !a.known || a.number > e.number:
		return math.MaxInt64
	case a.number == e.number:
		return a.end
	default:
		return min(a.end, e.from)
	}
}

// divergence returns the offset from which a log that begins at start differs from the one that was read with epoch e, given its
// leader's answer, and the epoch there. ok is false if they do not differ below reach.
func (e leaderEpoch) divergence(a epochEnd, start, reach int64) (at int64, epoch leaderEpoch, ok bool) {
	at = max(e.intact(a), start)
	return at, a.after(at), at < reach
}

// after returns the epoch of a log that is read on at offset at, given the leader's answer.
func (a epochEnd) after(at int64) leaderEpoch {
	return leaderEpoch{known: a.known, number: a.number, from: at}
}

// epochVersion is the last version of the request without flexible fields. Brokers that answer fetchVersion answer it, too.
const epochVersion = 3

// epochEnd asks the broker, which must lead tp, for an epoch. A broker that does not answer such requests, or does not know
// the epoch, cannot tell.
func (w *wire) epochEnd(tp topicPartition, number int32) (epochEnd, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	supported, err := w.supports(int16(kmsg.OffsetForLeaderEpoch), epochVersion)
	if err != nil || !supported {
		return epochEnd{}, err
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = epochVersion, -1
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	t.Topic, p.Partition, p.LeaderEpoch = tp.topic, tp.partition, number
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := w.ask(req, 0)
	if err != nil {
		return epochEnd{}, err
	}
	resp := answer.(*kmsg.OffsetForLeaderEpochResponse) //nolint:forcetypeassert // made by ask
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if t.Topic == tp.topic && p.Partition == tp.partition {
				return readEpochEnd(sarama.KError(p.ErrorCode), p.LeaderEpoch, p.EndOffset)
			}
		}
	}
	return epochEnd{}, errLeftOut
}

// readEpochEnd fails for what another leader or a later answer may mend. All other errors mean that the broker cannot tell.
func readEpochEnd(code sarama.KError, number int32, end int64) (epochEnd, error) {
	switch code {
	case sarama.ErrNoError:
		return epochEnd{known: number >= 0 && end >= 0, number: number, end: end}, nil
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrReplicaNotAvailable, sarama.ErrUnknownTopicOrPartition,
		sarama.ErrKafkaStorageError:
		return epochEnd{}, code
	default:
		return epochEnd{}, nil
	}
}

// epochEnd asks the leader of tp for an epoch.
func (c *lazyClient) epochEnd(tp topicPartition, number int32) (epochEnd, error) {
	leader, err := c.leader(tp)
	if err != nil {
		return epochEnd{}, err
	}
	return c.epochEndAt(leader.Addr(), tp, number)
}

// epochEndAt asks the broker at addr, which has just answered a fetch.
func (c *lazyClient) epochEndAt(addr string, tp topicPartition, number int32) (epochEnd, error) {
	a, err := c.wire(addr).epochEnd(tp, number)
	if err != nil {
		c.lookUpSoon(tp.topic)
	}
	return a, err
}

// newEpoch reports whether the block goes on in another epoch than that of the newest batch that was read. Only then may the
// log before it be another one.
func (c *cursor) newEpoch(b *block) bool {
	if !c.epoch.known {
		return false
	}
	for rest := b.raw; ; {
		batch, err := recordbatch.Next(rest)
		if err != nil || batch.Base >= b.highWatermark {
			return false
		}
		if batch.Last() >= c.at {
			return c.epoch.follow(&batch) != c.epoch
		}
		rest = rest[len(batch.Raw):]
	}
}

// verify checks the log at the block's broker if the block begins in a new epoch. After a truncation, verify moves the cursor back
// and returns the new position; otherwise -1.
func (c *lazyClient) verify(cur *cursor, b *block) (int64, error) {
	if !cur.newEpoch(b) {
		return -1, nil
	}
	return c.compare(cur, b)
}

// compare is verify for blocks of any epoch.
func (c *lazyClient) compare(cur *cursor, b *block) (int64, error) {
	if !cur.epoch.known {
		return -1, nil
	}
	a, err := c.epochEndAt(b.addr, cur.topicPartition, cur.epoch.number)
	if err != nil {
		return -1, err
	}
	at, epoch, ok := cur.epoch.divergence(a, b.logStart, cur.at)
	if !ok {
		return -1, nil
	}
	cur.at, cur.epoch = at, epoch
	return at, nil
}

// extent returns the offset after the last one that the claim knows anything of: fetched, or done. The lock is held.
func (c *claim) extent() int64 { return max(c.next, c.lastDone()+1) }

// verify asks the leader whether its log is still the one that the claim has read, and ends the claim if it is not. addr is
// the leader's address; start is where its log begins.
func (r *Runner) verify(c *claim, addr string, start int64) error {
	r.mu.Lock()
	epoch, extent := c.epoch, c.extent()
	r.mu.Unlock()
	if !epoch.known {
		return nil
	}
	a, err := r.reader.conn.epochEndAt(addr, c.topicPartition, epoch.number)
	if err != nil {
		return err
	}
	at, there, ok := epoch.divergence(a, start, extent)
	if !ok {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.over && c.void == nil {
		c.truncate(at)
		c.epoch = there
		c.voided(errTruncated)
	}
	return nil
}

// verifyAtLeader is verify for a claim that has fetched nothing just now.
func (r *Runner) verifyAtLeader(c *claim, start int64) error {
	leader, err := r.reader.conn.leader(c.topicPartition)
	if err != nil {
		return err
	}
	return r.verify(c, leader.Addr(), start)
}

// diverged compares the log of a job partition with the epoch in the last commit. If the log was truncated, diverged fills the
// divergence fields of now.
func (l *Ledger) diverged(was committed, now *logs) error {
	m, err := decodeMetadata(was.metadata)
	if err != nil || !m.epoch.known || was.offset < 0 || m.job.Differs(now.job) {
		return nil //nolint:nilerr // what is not ours says nothing of epochs
	}
	a, err := l.conn.epochEnd(was.topicPartition, m.epoch.number)
	if err != nil {
		return err
	}
	done := newTracker(was.offset)
	done.restore(was.offset, m.bitmap, math.MaxInt64)
	reach := done.lastDone() + 1
	if at, epoch, ok := m.epoch.divergence(a, now.oldest, reach); ok {
		now.diverged, now.divergence, now.reach, now.epoch = true, at, reach, epoch
	}
	return nil
}

// ledgerDiverged lowers s.ledger if the ledger's leader does not have the log up to s.ledger. certain reports that the log lost records
// below the end that its leader gave with the known epoch; acknowledgements raise s.ledger above that end.
func (l *Ledger) ledgerDiverged(p int32, s *start) (certain bool, err error) {
	if !s.ledgerEpoch.known || s.ledger == 0 {
		return false, nil
	}
	a, err := l.conn.epochEnd(topicPartition{l.topic, p}, s.ledgerEpoch.number)
	if err != nil || !a.known || a.number > s.ledgerEpoch.number || a.end >= s.ledger {
		return false, err
	}
	s.ledger = a.end
	return a.end < s.ledgerEpoch.from, nil
}
