package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// keyFor is an ordering key whose notifications go to that partition of four.
func keyFor(partition int32) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key-", i); kafka.Home([]byte(key))%4 == partition {
			return key
		}
	}
}

func keyed(partition int32) string {
	return fmt.Sprintf(`{"channel":"email","recipient":"ada@test.example","ordering_key":%q,"payload":{"subject":"s","text":"t"}}`, keyFor(partition))
}

// With one partition that cannot be written the API refuses what belongs there, and nothing else, whatever waits for it.
func TestAPI_DeadPartitionRefusesItsKeysOnly(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]kfake.Fault{
		"not enough replicas": {{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas}},
		"no leader": {
			{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition},
			{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			api := boot(t, "serve-api", "log: {level: info}\nkafka: {brokers: ['"+cluster.ListenAddrs()[0]+"'], partitions: 4}\n"+
				"gateways: {kept: {type: capture, dir: '"+t.TempDir()+"'}}\nchannels: {email: {gateways: [kept]}}\n")
			s := newSubmitter(t, api)
			for p := range int32(4) {
				require.Equal(t, http.StatusAccepted, s.post(keyed(p)))
			}
			var installed []*kfake.FaultHandle
			for _, f := range faults {
				f.Topic, f.Partitions, f.Count = "email_topic", []int32{0}, -1
				installed = append(installed, cluster.Fault(f))
			}

			const many = 400 // more than the 256 records that Sarama lets wait
			var begun, taken atomic.Int32
			var flood sync.WaitGroup
			over := make(chan struct{})
			for range many {
				flood.Go(func() {
					begun.Add(1)
					for {
						if s.post(keyed(0)) == http.StatusAccepted {
							taken.Add(1)
						}
						select {
						case <-over:
							return
						case <-time.After(3 * time.Second): // the rest of the machine belongs to the others
						}
					}
				})
			}
			require.Eventually(t, func() bool { return begun.Load() == many }, patience, time.Millisecond)
			s.requireBatch()
			for i := range int32(60) {
				s.requireAccepted(keyed(1 + i%3))
			}
			s.requireBatch()
			close(over)
			flood.Wait()
			require.Zero(t, taken.Load())
			require.Equal(t, http.StatusServiceUnavailable, s.post(keyed(0)))

			for _, f := range installed {
				f.Remove()
			}
			require.Eventually(t, func() bool { return s.post(keyed(0)) == http.StatusAccepted }, patience, 10*time.Millisecond)
			for p := range int32(4) {
				require.Equal(t, http.StatusAccepted, s.post(keyed(p)))
			}
		})
	}
}

// submitter posts to an API from many goroutines.
type submitter struct {
	t      *testing.T
	api    *program
	client *http.Client
}

func newSubmitter(t *testing.T, api *program) *submitter {
	s := &submitter{t: t, api: api, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// post submits a notification and returns the status of the answer; 0 without one.
func (s *submitter) post(body string) int {
	response, err := s.client.Post(s.api.API+"/v1/notifications", "application/json", strings.NewReader(body))
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// requireAccepted submits a notification until it is accepted: on a machine without CPU to spare, one may be refused in time.
func (s *submitter) requireAccepted(body string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.post(body) == http.StatusAccepted }, patience, 10*time.Millisecond)
}

// requireBatch submits a batch for all partitions: of its items those of partition 0 are refused, and the others accepted.
func (s *submitter) requireBatch() {
	s.t.Helper()
	for begun := time.Now(); ; {
		refused, others := s.batch()
		require.Equal(s.t, 100, refused, "of partition 0")
		if others == 0 {
			return
		}
		require.Less(s.t, time.Since(begun), patience, "%d items of other partitions are refused", others)
	}
}

// batch submits a batch for all partitions, and returns how many of its 100 items of partition 0, and how many others, were refused.
func (s *submitter) batch() (refused, others int) {
	s.t.Helper()
	var items []string
	for i := range int32(400) {
		items = append(items, keyed(i%4))
	}
	response, err := s.client.Post(s.api.API+"/v1/notifications/batch", "application/json", strings.NewReader(`{"notifications":[`+strings.Join(items, ",")+`]}`))
	require.NoError(s.t, err)
	defer response.Body.Close()
	require.Equal(s.t, http.StatusOK, response.StatusCode)
	var answer struct{ Results []struct{ Status int } }
	require.NoError(s.t, json.NewDecoder(response.Body).Decode(&answer))
	require.Len(s.t, answer.Results, len(items))
	for i, r := range answer.Results {
		switch {
		case r.Status == http.StatusAccepted:
		case i%4 == 0:
			refused++
		default:
			others++
		}
	}
	return refused, others
}

// A partition of dead letters without a leader hides its own letters only, and is named.
func TestDLQ_PartitionWithoutALeaderIsLeftOut(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "email_topic.dlq"), kfake.SeedTopics(2, "status_topic"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	b := &bus{t: t, brokers: cluster.ListenAddrs(), section: "kafka: {brokers: ['" + cluster.ListenAddrs()[0] + "']}\n"}
	b.connect()
	g := &graveyard{bus: b, file: write(t, simulated(b))}
	desk := dispatcher.Desk{Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
	var ids []string
	for p := range int32(2) {
		ids = append(ids, notify.NewID())
		m := desk.Undecodable(&kafka.UndecodableBatch{Record: &kafka.Record{
			Topic: "email_topic", Partition: p, Value: []byte("v"), Headers: []kafka.Header{{Key: notify.HeaderID, Value: []byte(ids[p])}},
		}})
		b.publish(m)
	}
	require.ElementsMatch(t, ids, g.listed())
	away := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Metadata}, Topic: "email_topic.dlq", Partitions: []int32{1}, Err: kerr.LeaderNotAvailable, Count: -1,
	})
	out, said := g.dlq("list", "--json")
	require.Contains(t, out, ids[0])
	require.NotContains(t, out, ids[1])
	require.Contains(t, said, "note: partition 1 of email_topic.dlq has no leader, since a broker is away: its dead letters are left out\n")
	require.Equal(t, 1, strings.Count(said, "has no leader"), "once")
	away.Remove()
	require.ElementsMatch(t, ids, g.listed())
}
