package store

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The condition of an index is judged for each row: one that SQLite makes a table for, as for a list of more than two words, costs
// more than the row.
func TestNoRowOfABatchNeedsATableOfItsOwn(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	for name, st := range map[string]statement{
		"a line":     s.insert("notifications", slices.Concat(idColumns, originColumns, standingColumns), ""),
		"an origin":  s.update("notifications", slices.Concat(idColumns[:1], originColumns), " AND "+originWins),
		"a standing": s.update("notifications", slices.Concat(idColumns[:1], standingColumns), " AND "+standingWins),
	} {
		rows, err := s.read.Query("EXPLAIN "+st.text, make([]any, len(st.columns))...)
		require.NoError(t, err)
		for rows.Next() {
			var opcode string
			var rest any
			require.NoError(t, rows.Scan(&rest, &opcode, &rest, &rest, &rest, &rest, &rest, &rest))
			require.NotEqual(t, "OpenEphemeral", opcode, name)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
}
