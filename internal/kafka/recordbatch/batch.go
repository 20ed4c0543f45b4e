// Package recordbatch reads Kafka record batches of format v2 (magic 2) from bytes that nobody has checked.
//
// Anyone who may write to a topic decides what is in a batch, and a broker stores most of it unread. So this package trusts no
// length, count or offset: it never panics, it never allocates much more than [MaxSize] and what the bytes themselves
// take, and it returns either all records of a batch or an error. It keeps no state; its functions may run concurrently.
//
// The format is described in the Kafka documentation, section "Record Batch".
package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	// HeaderSize is the number of bytes before the records of a batch.
	HeaderSize = 61
	// framing is the number of bytes that the length field of a batch does not count: base offset and the length itself.
	framing = 12
	// crcStart is where the bytes begin that the checksum covers.
	crcStart = 21
)

// Attribute bits of a batch.
const (
	codecMask     = 0x07
	logAppendTime = 0x08
	transactional = 0x10
	control       = 0x20
)

var (
	// ErrShort is returned for a batch of which the bytes hold only a part. A fetch response may end with one.
	ErrShort = errors.New("the record batch is cut off")
	// ErrFraming is returned when the bytes do not begin with a batch: where the next one begins is unknown.
	ErrFraming = errors.New("no record batch begins here")
	// ErrUndecodable is returned for a batch whose records cannot be read; errors.Is matches every cause.
	ErrUndecodable = errors.New("the record batch cannot be decoded")
)

// Batch is the header of one record batch and its raw bytes.
type Batch struct {
	Base            int64 // offset of the first record
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32 // last offset of the batch, relative to Base
	FirstTimestamp  int64 // milliseconds since 1970
	MaxTimestamp    int64 // milliseconds since 1970
	ProducerID      int64 // -1 without one
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32  // number of records, as the header states it
	Raw             []byte // the whole batch
}

// Next reads the header of the batch that buf begins with. The batch takes len(Batch.Raw) bytes of buf. The error is
// [ErrShort] or [ErrFraming]. A batch with another magic than 2 has only Base, Magic and Raw.
func Next(buf []byte) (Batch, error) {
	if len(buf) < framing+5 {
		return Batch{}, ErrShort
	}
	length := int64(int32(binary.BigEndian.Uint32(buf[8:])))
	base := int64(binary.BigEndian.Uint64(buf))
	if length < 5 || base < 0 || base > math.MaxInt64-math.MaxInt32-1 { // 5: leader epoch and magic
		return Batch{}, ErrFraming
	}
	if int64(len(buf)) < framing+length {
		return Batch{}, ErrShort
	}
	b := Batch{Base: base, Magic: int8(buf[16]), Raw: buf[: framing+length : framing+length]}
	if b.Magic != 2 {
		return b, nil
	}
	if len(b.Raw) < HeaderSize {
		return Batch{}, ErrFraming
	}
	b.LeaderEpoch = int32(binary.BigEndian.Uint32(buf[12:]))
	b.CRC = binary.BigEndian.Uint32(buf[17:])
	b.Attributes = int16(binary.BigEndian.Uint16(buf[21:]))
	b.LastOffsetDelta = int32(binary.BigEndian.Uint32(buf[23:]))
	b.FirstTimestamp = int64(binary.BigEndian.Uint64(buf[27:]))
	b.MaxTimestamp = int64(binary.BigEndian.Uint64(buf[35:]))
	b.ProducerID = int64(binary.BigEndian.Uint64(buf[43:]))
	b.ProducerEpoch = int16(binary.BigEndian.Uint16(buf[51:]))
	b.BaseSequence = int32(binary.BigEndian.Uint32(buf[53:]))
	b.Count = int32(binary.BigEndian.Uint32(buf[57:]))
	return b, nil
}

// castagnoli is CRC-32C, which batches use.
var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

// Intact reports whether the checksum of the batch is right.
func (b *Batch) Intact() bool {
	return b.Magic == 2 && len(b.Raw) >= HeaderSize && crc32.Checksum(b.Raw[crcStart:], castagnoli) == b.CRC
}

// Seal returns the checksum that raw, a whole batch, should carry, and writes it there.
func Seal(raw []byte) uint32 {
	sum := crc32.Checksum(raw[crcStart:], castagnoli)
	binary.BigEndian.PutUint32(raw[17:], sum)
	return sum
}

// Last returns the last offset of the batch, as its header states it. A negative delta counts as 0.
func (b *Batch) Last() int64 { return b.Base + int64(max(b.LastOffsetDelta, 0)) }

// Control reports whether the batch holds a transaction marker and no records of a producer.
func (b *Batch) Control() bool { return b.Attributes&control != 0 }

// Transactional reports whether the batch belongs to a transaction.
func (b *Batch) Transactional() bool { return b.Attributes&transactional != 0 }

// LogAppendTime reports whether MaxTimestamp is the time of every record: the time at which the broker appended the batch.
func (b *Batch) LogAppendTime() bool { return b.Attributes&logAppendTime != 0 }

// undecodable returns an error that matches ErrUndecodable.
func undecodable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUndecodable, fmt.Errorf(format, args...))
}
