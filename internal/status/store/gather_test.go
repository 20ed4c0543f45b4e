package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is asked while a call runs goes with the next one, and everybody gets the answers to what they asked.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		var calls [][]int
		g := newGather(func(_ context.Context, asked []int) ([]int, error) {
			calls = append(calls, asked)
			<-leave
			doubled := make([]int, len(asked))
			for i, n := range asked {
				doubled[i] = 2 * n
			}
			return doubled, nil
		})
		var ended atomic.Int32
		ask := func(asked ...int) {
			go func() {
				got, err := g.do(t.Context(), asked)
				assert.NoError(t, err)
				for i, n := range asked {
					assert.Equal(t, 2*n, got[i])
				}
				ended.Add(1)
			}()
			synctest.Wait()
		}
		ask(1)
		ask(2, 3)
		ask(4)
		ask(make([]int, mostGathered)...)
		ask(5)
		close(leave)
		synctest.Wait()
		require.EqualValues(t, 5, ended.Load())
		require.Len(t, calls, 4)
		require.Equal(t, [][]int{{1}, {2, 3, 4}}, calls[:2])
		require.Len(t, calls[2], mostGathered)
		require.Equal(t, []int{5}, calls[3])
	})
}

func TestGatherEndsWithItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGather(func(ctx context.Context, _ []int) ([]int, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		errs := make(chan error, 3)
		ask := func(limit time.Duration) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, err := g.do(ctx, []int{1})
				errs <- err
			}()
			synctest.Wait()
		}
		began := time.Now()
		ask(3 * time.Second) // runs
		ask(2 * time.Second) // waits for its turn, and brings the next
		ask(1 * time.Second)
		for i := range 3 {
			require.ErrorIs(t, <-errs, context.DeadlineExceeded)
			require.Equal(t, time.Duration(i+1)*time.Second, time.Since(began))
		}
		g.run = func(context.Context, []int) ([]int, error) { return nil, errors.New("broken") }
		_, err := g.do(t.Context(), []int{1})
		require.EqualError(t, err, "broken")
	})
}
