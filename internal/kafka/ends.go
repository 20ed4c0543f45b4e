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
func (r *Reader) Ends(topics []string) ([]Place, error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, err
	}
	requests := map[*sarama.Broker]*sarama.OffsetRequest{}
	for _, topic := range topics {
		ps, err := client.Partitions(topic)
		if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			return nil, fmt.Errorf("%w: %s", ErrNoTopic, topic)
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the partitions of %s: %w", topic, err)
		}
		for _, p := range ps {
			leader, err := client.Leader(topic, p)
			if err != nil {
				return nil, fmt.Errorf("find the leader of %s/%d: %w", topic, p, err)
			}
			if requests[leader] == nil {
				requests[leader] = sarama.NewOffsetRequest(r.conn.config.Version)
				requests[leader].IsolationLevel = sarama.ReadCommitted
			}
			requests[leader].AddBlock(topic, p, sarama.OffsetNewest, 1)
		}
	}
	var ends []Place
	for leader, req := range requests {
		some, err := r.endsAt(leader, req)
		if err != nil {
			_ = client.RefreshMetadata(topics...) // another may lead by now
			return nil, err
		}
		ends = append(ends, some...)
	}
	return ends, nil
}

func (r *Reader) endsAt(leader *sarama.Broker, req *sarama.OffsetRequest) (ends []Place, err error) {
	resp, err := leader.GetAvailableOffsets(req)
	if err != nil {
		_ = leader.Close() // the next one who needs it dials again
		return nil, fmt.Errorf("ask %s where its partitions end: %w", leader.Addr(), err)
	}
	for topic, blocks := range resp.Blocks {
		for p, b := range blocks {
			if b.Err != sarama.ErrNoError {
				return nil, fmt.Errorf("ask for the end of %s/%d: %w", topic, p, b.Err)
			}
			ends = append(ends, Place{topic, p, b.Offset})
		}
	}
	return ends, nil
}

// Commit commits places in the name of a group without members, for those who watch how far groups have come. It is
// refused while the group has members.
func (r *Reader) Commit(group string, at []Place) error {
	o, err := r.offsets(group)
	if err != nil {
		return err
	}
	defer o.conn.close()
	o.instance = nil
	cs := make([]committed, len(at))
	for i, p := range at {
		cs[i] = committed{topicPartition{p.Topic, p.Partition}, p.Offset, ""}
	}
	answers, err := o.commit(member{generation: sarama.GroupGenerationUndefined}, cs)
	for i := 0; err == nil && i < len(answers); i++ {
		if answers[i] != sarama.ErrNoError {
			err = answers[i]
		}
	}
	if err != nil {
		return fmt.Errorf("commit for group %s: %w", group, err)
	}
	return nil
}
