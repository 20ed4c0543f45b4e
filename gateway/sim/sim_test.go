package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// verdicts returns the verdicts of four tries of the same notification.
func verdicts(t *testing.T, s *Sender, address string) []notify.Verdict {
	var all []notify.Verdict
	m := gatewaytest.Push(1)
	m.ID, m.Address = notify.NewID(), address
	for range 4 {
		_, err := s.Send(t.Context(), m)
		if err == nil {
			all = append(all, notify.Accepted)
			continue
		}
		all = append(all, notify.Judge(err).Verdict)
	}
	return all
}

func TestSender_KeywordsDecide(t *testing.T) {
	const (
		ok   = notify.Accepted
		soft = notify.Transient
		hard = notify.Permanent
		slow = notify.Throttled
		lost = notify.Ambiguous
	)
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, config.Sim{Latency: 50 * time.Millisecond, Timeout: 8 * time.Second})
		for address, want := range map[string][]notify.Verdict{
			"soft-2x@example.com": {soft, soft, ok, ok}, "soft-2x+1@example.com": {soft, soft, ok, ok}, "soft-2x:t": {soft, soft, ok, ok},
			"soft-2x": {soft, soft, ok, ok}, "+15005551000": {soft, soft, ok, ok},
			"hard@example.com": {hard, hard, hard, hard}, "+15005552999": {hard, hard, hard, hard},
			"throttle-3s@example.com": {slow, ok, ok, ok}, "+15005553000": {slow, ok, ok, ok},
			"hang@example.com": {lost, lost, lost, lost}, "+15005554000": {lost, lost, lost, lost},
			"drop-after-write@example.com": {lost, lost, lost, lost}, "+15005555000": {lost, lost, lost, lost},
			"ada@example.com": {ok, ok, ok, ok}, "ok@example.com": {ok, ok, ok, ok}, "hardy@example.com": {ok, ok, ok, ok},
			"+15005550006": {ok, ok, ok, ok}, "+150055520001": {ok, ok, ok, ok}, "+4915552000": {ok, ok, ok, ok}, "": {ok, ok, ok, ok},
		} {
			require.Equal(t, want, verdicts(t, s, address), address)
		}
	})
}

func TestSender_Times(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, config.Sim{Latency: 50 * time.Millisecond, Timeout: 8 * time.Second})
		for address, want := range map[string]time.Duration{
			"ada@example.com": 50 * time.Millisecond, "hard@example.com": 50 * time.Millisecond, "hang@example.com": 8 * time.Second,
		} {
			m, begun := gatewaytest.Push(1), time.Now()
			m.Address = address
			_, _ = s.Send(t.Context(), m)
			require.Equal(t, want, time.Since(begun), address)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := s.Send(ctx, gatewaytest.Push(2))
		require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict, "slower than the attempt may be")
	})
}

func TestSender_CountsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, config.Sim{})
		verdicts(t, s, "drop-after-write@example.com")
		verdicts(t, s, "soft-2x@example.com")
		verdicts(t, s, "hard@example.com")
		require.EqualValues(t, 4+2, s.Taken())
	})
}

// TestTryCounter_ForgetsOldest: messages without a keyword are not counted, and the counter does not grow without bound.
func TestTryCounter_ForgetsOldest(t *testing.T) {
	m := newTryCounter(10)
	require.Equal(t, 1, m.count("first"))
	for i := range 9 {
		m.count(fmt.Sprint(i))
	}
	require.Equal(t, 2, m.count("first"))
	require.Equal(t, 1, m.count("one too many"))
	require.Equal(t, 1, m.count("first"), "forgotten")
	for i := range 1000 {
		m.count(fmt.Sprint("more", i))
	}
	require.Len(t, m.tries, 10)
}

func TestNew_NamesFaults(t *testing.T) {
	_, err := New("drill", config.Sim{Latency: -1})
	require.ErrorContains(t, err, "gateways.drill")
}
