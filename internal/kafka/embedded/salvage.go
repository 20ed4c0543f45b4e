package embedded

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// kfake ends a partition at the first batch whose checksum is wrong and deletes everything behind it, acknowledged records
// included. So the log is read before kfake reads it. A bad batch between good ones is moved to a file below the folder
// quarantine, and a control batch, which consumers skip, takes its offsets. Where the bytes no longer tell where the next batch
// begins, the start is refused: nothing may be deleted by guessing.

// SetAside is a range of offsets whose records could not be read and were moved to a file.
type SetAside struct {
	Topic       string
	Partition   int32
	First, Last int64    // offsets
	File        string   // holds the bytes
	IDs         []string // of the records, as far as they can be read
}

// DamagedError says that a segment holds readable batches behind bytes that are none.
type DamagedError struct {
	Dir    string
	Topic  string
	Part   int32
	Offset int64 // the first one that cannot be read
	File   string
	At     int64 // position in the file
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("embedded broker: the log of %s/%d is damaged at offset %d (%s, byte %d), and readable records follow. Nothing was changed. "+
		"To repair a copy and see what is lost: laudspeaker topics repair --from %s", e.Topic, e.Part, e.Offset, e.File, e.At, e.Dir)
}

// salvager reads the log of a broker that is not running.
type salvager struct {
	dir      string
	identify func(value []byte, header func(key string) string) string // nil: nobody is named
	resync   bool                                                      // look for the next batch where one cannot be read, instead of refusing
	log      *zap.Logger
	found    []SetAside
}

// salvage walks over all partitions. What it has set aside is in found, also after an error.
func (s *salvager) salvage() error {
	parts, err := os.ReadDir(filepath.Join(s.dir, "partitions"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	for _, p := range parts {
		if err := s.partition(filepath.Join(s.dir, "partitions", p.Name())); err != nil {
			return err
		}
	}
	return nil
}

// partition reads the segments of one partition, in the order of their offsets.
func (s *salvager) partition(dir string) error {
	name := filepath.Base(dir)
	dash := strings.LastIndexByte(name, '-')
	topic, err1 := url.PathUnescape(name[:max(dash, 0)])
	number, err2 := strconv.ParseInt(name[dash+1:], 10, 32)
	if err1 != nil || err2 != nil || dash < 0 {
		return nil // no folder of kfake's
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	var bases []int64
	for _, f := range files {
		if base, ok := strings.CutSuffix(f.Name(), ".dat"); ok {
			if n, err := strconv.ParseInt(base, 10, 64); err == nil {
				bases = append(bases, n)
			}
		}
	}
	slices.Sort(bases)
	for i, base := range bases {
		next := int64(-1) // of the last segment
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		file := &segmentFile{salvager: s, path: filepath.Join(dir, strconv.FormatInt(base, 10)+".dat"), topic: topic, part: int32(number), next: next, want: base}
		if err := file.check(); err != nil {
			return err
		}
	}
	return nil
}

// segmentFile is one segment while it is read.
type segmentFile struct {
	*salvager
	path  string
	topic string
	part  int32
	next  int64 // base offset of the next segment; -1 for the last one
	want  int64 // offset that the batch at pos should begin with
	raw   []byte
	pos   int
	out   []byte // the segment's new content; nil while nothing has to change
}

func (f *segmentFile) check() error {
	var err error
	if f.raw, err = os.ReadFile(f.path); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	for f.pos < len(f.raw) {
		b, err := recordbatch.Next(f.raw[f.pos:])
		if err == nil && b.Intact() && f.fits(b) {
			f.keep(b)
			continue
		}
		stop, err := f.mend()
		if err != nil {
			return err
		}
		if stop {
			break
		}
	}
	if f.out == nil {
		return nil
	}
	return f.write()
}

// fits reports whether the offsets of a good batch agree with its neighbours: the base offset is not part of the checksum.
// Compaction may leave holes.
func (f *segmentFile) fits(b recordbatch.Batch) bool {
	if b.Base < f.want {
		return false
	}
	after, err := recordbatch.Next(f.raw[f.pos+len(b.Raw):])
	return err != nil || after.Base > b.Last() || after.Base < f.want || !after.Intact()
}

func (f *segmentFile) keep(b recordbatch.Batch) {
	if f.out != nil {
		f.out = append(f.out, b.Raw...)
	}
	f.pos += len(b.Raw)
	f.want = b.Last() + 1
}

// mend passes over what cannot be read at pos: bad batches that a good one follows, else everything up to the next good one.
// stop is true at a torn tail: what a crash has cut off, which kfake cuts off too.
func (f *segmentFile) mend() (stop bool, err error) {
	if bad := f.badBatches(); len(bad) > 0 {
		for _, b := range bad {
			if err := f.replace(b.Raw, b.Base, b.Last(), len(b.Raw)); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	end, base := f.nextIntact()
	switch {
	case end < 0 && f.next < 0:
		if f.out != nil {
			f.out = append(f.out, f.raw[f.pos:]...)
		}
		return true, f.save(f.raw[f.pos:], "tail", f.want)
	case !f.resync:
		return false, &DamagedError{Dir: f.dir, Topic: f.topic, Part: f.part, Offset: f.want, File: f.path, At: int64(f.pos)}
	case end < 0:
		end, base = len(f.raw), f.next
	}
	lost := f.raw[f.pos:end]
	if base <= f.want { // no offset is missing
		f.change()
		f.pos = end
		return false, f.save(lost, "bytes", f.want)
	}
	return false, f.replace(lost, f.want, base-1, 0)
}

// badBatches returns the batches from pos on that are bad, if each one's end is where the next one begins and a good batch, or
// the next segment, follows at the offset that the last of them states.
func (f *segmentFile) badBatches() []recordbatch.Batch {
	var bad []recordbatch.Batch
	want := f.want
	for pos := f.pos; ; {
		if pos == len(f.raw) {
			if f.next == want {
				return bad
			}
			return nil
		}
		b, err := recordbatch.Next(f.raw[pos:])
		if err != nil || b.Magic != 2 || b.Base != want {
			return nil
		}
		if b.Intact() {
			return bad
		}
		if b.LastOffsetDelta < 0 {
			return nil
		}
		bad = append(bad, b)
		pos, want = pos+len(b.Raw), b.Last()+1
	}
}

// nextIntact looks for the next good batch beyond pos, byte by byte. It returns -1 when there is none.
func (f *segmentFile) nextIntact() (pos int, base int64) {
	for pos := f.pos + 1; pos+recordbatch.HeaderSize <= len(f.raw); pos++ {
		if f.raw[pos+16] != 2 {
			continue
		}
		b, err := recordbatch.Next(f.raw[pos:])
		if err == nil && b.Base >= f.want && (f.next < 0 || b.Last() < f.next) && b.Intact() {
			return pos, b.Base
		}
	}
	return -1, 0
}

// replace sets raw aside and puts a control batch in its place: of the same size where possible, because kfake believes its
// snapshot of a partition only while the sizes of the segments agree.
func (f *segmentFile) replace(raw []byte, first, last int64, size int) error {
	if err := f.save(raw, "batch", first); err != nil {
		return err
	}
	aside := SetAside{Topic: f.topic, Partition: f.part, First: first, Last: last, File: f.aside("batch", first), IDs: f.names(raw)}
	f.found = append(f.found, aside)
	f.log.Error("embedded broker: a damaged record batch was set aside. Its records will not be delivered",
		zap.String("topic", f.topic), zap.Int32("partition", f.part), zap.Int64("first_offset", first), zap.Int64("last_offset", last),
		zap.String("file", aside.File), zap.Strings("ids", aside.IDs[:min(len(aside.IDs), 20)]))
	f.change()
	for first <= last { // a batch holds at most 2^31 offsets
		to := min(last, first+1<<31-1)
		f.out = append(f.out, filler(first, to, size)...)
		first, size = to+1, 0
	}
	f.pos += len(raw)
	f.want = last + 1
	return nil
}

func (f *segmentFile) change() {
	if f.out == nil {
		f.out = slices.Clone(f.raw[:f.pos])
	}
}

func (f *segmentFile) aside(kind string, offset int64) string {
	return filepath.Join(f.dir, "quarantine", fmt.Sprintf("%s-%d.%s", filepath.Base(filepath.Dir(f.path)), offset, kind))
}

// save keeps bytes that leave the log. Those of an earlier start are kept, too.
func (f *segmentFile) save(raw []byte, kind string, offset int64) error {
	name := f.aside(kind, offset)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	if err := writeSynced(name, raw); err != nil {
		return err
	}
	if kind == "tail" {
		f.log.Warn("embedded broker: the log ends with bytes that are no whole record batch, as a crash leaves them. They were copied, and are cut off",
			zap.String("topic", f.topic), zap.Int32("partition", f.part), zap.Int64("offset", offset), zap.Int("bytes", len(raw)), zap.String("file", name))
	}
	return nil
}

// names reads the ids of the records in raw, whatever their checksum says.
func (f *segmentFile) names(raw []byte) (ids []string) {
	if f.identify == nil || len(raw) < recordbatch.HeaderSize {
		return nil
	}
	sealed := slices.Clone(raw)
	recordbatch.Seal(sealed)
	b, err := recordbatch.Next(sealed)
	if err != nil {
		return nil
	}
	_ = b.Each(func(r *recordbatch.Record) { // what cannot be read names nobody
		id := f.identify(r.Value, func(key string) string {
			for _, h := range slices.Backward(r.Headers) {
				if h.Key == key {
					return string(h.Value)
				}
			}
			return ""
		})
		if id != "" {
			ids = append(ids, id)
		}
	})
	return ids
}

// write replaces the segment by its new content. When the number of batches has changed, the index no longer fits; kfake does
// without one.
func (f *segmentFile) write() error {
	if f.resync {
		for _, name := range []string{strings.TrimSuffix(f.path, ".dat") + ".idx", filepath.Join(filepath.Dir(f.path), "snapshot.json")} {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("embedded broker: %w", err)
			}
		}
	}
	return writeSynced(f.path, f.out)
}

// writeSynced writes a file so that a crash leaves either the old content or the new one.
func writeSynced(name string, content []byte) error {
	fail := func(err error) error { return fmt.Errorf("embedded broker: write %s: %w", name, err) }
	temp := name + ".new"
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = out.Write(content)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fail(err)
	}
	if err := os.Rename(temp, name); err != nil {
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fail(err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// filler is a control batch over the offsets from first to last, which consumers skip. It has the size if that is large enough.
func filler(first, last int64, size int) []byte {
	marker := kmsg.Record{Key: []byte{0, 0, 0, 1}} // version 0, type commit: it ends no transaction, because it has no producer
	encode := func(value, key int) []byte {
		r := marker
		r.Key = append(slices.Clone(marker.Key), make([]byte, key)...)
		r.Value = make([]byte, value)
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		return r.AppendTo(nil)
	}
	const smallestValue = 6 // version, coordinator epoch
	body := encode(smallestValue, 0)
	for pad := range 64 { // each length has as many bytes as it needs: look for the padding that meets the size
		value := size - recordbatch.HeaderSize - len(body) + smallestValue - pad/4
		if value < smallestValue {
			break
		}
		if try := encode(value, pad%4); len(try) == size-recordbatch.HeaderSize {
			body = try
			break
		}
	}
	b := kmsg.RecordBatch{
		FirstOffset: first, Length: int32(recordbatch.HeaderSize - 12 + len(body)), Magic: 2, Attributes: 0x20,
		LastOffsetDelta: int32(last - first), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: body,
	}
	raw := b.AppendTo(nil)
	recordbatch.Seal(raw)
	return raw
}
