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

// partitioner puts a message where [uplink.queueOf] has decided: where its Message.Partition says, and [Hashed] ones where
// Kafka's Java client would.
type partitioner struct{}

func newPartitioner(string) sarama.Partitioner { return partitioner{} }

// Partition returns the partition that was chosen. Should the topic have fewer by now, it is another one.
func (partitioner) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	return m.Metadata.(*sending).partition % n, nil
}

// RequiresConsistency returns true: a partition without a leader counts, too.
func (partitioner) RequiresConsistency() bool { return true }

// keyed: an empty key has no order, as a null one; Java's client would hash it and make one queue of them all.
func keyed(m *sarama.ProducerMessage) bool { return m.Key != nil && m.Key.Length() > 0 }
