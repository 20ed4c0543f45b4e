package cmd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

// published keeps what is published.
type published struct{ all []kafka.Message }

func (p *published) Publish(_ context.Context, m kafka.Message) (int32, int64, error) {
	p.all = append(p.all, m)
	return 0, int64(len(p.all)), nil
}

// TestSettler_ReturnsOnceNoRepetitionCanBegin: a worker whose knowledge of the control topic is older than the entry calls nobody by
// the time at which a receipt is acknowledged, with some time to spare between its last look and its call.
func TestSettler_ReturnsOnceNoRepetitionCanBegin(t *testing.T) {
	require.GreaterOrEqual(t, control.InForce-worker.MaxControlAge, 250*time.Millisecond)
	synctest.Test(t, func(t *testing.T) {
		bus, began := &published{}, time.Now()
		s := settler{"control_topic", bus}
		require.NoError(t, s.Settle(t.Context(), "0190163d-8694-739b-aea5-966c26f8ad91", 2))
		require.Equal(t, control.InForce, time.Since(began))
		require.Len(t, bus.all, 1)
		require.Equal(t, "settled:0190163d-8694-739b-aea5-966c26f8ad91/2", string(bus.all[0].Key))

		ctx, cancel := context.WithTimeout(t.Context(), control.InForce/2)
		defer cancel()
		require.ErrorIs(t, s.Settle(ctx, "0190163d-8694-739b-aea5-966c26f8ad91", 2), notify.ErrBusUnavailable, "nobody is told before")
	})
}
