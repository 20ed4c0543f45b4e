package status

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestABarrierOpensOnceTheStoreHasReadWhatWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		b := &Barrier{Ends: l.ends, Positions: m.Positions}
		require.NoError(t, b.Wait(t.Context()), "nothing is there")
		l.write(part{jobs, 0}, "{}")
		began := time.Now()
		require.ErrorIs(t, b.Wait(t.Context()), notify.ErrStatusUnavailable, "nobody records")
		require.Equal(t, time.Second, time.Since(began))
		_, stop := record(t, m, l, zap.NewNop())
		defer stop()
		require.NoError(t, b.Wait(t.Context()))
		m.with(func(m *memory) { m.away = true })
		require.ErrorIs(t, b.Wait(t.Context()), notify.ErrStatusUnavailable, "it cannot be asked")
		b.Ends = func() ([]kafka.Place, error) { return nil, errors.New("no Kafka") }
		require.ErrorIs(t, b.Wait(t.Context()), notify.ErrStatusUnavailable)
	})
}

// All who wait at once share a look, and none is given one that began before it came.
func TestABarrierLooksOnceForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		answer := make(chan []kafka.Place)
		b := &Barrier{
			Ends:      func() ([]kafka.Place, error) { looks.Add(1); return <-answer, nil },
			Positions: func(context.Context) ([]Position, error) { return []Position{{Topic: jobs, Next: 5}}, nil },
		}
		var opened atomic.Int32
		var waiting sync.WaitGroup
		wait := func() {
			waiting.Go(func() {
				if b.Wait(context.Background()) == nil {
					opened.Add(1)
				}
			})
		}
		wait()
		synctest.Wait() // its look is under way
		for range 100 {
			wait()
		}
		synctest.Wait()
		require.EqualValues(t, 1, looks.Load())
		answer <- []kafka.Place{{Topic: jobs, Partition: 0, Offset: 5}}
		synctest.Wait()
		require.EqualValues(t, 1, opened.Load(), "the others came later than that look")
		require.EqualValues(t, 2, looks.Load())
		answer <- []kafka.Place{{Topic: jobs, Partition: 0, Offset: 5}}
		waiting.Wait()
		require.EqualValues(t, 101, opened.Load())
		require.EqualValues(t, 2, looks.Load())
	})
}

// A caller that goes away takes nothing from those who share its look.
func TestABarrierOutlivesWhoCameFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan []kafka.Place)
		b := &Barrier{
			Ends:      func() ([]kafka.Place, error) { return <-answer, nil },
			Positions: func(context.Context) ([]Position, error) { return nil, nil },
		}
		go func() { _ = b.Wait(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		impatient, patient := make(chan error, 1), make(chan error, 1)
		go func() { impatient <- b.Wait(ctx) }()
		synctest.Wait()
		go func() { patient <- b.Wait(context.Background()) }()
		synctest.Wait()
		cancel()
		require.Error(t, <-impatient)
		answer <- nil
		answer <- nil
		require.NoError(t, <-patient)
	})
}

func TestAReaderLooksAgainBeforeItSaysNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lives := &fewLives{}
		b := &Barrier{
			Ends:      func() ([]kafka.Place, error) { lives.there.Store(true); return nil, nil },
			Positions: func(context.Context) ([]Position, error) { return nil, nil },
		}
		r := &Reader{Lives: lives, Barrier: b}
		life, err := r.Get(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "a", life.ID)
		_, err = r.Get(t.Context(), "b")
		require.ErrorIs(t, err, notify.ErrUnknownNotification)
		b.Ends = func() ([]kafka.Place, error) { return nil, errors.New("no Kafka") }
		_, err = r.Get(t.Context(), "b")
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
		_, err = r.Get(t.Context(), "a")
		require.NoError(t, err, "a hit asks nobody else")
	})
}

// fewLives knows "a", once it is there.
type fewLives struct {
	Lives
	there atomic.Bool
}

func (l *fewLives) Get(_ context.Context, id string) (*notify.Life, error) {
	if id == "a" && l.there.Load() {
		return &notify.Life{ID: id}, nil
	}
	return nil, notify.ErrUnknownNotification
}
