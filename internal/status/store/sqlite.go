package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// openSQLite opens one connection that writes, since SQLite has one writer at a time, and several that read beside it.
func openSQLite(dir string) (*Store, error) {
	path := filepath.Join(dir, "status.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would make it readable for all
	if err != nil {
		return nil, unavailable("opening the file", err)
	}
	f.Close()
	// FULL: a key of idempotency has to outlive a loss of power. A batch is one sync. secure_delete: what is expunged is gone from
	// the pages too, once the log has been written back.
	write, err := sql.Open("sqlite", sqliteDSN(path, "_txlock=immediate", "busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)",
		"secure_delete(FAST)", "temp_store(MEMORY)", "cache_size(-65536)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, unavailable("opening", err)
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", sqliteDSN(path, "", "busy_timeout(5000)", "query_only(1)", "cache_size(-16384)"))
	if err != nil {
		write.Close()
		return nil, unavailable("opening", err)
	}
	read.SetMaxOpenConns(8)
	read.SetMaxIdleConns(8)
	return &Store{read: read, write: write, dialect: sqlite()}, nil
}

func sqliteDSN(path, more string, pragmas ...string) string {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + more
	for _, p := range pragmas {
		dsn += "&_pragma=" + p
	}
	return dsn
}

func sqlite() dialect {
	const now = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
	d := dialect{
		name: goose.DialectSQLite3,
		now:  now,
		// The transaction began with the lock of the whole file.
		lockLease: "SELECT holder, expires > " + now + " FROM lease WHERE id = 1",
		empty:     "DELETE FROM %s",
		among:     "IN (SELECT value FROM json_each($1))",
		list:      jsonList,
		values:    func(columns []column) string { return "VALUES (" + names(columns, "e.") + ")" },
		from:      func([]column) string { return "" },
		spell:     spellRow,
		each:      eachRow,
	}
	d.add = func(ctx context.Context, t turn, table string, columns []column, rows [][]any) error {
		return eachRow(ctx, t.Tx, d.insert(table, columns, ""), rows)
	}
	return d
}

func jsonList(words []string) any {
	b, _ := json.Marshal(words) // strings have a JSON form
	return string(b)
}

// spellRow: the batch is one row, and its statement runs once for each. To be without a source of rows spares SQLite a
// journal of its own for each statement. An argument that follows the highest one so far needs no number, and one without a number
// is bound faster: the driver asks for the names of the others.
func spellRow(columns []column, text string) string {
	highest := 0
	return batchColumn.ReplaceAllStringFunc(text, func(name string) string {
		n := 1 + slices.IndexFunc(columns, func(c column) bool { return "e."+c.name == name })
		if n == highest+1 {
			highest = n
			return "?"
		}
		highest = max(highest, n)
		return "?" + strconv.Itoa(n)
	})
}

var batchColumn = regexp.MustCompile(`\be\.\w+`)

// eachRow asks ctx between the rows: the driver would watch it with a goroutine for each.
func eachRow(ctx context.Context, tx *sql.Tx, s statement, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	prepared, err := tx.PrepareContext(ctx, s.text)
	if err != nil {
		return err
	}
	defer prepared.Close()
	unwatched := context.WithoutCancel(ctx)
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := prepared.ExecContext(unwatched, row...); err != nil {
			return fmt.Errorf("a row of the batch: %w", err)
		}
	}
	return nil
}
