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
			committed{offset: 50, metadata: text}, 0, 9, 100, 0, start{low: 0, count: 12, limit: 9}, 0,
		},
		"an operator's reset: the ledger no longer counts": {
			committed{offset: 7}, 0, 9, 100, 0, start{low: 7, ledger: 100, count: 12, limit: 9, reset: true}, 100,
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
			s := begin(c.was, c.oldest, c.newest, 12)
			from := s.from(c.end, c.window, c.oldest == c.newest)
			require.Equal(t, c.want, s)
			require.Equal(t, c.from, from)
		})
	}
}
