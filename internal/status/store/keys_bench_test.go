package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// BenchmarkKeys is a batch of 1,000 new keys, claimed and settled.
func BenchmarkKeys(b *testing.B) {
	s := open(b, Config{Dir: b.TempDir()})
	n := 0
	for b.Loop() {
		claims, settled := make([]notify.Claim, 1000), make([]notify.Settlement, 1000)
		for i := range claims {
			n++
			claims[i] = claimOf(fmt.Sprint("key-", n), noon)
			settled[i] = settlementOf(claims[i], notify.OutcomeAnswered)
		}
		require.Equal(b, notify.ClaimGranted, claim(b, s, claims...)[999].State)
		settle(b, s, settled...)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "keys/s")
}
