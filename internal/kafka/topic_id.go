package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// TopicID is the id that Kafka gives a topic when it is created. A topic that is deleted and created again under the same
// name has another id, so offsets that were stored with the old id mean nothing in the new topic.
//
// The zero value is an unknown id: brokers before 2.8, and clusters whose metadata version is older, have none. An unknown
// id never differs from another id.
type TopicID [16]byte

// IsZero reports whether the id is unknown.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// String gives the id as Kafka prints it, 22 characters of unpadded base64url; the empty string when it is unknown.
func (id TopicID) String() string {
	if id.IsZero() {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// Differs reports whether both ids are known and not the same.
func (id TopicID) Differs(other TopicID) bool { return !id.IsZero() && !other.IsZero() && id != other }

// ParseTopicID is the inverse of [TopicID.String].
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if s == "" {
		return id, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return TopicID{}, errors.New("not the id of a topic")
	}
	return TopicID(b), nil
}

// topicIDs asks any broker for the ids of the topics, in one request. A topic that does not exist is left out; a broker that
// knows no ids gives the zero id.
func (c *lazyClient) topicIDs(topics []string) (map[string]TopicID, error) {
	client, err := c.get()
	if err != nil {
		return nil, err
	}
	return c.topicIDsFrom(client.LeastLoadedBroker(), topics)
}

func (c *lazyClient) topicIDsFrom(broker *sarama.Broker, topics []string) (map[string]TopicID, error) {
	ids, err := topicIDsAt(broker, c.config, topics)
	if err != nil && broker != nil {
		_ = broker.Close() // the next one who needs it dials again
	}
	return ids, err
}

// topicIDsAt asks one broker. Sarama lowers the version of the request to what the broker can answer: the id needs
// version 10.
func topicIDsAt(broker *sarama.Broker, conf *sarama.Config, topics []string) (map[string]TopicID, error) {
	if len(topics) == 0 {
		return nil, nil // without names Kafka would list every topic of the cluster
	}
	if broker == nil {
		return nil, sarama.ErrOutOfBrokers
	}
	resp, err := broker.GetMetadata(sarama.NewMetadataRequest(conf.Version, topics))
	if err != nil {
		return nil, fmt.Errorf("ask for the topic ids: %w", err)
	}
	ids := make(map[string]TopicID, len(resp.Topics))
	for _, t := range resp.Topics {
		if errors.Is(t.Err, sarama.ErrNoError) || errors.Is(t.Err, sarama.ErrLeaderNotAvailable) {
			ids[t.Name] = TopicID(t.Uuid)
		}
	}
	return ids, nil
}

// TopicIDs gives the ids of the topics, the zero id where the brokers know none. Topics that do not exist are left out.
func (r *Reader) TopicIDs(topics []string) (map[string]TopicID, error) {
	return r.conn.topicIDs(topics)
}

// idsEvery is how often a process asks for the ids of the topics that its claims are about.
const idsEvery = 10 * time.Second

// takeOverIDs asks the leader of a job partition, which has just answered, for the ids of its topic and of the ledger, and
// keeps them for [Ledger.topicID].
func (l *Ledger) takeOverIDs(tp topicPartition) (job, ledger TopicID, err error) {
	jobTopic, both := tp.topic, []string{tp.topic, l.topic}
	client, err := l.conn.get()
	if err != nil {
		return TopicID{}, TopicID{}, err
	}
	leader, err := client.Leader(tp.topic, tp.partition)
	if err != nil {
		return TopicID{}, TopicID{}, fmt.Errorf("find the leader of %s: %w", tp, err)
	}
	ids, err := l.conn.topicIDsFrom(leader, both)
	if err != nil {
		return TopicID{}, TopicID{}, err
	}
	var changed []string
	for _, topic := range both {
		if l.topicID(topic).Differs(ids[topic]) {
			changed = append(changed, topic)
		}
	}
	if err := l.conn.agreeOnIDs(changed, ids); err != nil {
		return TopicID{}, TopicID{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range both {
		if id := ids[topic]; !id.IsZero() || l.ids[topic].IsZero() {
			l.ids[topic] = id
		}
	}
	return ids[jobTopic], ids[l.topic], nil
}

// topicID gives the id of a topic as it was known at most some [idsEvery] ago; zero when it is unknown.
func (l *Ledger) topicID(topic string) TopicID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[topic]
}

// refreshIDs asks again for the ids of all topics that were taken over, in one request.
func (l *Ledger) refreshIDs() error {
	l.mu.Lock()
	topics := slices.Collect(maps.Keys(l.ids))
	l.mu.Unlock()
	ids, err := l.conn.topicIDs(topics)
	if err != nil {
		return err
	}
	var changed []string
	for topic, id := range ids {
		if l.topicID(topic).Differs(id) {
			changed = append(changed, topic)
		}
	}
	if err := l.conn.agreeOnIDs(changed, ids); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.ids, ids)
	return nil
}

// agreeOnIDs fails while a broker that answers knows another id of one of the topics: a broker learns of a topic that was
// deleted and created again a moment after the controller has made it, and gives the old id until then.
func (c *lazyClient) agreeOnIDs(topics []string, ids map[string]TopicID) error {
	if len(topics) == 0 {
		return nil
	}
	client, err := c.get()
	if err != nil {
		return err
	}
	for _, b := range client.Brokers() {
		broker, err := client.Broker(b.ID())
		if err != nil {
			continue // an unreachable broker has no say
		}
		said, err := topicIDsAt(broker, c.config, topics)
		if err != nil {
			_ = broker.Close() // the next one who needs it dials again
			continue
		}
		for _, topic := range topics {
			if id, ok := said[topic]; !ok || id.Differs(ids[topic]) {
				return fmt.Errorf("the brokers do not agree yet on the id of topic %s", topic)
			}
		}
	}
	return nil
}
