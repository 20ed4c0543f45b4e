package kafka

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/IBM/sarama"
)

// aborted tells the batches of aborted transactions within one answer. An answer names them only to whoever asks for what
// is committed.
type aborted struct {
	ahead []*sarama.AbortedTransaction // that begin later, in order
	open  map[int64]bool               // ids of producers whose batches belong to one
}

func newAborted(block *sarama.FetchResponseBlock) *aborted {
	ahead := slices.Clone(block.AbortedTransactions)
	slices.SortFunc(ahead, func(a, b *sarama.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &aborted{ahead, map[int64]bool{}}
}

// has reports whether a batch, the next of the answer, is to be left out.
func (a *aborted) has(b *sarama.RecordBatch) bool {
	for len(a.ahead) > 0 && a.ahead[0].FirstOffset <= b.LastOffset() {
		a.open[a.ahead[0].ProducerID] = true
		a.ahead = a.ahead[1:]
	}
	if b.Control && aborts(b) {
		delete(a.open, b.ProducerID)
	}
	return b.IsTransactional && !b.Control && a.open[b.ProducerID]
}

// aborts reports whether a control batch ends its producer's transaction by aborting it: its key is a version and a type,
// 16 bits each, and type 0 aborts.
func aborts(b *sarama.RecordBatch) bool {
	return len(b.Records) > 0 && len(b.Records[0].Key) >= 4 && binary.BigEndian.Uint16(b.Records[0].Key[2:]) == 0
}
