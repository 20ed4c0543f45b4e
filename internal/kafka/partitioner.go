package kafka

import (
	"math"

	"github.com/IBM/sarama"
)

// Home is the partition number of a key that is good for topics of any size: taken modulo their partitions it is where
// [Hashed] puts the key. (Of one key in two thousand million it is not: the largest hash counts as 0.)
func Home(key []byte) int32 {
	n, _ := sarama.NewMurmur2Partitioner("").Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, math.MaxInt32)
	return n // bytes have no error
}

// partitioner puts a message where its Message.Partition says, and [Hashed] ones where Kafka's Java client would.
type partitioner struct {
	hashed, spread sarama.Partitioner
}

func newPartitioner(topic string) sarama.Partitioner {
	return &partitioner{sarama.NewMurmur2Partitioner(topic), sarama.NewRandomPartitioner(topic)}
}

func (p *partitioner) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	switch home := m.Metadata.(*sending).home; {
	case home >= 0:
		return home % n, nil
	case keyed(m):
		return p.hashed.Partition(m, n)
	default:
		return p.spread.Partition(m, n)
	}
}

// RequiresConsistency is asked of no message: [partitioner.MessageRequiresConsistency] is.
func (p *partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency lets only messages without an order avoid a partition that has no leader.
func (p *partitioner) MessageRequiresConsistency(m *sarama.ProducerMessage) bool {
	return m.Metadata.(*sending).home >= 0 || keyed(m)
}

// keyed: an empty key has no order, as a null one; Java's client would hash it and make one queue of them all.
func keyed(m *sarama.ProducerMessage) bool { return m.Key != nil && m.Key.Length() > 0 }
