package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// Place is an offset of a partition.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Ends says where every partition of the topics ends now for whoever reads only what is committed. Each broker is asked
// once.
func (r *Reader) Ends(topics []string) ([]Place, error) { return r.edges(topics, sarama.OffsetNewest) }

// partitionsOf gives the partitions of a topic, with and without leaders. Sarama reports a partition without a leader as an error
// of the first look at the topic; it keeps all of the answer.
func partitionsOf(client sarama.Client, topic string) ([]int32, error) {
	ps, err := client.Partitions(topic)
	if errors.Is(err, sarama.ErrLeaderNotAvailable) {
		ps, err = client.Partitions(topic)
	}
	return ps, err
}

// edges gives the ends of all partitions, or with [sarama.OffsetOldest] their beginnings.
func (r *Reader) edges(topics []string, which int64) ([]Place, error) {
	return r.edgesBut(topics, which, func(_ topicPartition, err error) error { return err })
}

// edgesBut is edges without the partitions for which skip, given the reason why a partition has no answer, returns nil.
func (r *Reader) edgesBut(topics []string, which int64, skip func(topicPartition, error) error) ([]Place, error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, err
	}
	requests := map[*sarama.Broker]*sarama.OffsetRequest{}
	for _, topic := range topics {
		ps, err := partitionsOf(client, topic)
		if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			return nil, fmt.Errorf("%w: %s", ErrNoTopic, topic)
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the partitions of %s: %w", topic, err)
		}
		for _, p := range ps {
			tp := topicPartition{topic, p}
			leader, err := r.conn.leader(tp)
			if err != nil {
				if err = skip(tp, fmt.Errorf("find the leader of %s: %w", tp, err)); err != nil {
					return nil, err
				}
				continue
			}
			if requests[leader] == nil {
				requests[leader] = sarama.NewOffsetRequest(r.conn.config.Version)
				requests[leader].IsolationLevel = sarama.ReadCommitted
			}
			requests[leader].AddBlock(topic, p, which, 1)
		}
	}
	var edges []Place
	for leader, req := range requests {
		some, err := r.edgesAt(leader, req, skip)
		if err != nil {
			_ = client.RefreshMetadata(topics...) // another may lead by now
			return nil, err
		}
		edges = append(edges, some...)
	}
	return edges, nil
}

func (r *Reader) edgesAt(leader *sarama.Broker, req *sarama.OffsetRequest, skip func(topicPartition, error) error) (edges []Place, err error) {
	resp, err := leader.GetAvailableOffsets(req)
	if err != nil {
		_ = leader.Close() // the next one who needs it dials again
		return nil, fmt.Errorf("ask %s for the edges of its partitions: %w", leader.Addr(), err)
	}
	for topic, blocks := range resp.Blocks {
		for p, b := range blocks {
			if b.Err != sarama.ErrNoError {
				r.conn.lookUpSoon(topic)
				if err := skip(topicPartition{topic, p}, fmt.Errorf("ask for an edge of %s/%d: %w", topic, p, b.Err)); err != nil {
					return nil, err
				}
				continue
			}
			edges = append(edges, Place{topic, p, b.Offset})
		}
	}
	return edges, nil
}

// Commit commits places in the name of a group without members, for those who watch how far groups have come. It is
// refused while the group has members.
func (r *Reader) Commit(group string, at []Place) error {
	o, err := r.offsets(group)
	if err != nil {
		return err
	}
	defer o.conn.close()
	cs := make([]committed, len(at))
	for i, p := range at {
		cs[i] = committed{topicPartition{p.Topic, p.Partition}, p.Offset, ""}
	}
	if err := o.commitForNobody(cs); err != nil {
		return fmt.Errorf("commit for group %s: %w", group, err)
	}
	return nil
}
