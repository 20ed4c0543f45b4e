package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereAClaimBegins(t *testing.T) {
	text, _ := metadata{ledger: 40, count: 3, bitmap: []byte{0b10}}.encode()
	wide, _ := metadata{ledger: 40, count: 13, bitmap: []byte{0b10}}.encode()
	for name, c := range map[string]struct {
		was            committed
		oldest, newest int64
		end, window    int64
		want           start
		from           int64
	}{
		"nothing committed: all of both logs": {
			committed{offset: -1}, 5, 9, 100, 0, start{low: 5, count: 12, limit: 9}, 0,
		},
		"committed beyond the end: the topic was made anew": {
			committed{offset: 50, metadata: text}, 0, 9, 100, 0, start{low: 0, count: 12, limit: 9, origin: recreated}, 0,
		},
		"an operator's reset: the ledger no longer counts": {
			committed{offset: 7}, 0, 9, 100, 0, start{low: 7, ledger: 100, count: 12, limit: 9, origin: reset}, 100,
		},
		"the usual case": {
			committed{offset: 7, metadata: text}, 0, 9, 100, 0, start{low: 7, ledger: 40, count: 3, limit: 9, bitmap: []byte{2}}, 40,
		},
		"the dedupe window reaches below L": {
			committed{offset: 7, metadata: text}, 0, 9, 100, 70, start{low: 7, ledger: 40, count: 3, limit: 9, bitmap: []byte{2}}, 30,
		},
		"the ledger was made anew: L beyond its end is its end": {
			committed{offset: 7, metadata: text}, 0, 9, 20, 0, start{low: 7, ledger: 20, count: 3, limit: 9, bitmap: []byte{2}}, 20,
		},
		"below the log's start: map and L are kept": {
			committed{offset: 7, metadata: text}, 8, 30, 100, 0, start{low: 7, ledger: 40, count: 3, limit: 30, bitmap: []byte{2}}, 40,
		},
		"the ledger was made anew with fewer partitions: all of it is read": {
			committed{offset: 7, metadata: wide}, 0, 9, 20, 0, start{low: 7, count: 12, limit: 9, bitmap: []byte{2}}, 0,
		},
		"metadata of a later version: nothing of it is trusted": {
			committed{offset: 7, metadata: "ls9.0.1.1."}, 0, 9, 100, 0, start{low: 7, count: 12, limit: 9}, 0,
		},
		"an empty job log reads nothing": {
			committed{offset: -1}, 9, 9, 100, 50, start{low: 9, ledger: 100, count: 12, limit: 9}, 100,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(c.was, logs{oldest: c.oldest, newest: c.newest, ledgerCount: 12})
			from := s.from(c.end, c.window, c.oldest == c.newest)
			c.want.by = 1
			require.Equal(t, c.want, s)
			require.Equal(t, c.from, from)
		})
	}
}

func TestWhereAClaimBegins_WithTopicIDs(t *testing.T) {
	job, ledger, other := TopicID{1}, TopicID{2}, TopicID{3}
	text := func(job, ledger TopicID) string {
		s, _ := metadata{ledger: 40, count: 3, bitmap: []byte{0b10}, job: job, journal: ledger}.encode()
		return s
	}
	now := logs{oldest: 2, newest: 9, job: job, ledger: ledger, ledgerCount: 12}
	with := func(change func(l *logs)) logs {
		l := now
		change(&l)
		return l
	}
	resumes := start{low: 7, ledger: 40, count: 3, limit: 9, bitmap: []byte{2}}
	for name, c := range map[string]struct {
		was  committed
		now  logs
		want start
	}{
		"the same topics":                       {committed{offset: 7, metadata: text(job, ledger)}, now, resumes},
		"a commit from before ids were written": {committed{offset: 7, metadata: text(TopicID{}, TopicID{})}, now, resumes},
		"brokers without ids": {
			committed{offset: 7, metadata: text(job, ledger)},
			with(func(l *logs) { l.job, l.ledger = TopicID{}, TopicID{} }), resumes,
		},
		"the job topic was created again: all of both logs": {
			committed{offset: 7, metadata: text(other, ledger)}, now, start{low: 2, count: 3, limit: 9, origin: recreated},
		},
		"and the new one is longer than the old one was": {
			committed{offset: 7, metadata: text(other, ledger)},
			with(func(l *logs) { l.newest = 1000 }),
			start{low: 2, count: 3, limit: 1000, origin: recreated},
		},
		"a mover's too": {
			committed{offset: 7, metadata: text(other, ledger)},
			with(func(l *logs) { l.noLedger = true }),
			start{low: 2, count: 3, limit: 9, origin: recreated},
		},
		"the ledger was created again: all of it, and the bits stay": {
			committed{offset: 7, metadata: text(job, other)},
			now,
			start{low: 7, count: 3, limit: 9, bitmap: []byte{2}, origin: ledgerAnew},
		},
		"the log was truncated: its end": {
			committed{offset: 12, metadata: text(job, ledger)}, now, start{low: 9, ledger: 40, count: 3, limit: 9, origin: truncated},
		},
		"below a bit of the bitmap": {
			committed{offset: 7, metadata: text(job, ledger)},
			with(func(l *logs) { l.newest = 8 }),
			start{low: 7, ledger: 40, count: 3, limit: 8, bitmap: []byte{2}},
		},
		"of a mover, by a commit from before ids were written": {
			committed{offset: 12, metadata: text(TopicID{}, TopicID{})},
			with(func(l *logs) { l.noLedger = true }),
			start{low: 9, ledger: 40, count: 3, limit: 9, origin: truncated},
		},
		"of a mover, with brokers without ids": {
			committed{offset: 12, metadata: text(job, ledger)},
			with(func(l *logs) { l.noLedger, l.job = true, TopicID{} }),
			start{low: 9, ledger: 40, count: 3, limit: 9, origin: truncated},
		},
		"of a lane, with brokers without ids: truncated or created again, the ledger tells what is done": {
			committed{offset: 12, metadata: text(job, ledger)},
			with(func(l *logs) { l.job = TopicID{} }),
			start{low: 2, count: 12, limit: 9, origin: recreated},
		},
	} {
		c.want.by = 1
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, begin(c.was, c.now)) })
	}
}
