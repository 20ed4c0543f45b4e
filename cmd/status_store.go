package cmd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

// statusStore is the status store of a process that does not wait for it: until it is open, whoever asks is told that it
// cannot be asked now.
type statusStore struct {
	cfg   store.Config
	log   *zap.Logger
	ready chan struct{} // closed once it is open

	mu   sync.Mutex
	open *store.Store
	why  error // it is not
}

func (p *process) storeConfig(log *zap.Logger) store.Config {
	return store.Config{DSN: string(p.cfg.Status.DSN), Dir: p.dataDir, Log: log}
}

func newStatusStore(cfg store.Config, log *zap.Logger) *statusStore {
	return &statusStore{cfg: cfg, log: log, ready: make(chan struct{}), why: errors.New("it is not open yet")}
}

// Run opens the store, as often as it takes, and closes it when ctx ends.
func (s *statusStore) Run(ctx context.Context) error {
	var logged time.Time
	for {
		opened, err := store.Open(ctx, s.cfg)
		if err == nil {
			s.set(opened, nil)
			close(s.ready)
			s.log.Info("the status store is open", zap.String("kind", storeKind(s.cfg.DSN)))
			<-ctx.Done()
			return opened.Close()
		}
		s.set(nil, err)
		if time.Since(logged) >= 10*time.Second && ctx.Err() == nil {
			logged = time.Now()
			s.log.Warn("the status store cannot be opened yet; waiting. Notifications are taken and delivered meanwhile", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func storeKind(dsn string) string {
	if dsn == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

func (s *statusStore) set(opened *store.Store, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.why = opened, why
}

func (s *statusStore) get() (*store.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		return nil, fmt.Errorf("%w: %w", notify.ErrStatusUnavailable, s.why)
	}
	return s.open, nil
}

// Ready says why it is not open. Trouble that comes later is no reason to take this process out of service.
func (s *statusStore) Ready() error {
	_, err := s.get()
	return err
}

// ask asks the store, if it is open.
func ask[T any](s *statusStore, question func(*store.Store) (T, error)) (none T, err error) {
	opened, err := s.get()
	if err != nil {
		return none, err
	}
	return question(opened)
}

func (s *statusStore) Get(ctx context.Context, id string) (*notify.Life, error) {
	return ask(s, func(o *store.Store) (*notify.Life, error) { return o.Get(ctx, id) })
}

func (s *statusStore) List(ctx context.Context, f notify.LifeFilter, cursor string, limit int) (notify.Lives, error) {
	return ask(s, func(o *store.Store) (notify.Lives, error) { return o.List(ctx, f, cursor, limit) })
}

func (s *statusStore) Events(ctx context.Context, after int64, f notify.LifeFilter, limit int) ([]notify.SeenEvent, error) {
	return ask(s, func(o *store.Store) ([]notify.SeenEvent, error) { return o.Events(ctx, after, f, limit) })
}

func (s *statusStore) LastSeq(ctx context.Context) (int64, error) {
	return ask(s, func(o *store.Store) (int64, error) { return o.LastSeq(ctx) })
}

func (s *statusStore) Positions(ctx context.Context) ([]status.Position, error) {
	return ask(s, func(o *store.Store) ([]status.Position, error) { return o.Positions(ctx) })
}

func (s *statusStore) Lease(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	return ask(s, func(o *store.Store) (bool, error) { return o.Lease(ctx, holder, ttl) })
}

func (s *statusStore) Cluster(ctx context.Context, id string) error {
	_, err := ask(s, func(o *store.Store) (none struct{}, err error) { return none, o.Cluster(ctx, id) })
	return err
}

func (s *statusStore) Record(ctx context.Context, holder string, b status.Batch) error {
	_, err := ask(s, func(o *store.Store) (none struct{}, err error) { return none, o.Record(ctx, holder, b) })
	return err
}

func (s *statusStore) Retain(ctx context.Context, before time.Time) (int, error) {
	return ask(s, func(o *store.Store) (int, error) { return o.Retain(ctx, before) })
}

func (s *statusStore) Claim(ctx context.Context, claims []notify.Claim) ([]notify.Claimed, error) {
	return ask(s, func(o *store.Store) ([]notify.Claimed, error) { return o.Claim(ctx, claims) })
}

func (s *statusStore) Settle(ctx context.Context, settled []notify.Settlement) error {
	_, err := ask(s, func(o *store.Store) (none struct{}, err error) { return none, o.Settle(ctx, settled) })
	return err
}

func (s *statusStore) ClaimIDs(ctx context.Context, claims []notify.IDClaim) ([]bool, error) {
	return ask(s, func(o *store.Store) ([]bool, error) { return o.ClaimIDs(ctx, claims) })
}

func (s *statusStore) ReleaseIDs(ctx context.Context, claims []notify.IDClaim) error {
	_, err := ask(s, func(o *store.Store) (none struct{}, err error) { return none, o.ReleaseIDs(ctx, claims) })
	return err
}

func (s *statusStore) HasInbound(ctx context.Context, gateway, message string) (bool, error) {
	return ask(s, func(o *store.Store) (bool, error) { return o.HasInbound(ctx, gateway, message) })
}

func (s *statusStore) KeepInbound(ctx context.Context, gateway, message string, lasting bool, at time.Time) error {
	_, err := ask(s, func(o *store.Store) (none struct{}, err error) {
		return none, o.KeepInbound(ctx, gateway, message, lasting, at)
	})
	return err
}

func (s *statusStore) Expunge(ctx context.Context, which notify.Expunge) (int, error) {
	return ask(s, func(o *store.Store) (int, error) { return o.Expunge(ctx, which) })
}

var _ interface {
	status.Store
	status.Lives
} = (*statusStore)(nil)

// storeOf opens the store of a command, which does not wait for it.
func storeOf(ctx context.Context, cfg *config.Config, p *process) (*store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	s, err := store.Open(ctx, p.storeConfig(zap.NewNop()))
	if err != nil {
		return nil, fmt.Errorf("%w: look at status.dsn and data_dir (%s), which have to be those of serve-api", err, cfg.DataDir)
	}
	return s, nil
}
