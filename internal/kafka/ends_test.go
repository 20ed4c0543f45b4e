package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// One that needs all partitions is told which have no leader, and one that does not goes on with the others.
func TestReader_PartitionsWithoutALeaderAreNamed(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 3})
	write := func(p int32) {
		require.Zero(t, kafkatest.ProduceRaw(t, c.ListenAddrs()[0], "jobs", p, goodBatch(0, "v")))
	}
	write(0)
	write(1)
	write(2)
	r, err := NewReader(Config{Brokers: c.ListenAddrs()})
	require.NoError(t, err)
	defer r.Close()
	c.fail("jobs", 1)
	bounds, without, err := r.LedBounds("jobs")
	require.NoError(t, err)
	require.Equal(t, []Bounds{{0, 0, 1}, {2, 0, 1}}, bounds)
	require.Equal(t, []int32{1}, without)
	_, err = r.Bounds("jobs")
	require.ErrorContains(t, err, "bounds of jobs: a broker is away, and some partitions have no leader until it is back: partitions [1]")
	_, err = r.Ends([]string{"jobs"})
	require.ErrorContains(t, err, "jobs/1")
	c.restore("jobs", 1)
	require.Eventually(t, func() bool {
		all, err := r.Bounds("jobs")
		return err == nil && len(all) == 3
	}, time.Minute, 5*time.Millisecond)
}
