package kafka

import "errors"

// start is where a claim begins: what its last owner committed, seen beside what the logs hold.
type start struct {
	low    int64  // the watermark
	ledger int64  // L: the ledger is read from here
	count  int32  // the ledger's partition count that holds for this claim
	bitmap []byte // done above low
	limit  int64  // offsets from here on cannot be done: the log does not hold them
	reset  bool   // an operator has set the offset: what the ledger says of this claim no longer counts
}

// begin decides where a claim begins. offset is -1 when nothing is committed; oldest and newest bound the job log; ledger
// is the end of the claim's ledger partition, count the ledger's partition count now.
//
// Nothing committed, or more than the log holds (the topic was made anew): everything is read again, and the whole ledger
// says what of it is done. An offset that carries no metadata was set by an operator, who wants those jobs to run.
func begin(c committed, oldest, newest int64, count int32) start {
	s := start{low: c.offset, count: count, limit: newest}
	m, err := decodeMetadata(c.metadata)
	switch {
	case c.offset < 0, c.offset > newest:
		s.low = oldest
	case errors.Is(err, errForeign):
		s.reset = true
	case err == nil && m.count > count: // the ledger was made anew, smaller: its offsets mean nothing any more
		s.bitmap = m.bitmap
	case err == nil:
		s.ledger, s.count, s.bitmap = m.ledger, m.count, m.bitmap
	}
	return s
}

// from is where reading the ledger begins, end being its end: at L, or earlier as far as the dedupe window reaches.
// Records below L feed dedupe and the callback only. An empty job log reads nothing.
func (s *start) from(end, window int64, empty bool) int64 {
	s.ledger = min(s.ledger, end)
	if s.reset || empty {
		s.ledger = end
		return end
	}
	return max(0, min(s.ledger, end-window))
}
