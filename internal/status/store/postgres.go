package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

func openPostgres(dsn string) (*Store, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("status.dsn is not a URL of PostgreSQL: postgres://user:password@host:5432/database") // err may quote it
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	return &Store{read: db, write: db, dialect: postgres()}, nil
}

func postgres() dialect {
	const now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
	return dialect{
		name: goose.DialectPostgres,
		now:  now,
		// A writer that is frozen with the lock must not keep all others out: the server ends its transaction.
		lockLease: "SELECT holder, expires > " + now + " FROM lease, set_config('idle_in_transaction_session_timeout', '5000', TRUE)" +
			" WHERE id = 1 FOR UPDATE OF lease",
		empty: "TRUNCATE %s",
		among: "= ANY($1::text[])",
		list:  func(words []string) any { return words },
		values: func(columns []column) string {
			return "SELECT " + names(columns, "e.") + " FROM " + arrays(columns) + " WHERE TRUE"
		},
		from:  func(columns []column) string { return " FROM " + arrays(columns) },
		spell: func(_ []column, text string) string { return text },
		each:  allRows,
		add:   copyRows,
	}
}

// arrays: a batch is an array for each column.
func arrays(columns []column) string {
	text := "unnest("
	for i, c := range columns {
		if i > 0 {
			text += ", "
		}
		text += "$" + strconv.Itoa(i+1) + map[kind]string{word: "::text[]", number: "::bigint[]", moment: "::bigint[]", truth: "::boolean[]"}[c.kind]
	}
	return text + ") AS e(" + names(columns, "") + ")"
}

func allRows(ctx context.Context, tx *sql.Tx, s statement, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	args := make([]any, len(s.columns))
	for i, c := range s.columns {
		switch c.kind {
		case word:
			args[i] = columnOf[string](rows, i)
		case number:
			args[i] = columnOf[int64](rows, i)
		case moment:
			args[i] = columnOf[*int64](rows, i)
		case truth:
			args[i] = columnOf[bool](rows, i)
		}
	}
	_, err := tx.ExecContext(ctx, s.text, args...)
	return err
}

// copyRows: COPY neither parses rows as expressions nor looks for those that are there.
func copyRows(ctx context.Context, t turn, table string, columns []column, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	into := make([]string, len(columns))
	for i, c := range columns {
		into[i] = c.name
	}
	return t.on.Raw(func(conn any) error {
		_, err := conn.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, into, pgx.CopyFromRows(rows))
		return err
	})
}

func columnOf[T any](rows [][]any, i int) []T {
	out := make([]T, len(rows))
	for r, row := range rows {
		out[r] = row[i].(T)
	}
	return out
}
