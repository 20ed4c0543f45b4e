package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// Config says where the store is.
type Config struct {
	DSN string // postgres://…; empty for SQLite. Holds a password: it is in no error and no log
	Dir string // of the SQLite file, status.db; it exists
	Log *zap.Logger
}

// Store is an open store. All its methods may be called at once, and end with their ctx.
type Store struct {
	read  *sql.DB
	write *sql.DB // the same as read, or the one connection that may write
	dialect
	scan int // rows of an index that a page looks at
	log  *zap.Logger

	secret   secret
	claims   *gather[notify.Claim, notify.Claimed]
	settled  *gather[notify.Settlement, struct{}]
	idClaims *gather[notify.IDClaim, bool]
}

// Open opens the store and brings its tables up to date, which several processes may do at once.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := connect(c)
	if err != nil {
		return nil, err
	}
	s.scan, s.log = scanLimit, c.Log
	s.claims, s.settled, s.idClaims = newGather(s.claim), newGather(s.settle), newGather(s.claimIDs)
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := s.migrate(ctx); err != nil {
		s.Close()
		return nil, unavailable("opening", err)
	}
	if s.secret, err = s.readSecret(ctx); err != nil {
		s.Close()
		return nil, unavailable("opening", err)
	}
	return s, nil
}

func connect(c Config) (*Store, error) {
	switch {
	case c.DSN == "":
		return openSQLite(c.Dir)
	case strings.HasPrefix(c.DSN, "postgres://"), strings.HasPrefix(c.DSN, "postgresql://"):
		return openPostgres(c.DSN)
	default:
		return nil, errors.New("status.dsn is neither empty (SQLite in data_dir) nor a URL that begins with postgres://")
	}
}

// Close ends all connections. A transaction that is under way is rolled back.
func (s *Store) Close() error {
	if s.read == s.write {
		return s.write.Close()
	}
	return errors.Join(s.read.Close(), s.write.Close())
}

// turn is a transaction of a writer that has locked the row of the lease, as every writer does first.
type turn struct {
	*sql.Tx
	on     *sql.Conn // the connection of the transaction
	holder string    // of the lease
	live   bool      // the lease has not run out
}

// change runs do in a transaction, behind all other writers. What do returns rolls it back.
func (s *Store) change(ctx context.Context, doing string, do func(turn) error) error {
	on, err := s.write.Conn(ctx)
	if err != nil {
		return unavailable(doing, err)
	}
	defer on.Close()
	tx, err := on.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return unavailable(doing, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, and before one the first error counts
	t := turn{Tx: tx, on: on}
	if err := tx.QueryRowContext(ctx, s.lockLease).Scan(&t.holder, &t.live); err != nil {
		return unavailable(doing, err)
	}
	if err := do(t); err != nil {
		return unavailable(doing, err)
	}
	return unavailable(doing, tx.Commit())
}

// snapshot runs do on one state of the store.
func (s *Store) snapshot(ctx context.Context, doing string, do func(*sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return unavailable(doing, err)
	}
	defer tx.Rollback() //nolint:errcheck // it has only read
	return unavailable(doing, do(tx))
}

// unavailable says of an error what it means to who asked: what the store itself has decided, or that it cannot be asked.
func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	for _, own := range []error{
		status.ErrMoved, status.ErrNotHeld, notify.ErrUnknownNotification, notify.ErrBadCursor, notify.ErrStatusUnavailable, ErrOtherCluster,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("%w: %s: %w", notify.ErrStatusUnavailable, doing, err)
}
