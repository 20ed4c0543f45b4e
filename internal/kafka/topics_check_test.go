package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const setWith = ` Fix it with kafka-configs.sh --bootstrap-server "$BOOTSTRAP" --alter --entity-type topics --entity-name jobs --add-config `

func TestTopicFaults_OneSentenceWithTheCommandThatFixesIt(t *testing.T) {
	spec := TopicSpec{Name: "jobs", Retention: time.Hour}
	compacted := TopicSpec{Name: "jobs", Config: map[string]string{"cleanup.policy": "compact"}}
	for name, c := range map[string]struct {
		spec    TopicSpec
		has     map[string]string
		brokers int
		copies  int
		want    string
	}{
		"as it should be": {spec, map[string]string{
			"retention.bytes": "-1", "retention.ms": "3600000", "unclean.leader.election.enable": "false", "min.insync.replicas": "2",
		}, 3, 3, ""},
		"settings that the broker does not know": {spec, nil, 3, 3, ""},
		"kept for ever":                          {spec, map[string]string{"retention.ms": "-1"}, 3, 3, ""},
		"removed by size": {
			spec,
			map[string]string{"retention.bytes": "0"},
			1, 1,
			"topic jobs: retention.bytes is 0: a partition that grows beyond it loses its oldest records, processed or not." + setWith + "retention.bytes=-1",
		},
		"a compacted topic has no such limit": {compacted, map[string]string{"retention.bytes": "1000", "retention.ms": "1", "cleanup.policy": "compact"}, 1, 1, ""},
		"an unclean election": {
			spec,
			map[string]string{"unclean.leader.election.enable": "true"},
			1, 1,
			"topic jobs: unclean.leader.election.enable is true: a broker that lags behind may become the leader, and what it lacks is lost although it was acknowledged." +
				setWith + "unclean.leader.election.enable=false",
		},
		"one copy is enough for an answer": {
			spec,
			map[string]string{"min.insync.replicas": "1"},
			3, 3,
			"topic jobs: min.insync.replicas is 1: what only one broker has is acknowledged, and is lost with it." + setWith + "min.insync.replicas=2",
		},
		"with two copies one must be enough": {spec, map[string]string{"min.insync.replicas": "1"}, 2, 2, ""},
		"more at once": {
			spec,
			map[string]string{"min.insync.replicas": "1", "retention.bytes": "9", "retention.ms": "60000"},
			3, 3,
			"topic jobs: retention.ms is 60000 (1m0s), less than the 3600000 (1h0m0s) that it should be: what waits longer is lost; " +
				"retention.bytes is 9: a partition that grows beyond it loses its oldest records, processed or not; " +
				"min.insync.replicas is 1: what only one broker has is acknowledged, and is lost with it." +
				setWith + "min.insync.replicas=2,retention.bytes=-1,retention.ms=3600000",
		},
		"fewer copies than brokers allow": {
			spec, nil, 4, 1,
			"topic jobs: it has 1 of the 3 replicas that 4 brokers allow. Fix it with echo '" +
				`{"version":1,"partitions":[{"topic":"jobs","partition":0,"replicas":[0,1,2]},{"topic":"jobs","partition":1,"replicas":[0,1,2]}]}` +
				`' > reassign.json; kafka-reassign-partitions.sh --bootstrap-server "$BOOTSTRAP" --reassignment-json-file reassign.json --execute`,
		},
		"two brokers allow no more": {spec, nil, 2, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fault{topic: c.spec.Name, set: map[string]string{}}
			partitions := map[int32][]int32{}
			var brokers []int32
			for i := range c.brokers {
				brokers = append(brokers, int32(i))
			}
			for p := range int32(2) {
				partitions[p] = brokers[:c.copies]
			}
			(&Report{}).compare(f, c.spec, c.has, copies(partitions))
			f.replication(brokers, partitions)
			require.Equal(t, c.want, f.sentence())
		})
	}
}

// The replicas that a partition has stay, and the new ones are spread over the brokers.
func TestReassignment(t *testing.T) {
	require.JSONEq(t, `{"version": 1, "partitions": [
		{"topic": "jobs", "partition": 0, "replicas": [7, 5, 6]}, {"topic": "jobs", "partition": 1, "replicas": [5, 6, 7]},
		{"topic": "jobs", "partition": 2, "replicas": [6, 7, 8]}, {"topic": "jobs", "partition": 3, "replicas": [5, 6, 7, 8]}]}`,
		reassignment("jobs", []int32{5, 6, 7, 8}, map[int32][]int32{0: {7}, 1: {5}, 2: {6, 7}, 3: {5, 6, 7, 8}}))
}

func TestEnsure_CreatesTopicsThatKeepWhatTheyAcknowledge(t *testing.T) {
	for name, c := range map[string]struct {
		replication int
		refuse      int16
		want        map[string]string
	}{
		"three replicas":                 {3, 0, map[string]string{"min.insync.replicas": "2", "retention.bytes": "-1", "unclean.leader.election.enable": "false"}},
		"two replicas":                   {2, 0, map[string]string{"retention.bytes": "-1", "unclean.leader.election.enable": "false"}},
		"three by default":               {0, 0, map[string]string{"min.insync.replicas": "2", "retention.bytes": "-1", "unclean.leader.election.enable": "false"}},
		"a broker that knows no such":    {3, kerr.InvalidConfig.Code, map[string]string{}},
		"a broker whose policy forbids ": {3, kerr.PolicyViolation.Code, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			var got map[string]string
			cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				topic := &req.(*kmsg.CreateTopicsRequest).Topics[0]
				got = map[string]string{}
				refused := false
				var known []kmsg.CreateTopicsRequestTopicConfig
				for _, cfg := range topic.Configs {
					got[cfg.Name] = *cfg.Value
					refused = refused || c.refuse != 0 && cfg.Name == "unclean.leader.election.enable"
					if cfg.Name != "unclean.leader.election.enable" { // kfake knows none
						known = append(known, cfg)
					}
				}
				if refused {
					resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
					rt := kmsg.NewCreateTopicsResponseTopic()
					rt.Topic, rt.ErrorCode = topic.Topic, c.refuse
					resp.Topics = append(resp.Topics, rt)
					return resp, nil, true
				}
				topic.Configs = known
				return nil, nil, false
			})
			r, err := Ensure(t.Context(), Config{Brokers: cluster.ListenAddrs()}, []TopicSpec{{Name: "jobs", Partitions: 2, Replication: c.replication}}, true)
			require.NoError(t, err)
			require.Equal(t, []string{"jobs"}, r.Created)
			require.Equal(t, c.want, got)
		})
	}
}

// The commits are in a topic of Kafka's own. What is wrong with it loses which jobs are done.
func TestEnsure_ChecksTheTopicOfCommits(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(2, "jobs", "__consumer_offsets"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	cfg := Config{Brokers: cluster.ListenAddrs()}
	conf, err := cfg.commits()
	require.NoError(t, err)
	conf.Metadata.Full = true
	admin, err := sarama.NewClusterAdmin(cfg.Brokers, conf)
	require.NoError(t, err)
	defer admin.Close()
	compact := "compact"
	require.NoError(t, admin.AlterConfig(sarama.TopicResource, "__consumer_offsets", map[string]*string{"cleanup.policy": &compact}, false))
	r, err := Ensure(t.Context(), cfg, []TopicSpec{{Name: "jobs"}}, false)
	require.NoError(t, err)
	require.Len(t, r.Faults, 2, "%s", strings.Join(r.Faults, "\n"))
	require.Contains(t, r.Faults[0], "topic jobs: min.insync.replicas is 1")
	require.Contains(t, r.Faults[1], "topic __consumer_offsets: min.insync.replicas is 1")
	require.NotContains(t, r.Partitions, "__consumer_offsets")
}
