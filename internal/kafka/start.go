package kafka

import (
	"errors"
	"time"
)

// start is where a claim begins: what its last owner committed, seen beside what the logs hold.
type start struct {
	low    int64  // the watermark
	ledger int64  // L: the ledger is read from here
	count  int32  // the ledger's partition count that holds for this claim
	bitmap []byte // done above low
	limit  int64  // offsets from here on cannot be done: the log does not hold them
	origin origin

	by      generation // the new owner's
	orderly bool       // the owner before left nothing in flight
	since   time.Time  // no follow-on of a job that is undone is older; zero when the owner before did not say
	ended   time.Time  // when the claim's newest outcome was written; zero when nobody said
	fences  fences

	epoch       leaderEpoch // of the job log
	ledgerEpoch leaderEpoch // of the ledger, and its end that L does not exceed but for acknowledgements
}

// resume takes over what the commit says of the owners before.
func (s *start) resume(m metadata, now logs) {
	s.by, s.orderly, s.since, s.ended, s.fences = m.by+1, m.orderly, m.since, m.ended, m.fences
	s.epoch = m.epoch
	if now.diverged { // the log that is read on is another one
		s.epoch = now.epoch
	}
}

// origin says how the committed position relates to the logs as they are now.
type origin int

const (
	resumed    origin = iota // the position is one of this log, or nothing was ever committed
	reset                    // an operator has set the offset: what the ledger says of this claim no longer counts
	recreated                // the job topic was deleted and created again: the position is void
	truncated                // the log ends before the position, so the claim goes on at the log's end
	ledgerAnew               // only the ledger topic was deleted and created again: all of the new one is read
)

// logs are the job partition and the ledger topic as the brokers describe them now.
type logs struct {
	oldest, newest int64   // bounds of the job partition
	job, ledger    TopicID // zero when the brokers know no ids
	ledgerCount    int32   // the ledger's partition count
	noLedger       bool    // the group has none

	diverged          bool  // by the leader's epochs the job log is another one than the one that the commit is about
	divergence, reach int64 // from where on; and up to where the commit speaks of it
	epoch             leaderEpoch
}

// end is where the log ends that a commit may be about.
func (l *logs) end() int64 {
	if l.diverged {
		return min(l.newest, l.divergence)
	}
	return l.newest
}

// begin decides where a claim begins. The committed offset is -1 when nothing is committed.
//
// Nothing committed, or a position of another topic of the same name: everything is read again, and the whole ledger says
// what of it is done. The same holds for a position beyond the log's end when the topic's id is unknown. When the id is known
// to be the same, or there is no ledger that would tell what is done, such a log was truncated, and reading goes on at its
// end. An offset that carries no metadata was set by an operator, who wants those jobs to run.
func begin(c committed, now logs) start {
	end := now.end()
	s := start{low: c.offset, count: now.ledgerCount, limit: end, by: 1}
	m, err := decodeMetadata(c.metadata)
	ours := err == nil
	if ours && m.count <= s.count { // otherwise the ledger was created again, smaller: its offsets mean nothing any more
		s.ledger, s.count, s.ledgerEpoch = m.ledger, m.count, m.ledgerEpoch
	}
	if ours && m.journal.Differs(now.ledger) {
		s.ledger, s.ledgerEpoch, s.origin = 0, leaderEpoch{}, ledgerAnew
	}
	switch {
	case c.offset < 0:
		return start{low: now.oldest, count: now.ledgerCount, limit: now.newest, by: 1}
	case ours && m.job.Differs(now.job):
		return start{low: now.oldest, count: s.count, limit: now.newest, origin: recreated, by: 1}
	case c.offset > end && (now.noLedger || ours && !m.job.IsZero() && m.job == now.job):
		s.low, s.origin = end, truncated
		s.resume(m, now)
		return s
	case c.offset > end:
		return start{low: now.oldest, count: now.ledgerCount, limit: now.newest, origin: recreated, by: 1}
	case errors.Is(err, errForeign):
		s.origin = reset
	}
	s.bitmap = m.bitmap
	s.resume(m, now)
	return s
}

// progress is what the commit alone says is done.
func (s *start) progress() *progress {
	p := newProgress(s.low)
	p.restore(s.low, s.bitmap, s.limit)
	return &p
}

// from is where reading the ledger begins, end being its end: at L, or earlier as far as the dedupe window reaches.
// Records below L feed dedupe and the callback only. An empty job log reads nothing.
func (s *start) from(end, window int64, empty bool) int64 {
	s.ledger = min(s.ledger, end)
	if s.origin == reset || empty {
		s.ledger = end
		return end
	}
	return max(0, min(s.ledger, end-window))
}
