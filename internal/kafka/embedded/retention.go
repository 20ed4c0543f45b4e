package embedded

import (
	"cmp"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Finished records are deleted once the log passes trimAbove of its bound, admission ends at fullAbove: what is on the log
// then still has room for its outcomes. A recorder that works gets to what is younger than recorderWithin, also after the
// one before it was killed: rather than delete that, admission ends.
const (
	trimAbove      = 0.7
	fullAbove      = 0.9
	recorderWithin = 30 * time.Second
)

// segment is one file of a partition's log.
type segment struct {
	topic     string
	partition int32
	end       int64 // offset after its last record: the next segment's first
	size      int64
	written   time.Time // last
}

// check deletes what is old or, where room is needed, finished, and judges whether there is room left.
func (b *Broker) check() {
	sealed, used := b.segments()
	slices.SortFunc(sealed, func(x, y segment) int { return x.written.Compare(y.written) })
	kept, used := b.trim(sealed, used, func(s segment, used int64) bool {
		return (b.old(s) || b.passes(used, trimAbove)) && b.finished(s) && b.recorded(s)
	})
	if !b.passes(used, trimAbove) {
		b.losing = false
	}
	unread, used := b.trim(kept, used, func(s segment, used int64) bool {
		return b.passes(used, fullAbove) && b.finished(s) && time.Since(s.written) > recorderWithin
	})
	if len(unread) < len(kept) && !b.losing {
		b.losing = true
		b.cfg.Log.Error("embedded broker: records that the status store has not read are deleted to make room for new ones; it will not know of these "+
			"notifications or how they ended. See why the store is not being filled, or raise kafka.embedded.max_bytes",
			zap.Int64("used_mib", used>>20), zap.Int64("max_mib", b.cfg.MaxBytes>>20))
	}
	b.judge(used)
}

func (b *Broker) passes(used int64, part float64) bool {
	return float64(used) > part*float64(b.cfg.MaxBytes)
}

// trim deletes what may go, in the order of the list but of each partition from its start. It gives what is kept, and its size.
func (b *Broker) trim(list []segment, used int64, mayGo func(s segment, used int64) bool) ([]segment, int64) {
	var kept []segment
	held := map[string]bool{} // partitions of which an older segment stays
	for _, s := range list {
		part := s.topic + "/" + strconv.Itoa(int(s.partition))
		if held[part] || !mayGo(s, used) || !b.delete(s) {
			held[part] = true
			kept = append(kept, s)
			continue
		}
		used -= s.size
	}
	return kept, used
}

func (b *Broker) delete(s segment) bool {
	err := b.cluster.DeleteRecords(s.topic, s.partition, s.end)
	if err != nil {
		b.cfg.Log.Warn("embedded broker: delete records", zap.String("topic", s.topic), zap.Error(err))
	}
	return err == nil
}

func (b *Broker) old(s segment) bool { return time.Since(s.written) > b.retention(s.topic) }

// finished reports whether nobody needs s to deliver what is on the log. What no group reads has finished by its age.
func (b *Broker) finished(s segment) bool {
	switch groups := b.cfg.Topics[s.topic]; {
	case s.topic == b.cfg.Ledger.Topic && s.topic != "":
		return s.end <= b.ledgerNeeded(s.partition) && s.end <= b.committed(groups, s.topic, s.partition)
	case len(groups) > 0:
		return s.end <= b.committed(groups, s.topic, s.partition)
	default:
		return b.old(s)
	}
}

func (b *Broker) recorded(s segment) bool {
	r := b.cfg.Recorder
	return !slices.Contains(r.Topics, s.topic) || s.end <= b.committed([]string{r.Group}, s.topic, s.partition)
}

// committed is the offset that every group has committed past.
func (b *Broker) committed(groups []string, topic string, partition int32) int64 {
	lowest := int64(math.MaxInt64)
	for _, g := range groups {
		info := b.cluster.GroupInfo(g)
		if info == nil {
			return 0
		}
		lowest = min(lowest, info.Commits[topic][partition].Offset)
	}
	return lowest
}

// ledgerNeeded is the first offset of the ledger's partition that a commit points to. A job partition that has records
// and no commit yet reads the whole ledger when its group starts.
func (b *Broker) ledgerNeeded(partition int32) int64 {
	first := int64(math.MaxInt64)
	for topic, groups := range b.cfg.Topics {
		if topic == b.cfg.Ledger.Topic {
			continue
		}
		for _, g := range groups {
			info := b.cluster.GroupInfo(g)
			for _, p := range b.cluster.PartitionInfos(topic) {
				if p.HighWatermark == 0 {
					continue
				}
				if info == nil {
					return 0
				}
				commit := info.Commits[topic][p.Partition]
				in, offset, ok := b.cfg.Ledger.Needed(p.Partition, commit.Metadata)
				if !ok {
					return 0
				}
				if in == partition {
					first = min(first, offset)
				}
			}
		}
	}
	return first
}

// retention is how long topic keeps what is finished.
func (b *Broker) retention(topic string) time.Duration {
	info := b.cluster.TopicInfo(topic)
	if info == nil || info.Configs["retention.ms"] == nil {
		return never
	}
	ms, err := strconv.ParseInt(*info.Configs["retention.ms"], 10, 64)
	if err != nil || ms < 0 {
		return never
	}
	return min(time.Duration(ms), never/time.Millisecond) * time.Millisecond
}

// judge decides what [Broker.Full] says.
func (b *Broker) judge(used int64) {
	free := int64(math.MaxInt64)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.cfg.Dir, &fs); err == nil {
		free = int64(fs.Bavail) * int64(fs.Bsize)
	}
	var full *FullError
	if float64(used) > fullAbove*float64(b.cfg.MaxBytes) || free < b.cfg.MinFree {
		full = &FullError{Used: used, Max: b.cfg.MaxBytes, Free: free, Need: b.cfg.MinFree}
	}
	if was := b.full.Swap(full); (was == nil) != (full == nil) {
		if full != nil {
			b.cfg.Log.Error("embedded broker: nothing more is admitted", zap.Error(full))
		} else {
			b.cfg.Log.Info("embedded broker: there is room again")
		}
	}
}

// segments lists the sealed segments and the size of all. The last segment of a partition is never deleted: its offsets
// are how a start after a crash knows where to go on.
func (b *Broker) segments() (sealed []segment, used int64) {
	parts, err := os.ReadDir(filepath.Join(b.cfg.Dir, "partitions"))
	if err != nil {
		return nil, 0 // nothing was written yet
	}
	for _, part := range parts {
		topic, partition, ok := parsePartition(part.Name())
		if !ok {
			continue
		}
		list := readSegments(filepath.Join(b.cfg.Dir, "partitions", part.Name()))
		for i, s := range list {
			used += s.size
			if i+1 < len(list) {
				s.topic, s.partition, s.end = topic, partition, list[i+1].end
				sealed = append(sealed, s)
			}
		}
	}
	return sealed, used
}

// readSegments lists a partition's files in order; end holds their own first offset.
func readSegments(dir string) []segment {
	files, _ := os.ReadDir(dir)
	var list []segment
	for _, f := range files {
		name, isLog := strings.CutSuffix(f.Name(), ".dat")
		first, err := strconv.ParseInt(name, 10, 64)
		if !isLog || err != nil {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		list = append(list, segment{end: first, size: info.Size(), written: info.ModTime()})
	}
	slices.SortFunc(list, func(x, y segment) int { return cmp.Compare(x.end, y.end) })
	return list
}

// parsePartition reads the name of a partition's directory: the topic, escaped, a hyphen, the number.
func parsePartition(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil {
		return "", 0, false
	}
	topic, err = url.PathUnescape(name[:i])
	return topic, int32(n), err == nil
}
