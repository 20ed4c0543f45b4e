package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/pressly/goose/v3"
)

// dialect is what the two databases do not share.
type dialect struct {
	name      goose.Dialect
	now       string // an expression: microseconds since 1970 by the clock that all processes share
	lockLease string // locks the row of the lease, and gives its holder and whether it is live
	empty     string // a statement that removes all rows of the table at %s, and keeps the numbers that events have had

	// among is a condition: the value before it is in the list that is $1, which list makes.
	among string
	list  func(words []string) any

	// A statement over a batch calls it e. values gives the rows to insert, from says where e comes from in an update, and spell
	// gives the statement as the database takes it.
	values func(columns []column) string
	from   func(columns []column) string
	spell  func(columns []column, text string) string
	// each runs a statement over rows, in their order.
	each func(ctx context.Context, tx *sql.Tx, s statement, rows [][]any) error

	// add inserts rows of which none is there: PostgreSQL has a faster way where it need not look for them.
	add func(ctx context.Context, t turn, table string, columns []column, rows [][]any) error
}

// column is a column of a batch.
type column struct {
	name string
	kind kind
}

type kind int

const (
	word   kind = iota // string
	number             // int64
	moment             // *int64, nil for none
	truth              // bool
)

// statement is one that takes a batch.
type statement struct {
	columns []column
	text    string
}

func names(columns []column, prefix string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = prefix + c.name
	}
	return strings.Join(out, ", ")
}

// assign gives "a = e.a, b = e.b".
func assign(columns []column) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name + " = e." + c.name
	}
	return strings.Join(out, ", ")
}

// insert adds the rows of a batch to table; conflict says what becomes of one that is there, and is empty where none is.
func (d *dialect) insert(table string, columns []column, conflict string) statement {
	text := "INSERT INTO " + table + " (" + names(columns, "") + ") " + d.values(columns)
	if conflict != "" {
		text += " ON CONFLICT " + conflict
	}
	return statement{columns, d.spell(columns, text)}
}

// update gives the rows of table, which is called n, the values of a batch, whose first column is the key of the rows. Where
// says which rows, besides.
func (d *dialect) update(table string, columns []column, where string) statement {
	key := columns[0].name
	text := "UPDATE " + table + " AS n SET " + assign(columns[1:]) + d.from(columns) + " WHERE n." + key + " = e." + key + where
	return statement{columns, d.spell(columns, text)}
}
