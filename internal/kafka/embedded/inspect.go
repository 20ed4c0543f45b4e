package embedded

import (
	"errors"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// inspector refuses batches before kfake appends them. Apache Kafka checks what its clients write; kfake checks only a batch's
// header, and one bad batch would then stand between its readers and all later records. The inspector refuses what Apache Kafka
// refuses, and also what Apache Kafka accepts unread but no consumer can decode. kfake handles requests one by one, so the
// inspector needs no lock.
type inspector struct {
	cluster *kfake.Cluster
	log     *zap.Logger
	refusal *kfake.FaultHandle // of the request before; nil when it was accepted whole
	refused int                // batches since the last log line
	logged  time.Time
}

func (i *inspector) install() { i.cluster.ControlKey(int16(kmsg.Produce), i.produce) }

// produce marks the partitions of the request whose batch is refused. The other partitions are appended as usual.
func (i *inspector) produce(r kmsg.Request) (kmsg.Response, error, bool) {
	if i.refusal != nil { // a fault that the request did not reach, because its topic is unknown, must not outlive the request
		i.refusal.Remove()
		i.refusal = nil
	}
	var faults []kfake.Fault
	for _, t := range r.(*kmsg.ProduceRequest).Topics {
		for _, p := range t.Partitions {
			answer, why := judge(p.Records)
			if answer == nil {
				continue
			}
			faults = append(faults, kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: t.Topic, TopicID: t.TopicID, Partitions: []int32{p.Partition},
				Err: answer, When: func(x kmsg.Request) bool { return x == r },
			})
			i.report(t.Topic, p.Partition, why)
		}
	}
	if len(faults) > 0 {
		i.refusal = i.cluster.Fault(faults...)
	}
	return nil, nil, false
}

// usualSize is the decompressed size, in bytes, that batches of our own producers stay below.
const usualSize = 4 * recordbatch.SmallSize

// judge returns the error with which a batch is refused and the reason; nil for a good batch, and for one that kfake itself
// refuses.
func judge(raw []byte) (*kerr.Error, string) {
	b, err := recordbatch.Next(raw)
	switch {
	case err != nil, len(b.Raw) != len(raw), !b.Intact(), b.Control():
		return nil, ""
	case b.LogAppendTime(): // only a broker sets it; kfake would write its own time below the producer's checksum
		return kerr.InvalidTimestamp, "its producer says that the broker set its time"
	case b.Count <= 0 || int64(b.Count) != int64(b.LastOffsetDelta)+1:
		return kerr.InvalidRecord, "its header states another number of records than of offsets"
	}
	_, err = b.Open(usualSize, nil)
	if errors.Is(err, recordbatch.ErrTooLarge) {
		_, err = b.Open(recordbatch.MaxSize, nil)
		debug.FreeOSMemory() // whoever sends many of these must not grow the process to many times MaxSize
	}
	if err != nil {
		return kerr.InvalidRecord, err.Error()
	}
	return nil, ""
}

func (i *inspector) report(topic string, partition int32, why string) {
	i.refused++
	if time.Since(i.logged) < time.Minute {
		return
	}
	i.log.Warn("embedded broker: record batches were refused: their records cannot be read. Their producer got an error",
		zap.Int("batches", i.refused), zap.String("topic", topic), zap.Int32("partition", partition), zap.String("last", why))
	i.refused, i.logged = 0, time.Now()
}
