package kafka

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEnsureCreates(t *testing.T) {
	cfg := Config{Brokers: kafkatest.Brokers(t)}
	a, b := kafkatest.Name(t), kafkatest.Name(t)
	specs := []TopicSpec{
		{Name: a, Partitions: 3, MaxMessageBytes: 2 << 20, Retention: 14 * 24 * time.Hour},
		{Name: b, Partitions: 1, MaxMessageBytes: 3 << 20, Config: map[string]string{"cleanup.policy": "compact"}},
	}

	_, err := Ensure(t.Context(), cfg, specs, false)
	var missing *MissingTopicsError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{a, b}, missing.Topics)
	require.ErrorContains(t, err, "kafka.create_topics")

	var wg sync.WaitGroup
	for range 3 { // several processes start at once
		wg.Go(func() {
			if _, err := Ensure(t.Context(), cfg, specs, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	r, err := Ensure(t.Context(), cfg, specs, false)
	require.NoError(t, err)
	require.Empty(t, r.Created)
	require.Empty(t, r.Faults)
	require.NotEmpty(t, r.ClusterID)
	require.Equal(t, map[string]int32{a: 3, b: 1}, r.Partitions)
	require.Equal(t, 2<<20, r.MaxMessageBytes, "the smallest")
}

func TestEnsureReportsWhatItMade(t *testing.T) {
	cfg := Config{Brokers: kafkatest.Brokers(t)}
	name := kafkatest.Name(t)
	r, err := Ensure(t.Context(), cfg, []TopicSpec{{Name: name, Partitions: 2, MaxMessageBytes: 5000}}, true)
	require.NoError(t, err)
	require.Equal(t, []string{name}, r.Created)
	require.Equal(t, map[string]int32{name: 2}, r.Partitions)
	require.Equal(t, 5000, r.MaxMessageBytes)
}

func TestEnsureNamesWhatIsTooSmall(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	small := kafkatest.Topic(t, brokers, 2, "max.message.bytes", "1000", "retention.ms", "60000", "cleanup.policy", "compact")
	good := kafkatest.Topic(t, brokers, 1, "max.message.bytes", "9000", "retention.ms", "-1")
	specs := []TopicSpec{
		{Name: small, Partitions: 1, MaxMessageBytes: 5000, Retention: time.Hour},
		{Name: good, Partitions: 1, MaxMessageBytes: 5000, Retention: time.Hour},
	}
	r, err := Ensure(t.Context(), Config{Brokers: brokers}, specs, true)
	require.NoError(t, err)
	require.Equal(t, 1000, r.MaxMessageBytes)
	require.Len(t, r.Faults, 1, "one for each topic")
	require.Contains(t, r.Faults[0], "topic "+small+": max.message.bytes is 1000, less than the 5000")
	require.Contains(t, r.Faults[0], "retention.ms is 60000 (1m0s), less than the 3600000 (1h0m0s)")
	require.Contains(t, r.Faults[0], "cleanup.policy is compact and must be delete")
	require.Contains(t, r.Faults[0], "Fix it with kafka-configs.sh --bootstrap-server \"$BOOTSTRAP\" --alter --entity-type topics --entity-name "+small+
		" --add-config cleanup.policy=delete,max.message.bytes=5000,retention.ms=3600000")
	require.Equal(t, int32(2), r.Partitions[small], "as it is, not as it should be")
}

// Who may not read the settings may still start.
func TestEnsureWithoutDescribeConfigs(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "open", "closed"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "closed", Err: kerr.TopicAuthorizationFailed, Count: -1})
	r, err := Ensure(t.Context(), Config{Brokers: c.ListenAddrs()}, []TopicSpec{{Name: "open"}, {Name: "closed"}}, false)
	require.NoError(t, err)
	require.Len(t, r.Faults, 1)
	require.Contains(t, r.Faults[0], "topic closed: its settings cannot be read")
	require.Equal(t, 1048588, r.MaxMessageBytes, "of the one that can")
}

// The controller has made a topic before its brokers know it. Whoever publishes in between is refused.
func TestEnsureWaitsUntilTheBrokersKnow(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "late"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	denied := 0
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.MetadataRequest)
		if len(req.Topics) == 0 || denied == 4 {
			return nil, nil, false
		}
		denied++
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		host, port, _ := net.SplitHostPort(c.ListenAddrs()[0])
		n, _ := strconv.Atoi(port)
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(n)}}
		resp.ControllerID = 0
		late := kmsg.NewMetadataResponseTopic()
		late.Topic, late.ErrorCode = kmsg.StringPtr("late"), kerr.UnknownTopicOrPartition.Code
		resp.Topics = append(resp.Topics, late)
		return resp, nil, true
	})
	_, err = Ensure(t.Context(), Config{Brokers: c.ListenAddrs()}, []TopicSpec{{Name: "late", Partitions: 1}}, true)
	require.NoError(t, err)
	require.Equal(t, 4, denied, "it was asked until it knew")
}

func TestEnsureWithoutKafka(t *testing.T) {
	_, err := Ensure(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}}, []TopicSpec{{Name: "t"}}, true)
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestEnsureRefusal(t *testing.T) {
	if os.Getenv("LAUDSPEAKER_TEST_BROKERS") == "" {
		t.Skip("the embedded broker takes any name")
	}
	cfg := Config{Brokers: kafkatest.Brokers(t)}
	_, err := Ensure(t.Context(), cfg, []TopicSpec{{Name: "not a topic", Partitions: 1}}, true)
	require.ErrorContains(t, err, "not a topic")
	_, err = Ensure(t.Context(), cfg, []TopicSpec{{Name: kafkatest.Name(t), Partitions: 1, Replication: 99}}, true)
	require.ErrorContains(t, err, "kafka.replication (99)")
}

func TestFormatTopics(t *testing.T) {
	specs := []TopicSpec{
		{Name: "email_topic", Partitions: 12, MaxMessageBytes: 5505024, Retention: 14 * 24 * time.Hour},
		{Name: "email_topic.dlq", Partitions: 3, Replication: 3, MaxMessageBytes: 5505024, Retention: 30 * 24 * time.Hour},
		{Name: "control_topic", Partitions: 1, Config: map[string]string{"cleanup.policy": "compact"}},
	}
	for _, format := range TopicFormats() {
		t.Run(format, func(t *testing.T) {
			got, err := FormatTopics(specs, format)
			require.NoError(t, err)
			golden := filepath.Join("testdata", "topics."+format)
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
	_, err := FormatTopics(specs, "yaml")
	require.ErrorContains(t, err, "text, kafka-topics, terraform")
}
