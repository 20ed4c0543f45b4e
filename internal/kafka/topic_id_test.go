package kafka

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTopicID_SurvivesItsText(t *testing.T) {
	id := TopicID{1, 0xfe, 0xff}
	require.Equal(t, "Af7_AAAAAAAAAAAAAAAAAA", id.String())
	got, err := ParseTopicID(id.String())
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Empty(t, TopicID{}.String())
	got, err = ParseTopicID("")
	require.NoError(t, err)
	require.True(t, got.IsZero())
	for _, s := range []string{"x", "Af7_AAAAAAAAAAAAAAAAA", "Af7_AAAAAAAAAAAAAAAAAA==", "Af7+AAAAAAAAAAAAAAAAAA", "Af7_AAAAAAAAAAAAAAAAAAAA"} {
		_, err = ParseTopicID(s)
		require.Error(t, err, s)
	}
	require.True(t, id.Differs(TopicID{2}))
	require.False(t, id.Differs(id))
	require.False(t, id.Differs(TopicID{}))
	require.False(t, TopicID{}.Differs(id))
}

func TestReader_TopicIDs(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "a", "b"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := Config{Brokers: c.ListenAddrs()}
	r, err := NewReader(cfg)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	ids, err := r.TopicIDs([]string{"a", "b", "none"})
	require.NoError(t, err)
	require.Equal(t, map[string]TopicID{"a": c.TopicInfo("a").TopicID, "b": c.TopicInfo("b").TopicID}, ids)

	conf, err := cfg.commits()
	require.NoError(t, err)
	conf.Metadata.Full = true // without it nobody looks up the controller
	admin, err := sarama.NewClusterAdmin(cfg.Brokers, conf)
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.DeleteTopic("a"))
	ids, err = r.TopicIDs([]string{"a"})
	require.NoError(t, err)
	require.Empty(t, ids)
	require.NoError(t, admin.CreateTopic("a", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	anew, err := r.TopicIDs([]string{"a"})
	require.NoError(t, err)
	require.Equal(t, TopicID(c.TopicInfo("a").TopicID), anew["a"])
	ids, err = r.TopicIDs(nil)
	require.NoError(t, err)
	require.Empty(t, ids)
}

// A broker from before 2.8 answers metadata requests up to version 9, which has no ids.
func TestReader_TopicIDsOfAnOldBrokerAreUnknown(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "a"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	limitMetadata(c, 9)
	r, err := NewReader(Config{Brokers: c.ListenAddrs()})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	ids, err := r.TopicIDs([]string{"a"})
	require.NoError(t, err)
	require.Equal(t, map[string]TopicID{"a": {}}, ids)
}

// limitMetadata makes the cluster say that it knows metadata requests up to a version.
func limitMetadata(c *kfake.Cluster, version int16) {
	c.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key := int16(0); key <= kmsg.MaxKey; key++ {
			known := kmsg.RequestForKey(key)
			if known == nil {
				continue
			}
			k := kmsg.ApiVersionsResponseApiKey{ApiKey: key, MaxVersion: known.MaxVersion()}
			if key == int16(kmsg.Metadata) {
				k.MaxVersion = version
			}
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
		return resp, nil, true
	})
}
