package recordbatch

import "encoding/binary"

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte // nil = null
}

// Record is one record of a batch. Its bytes are part of the batch's or of the decompressed batch's bytes.
type Record struct {
	Offset    int64
	Timestamp int64  // milliseconds since 1970
	Key       []byte // nil = null
	Value     []byte // nil = null
	Headers   []Header
}

// smallestRecord is the size of a record without key, value and headers: its length, attributes, two deltas, two null lengths
// and the number of headers.
const smallestRecord = 7

// Each calls visit for every record of the batch in the order of offsets, after it has checked all of them: visit is called for
// all records or for none. The error matches [ErrUndecodable]. Offsets rise strictly and stay within what the batch's header
// states. The *Record is valid until visit returns; its bytes stay valid.
func (b *Batch) Each(visit func(r *Record)) error {
	records, err := b.Open(MaxSize, nil)
	if err != nil {
		return err
	}
	for r := records.Next(); r != nil; r = records.Next() {
		visit(r)
		r.Headers = nil // visit may have kept them
	}
	return nil
}

// Records reads the records of a batch one by one. Not for concurrent use.
type Records struct {
	batch *Batch
	in    input
	left  int32
	names Names
	r     Record
}

// Open checks and decompresses the batch; all its records can be read. The error matches [ErrUndecodable], and [ErrTooLarge]
// when the batch decompresses to more than limit bytes. A limit up to [SmallSize] never allocates much more than that. names
// may be nil.
func (b *Batch) Open(limit int, names Names) (*Records, error) {
	switch {
	case b.Magic != 2:
		return nil, undecodable("its format is v%d, not v2", b.Magic)
	case b.LastOffsetDelta < 0:
		return nil, undecodable("its last offset lies before its first")
	case b.Count < 0 || int64(b.Count) > int64(b.LastOffsetDelta)+1:
		return nil, undecodable("it states %d records for %d offsets", b.Count, int64(b.LastOffsetDelta)+1)
	case !b.Intact():
		return nil, undecodable("its checksum is wrong")
	}
	body, err := decompress(int(b.Attributes&codecMask), b.Raw[HeaderSize:], min(limit, MaxSize))
	if err != nil {
		return nil, undecodable("%w", err)
	}
	if err := b.check(body); err != nil {
		return nil, err
	}
	return &Records{batch: b, in: input{rest: body}, left: b.Count, names: names}, nil
}

// Next returns the next record; nil after the last. The *Record is valid until the next call; its bytes stay valid.
func (rs *Records) Next() *Record {
	if rs.left == 0 {
		return nil
	}
	rs.left--
	rs.r.Headers = rs.r.Headers[:0]
	rs.in.record(&rs.r, rs.batch, rs.names)
	return &rs.r
}

// Names keeps the names of headers, so that each of the few is in memory once. Not for concurrent use.
type Names map[string]string

// Bounds of what a Names keeps.
const (
	mostNames   = 256
	longestName = 64
)

func (n Names) of(name []byte) string {
	if known, ok := n[string(name)]; ok {
		return known
	}
	s := string(name)
	if n != nil && len(n) < mostNames && len(s) <= longestName {
		n[s] = s
	}
	return s
}

// mostHeaders bounds the headers of a record: one that takes two bytes here takes forty in memory.
const mostHeaders = 1 << 16

// check walks over all records without keeping anything.
func (b *Batch) check(body []byte) error {
	if int64(len(body)) < int64(b.Count)*smallestRecord {
		return undecodable("it states %d records in %d bytes", b.Count, len(body))
	}
	in := input{rest: body}
	last := int64(-1)
	for i := range b.Count {
		size := in.varint()
		if in.bad || size < smallestRecord-1 || size > int64(len(in.rest)) {
			return undecodable("record %d: its length is wrong", i)
		}
		r := input{rest: in.rest[:size]}
		in.rest = in.rest[size:]
		delta := r.skip()
		if r.bad || len(r.rest) > 0 {
			return undecodable("record %d: its fields do not fit its length", i)
		}
		if delta <= last || delta > int64(b.LastOffsetDelta) {
			return undecodable("record %d: its offset delta %d is outside of the batch or not above the one before", i, delta)
		}
		last = delta
	}
	if len(in.rest) > 0 {
		return undecodable("%d bytes follow its last record", len(in.rest))
	}
	return nil
}

// input reads fields from bytes. Once something does not fit it is bad and yields zeros.
type input struct {
	rest []byte
	bad  bool
}

func (in *input) varint() int64 {
	v, n := binary.Varint(in.rest)
	if n <= 0 {
		in.bad, in.rest = true, nil
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

// bytes reads a length and as many bytes; nil for the length -1, which is null.
func (in *input) bytes() []byte {
	n := in.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(in.rest)) {
		in.bad, in.rest = true, nil
		return nil
	}
	v := in.rest[:n:n]
	in.rest = in.rest[n:]
	return v
}

// skip walks over the fields of one record and returns its offset delta.
func (in *input) skip() int64 {
	if len(in.rest) == 0 {
		in.bad = true
		return 0
	}
	in.rest = in.rest[1:] // attributes
	in.varint()           // timestamp delta
	delta := in.varint()
	in.bytes()
	in.bytes()
	n := in.varint()
	if n < 0 || n > mostHeaders || n > int64(len(in.rest)) { // a header takes two bytes at least
		in.bad = true
		return 0
	}
	for range n {
		if in.bytes() == nil && !in.bad { // a header's key is never null
			in.bad = true
		}
		in.bytes()
		if in.bad {
			return 0
		}
	}
	return delta
}

// record reads one record that check has found good.
func (in *input) record(r *Record, b *Batch, names Names) {
	in.varint()
	in.rest = in.rest[1:]
	r.Timestamp = b.FirstTimestamp + in.varint()
	if b.LogAppendTime() {
		r.Timestamp = b.MaxTimestamp
	}
	r.Offset = b.Base + in.varint()
	r.Key = in.bytes()
	r.Value = in.bytes()
	for range in.varint() {
		r.Headers = append(r.Headers, Header{Key: names.of(in.bytes()), Value: in.bytes()})
	}
}
