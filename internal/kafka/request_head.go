package kafka

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestHead is what a connection has to know of a request.
type requestHead struct {
	key        int16
	wait       time.Duration // the broker may wait so long before it answers
	unanswered bool          // a produce request that asks for no acknowledgement
}

// readRequest reads the head of p, if p is one whole request.
func readRequest(p []byte) (h requestHead, ok bool) {
	const least = 4 + 2 + 2 + 4 // length, key, version, correlation id
	if len(p) < least || int64(binary.BigEndian.Uint32(p)) != int64(len(p)-4) {
		return h, false
	}
	in := wireReader{p[4:]}
	h.key = in.int16()
	version := in.int16()
	in.skip(4)
	switch kmsg.Key(h.key) {
	case kmsg.Fetch:
		in.clientID(version >= 12)
		if version <= 14 {
			in.skip(4) // replica id
		}
		h.wait = in.milliseconds()
	case kmsg.Produce:
		in.clientID(version >= 9)
		switch {
		case version >= 9:
			in.skip(int(in.uvarint()) - 1) // transactional id, compact: 0 is null
		case version >= 3:
			in.skip(int(in.int16())) // -1 is null
		}
		h.unanswered = in.int16() == 0
		h.wait = in.milliseconds()
	}
	return h, true
}

// wireReader reads Kafka's types. What is beyond the end reads as zero.
type wireReader struct{ rest []byte }

func (r *wireReader) skip(n int) { r.rest = r.rest[min(max(n, 0), len(r.rest)):] }

func (r *wireReader) int16() int16 {
	if len(r.rest) < 2 {
		r.rest = nil
		return 0
	}
	n := int16(binary.BigEndian.Uint16(r.rest))
	r.skip(2)
	return n
}

// milliseconds reads an int32. What is negative, or longer than an hour, is none.
func (r *wireReader) milliseconds() time.Duration {
	if len(r.rest) < 4 {
		r.rest = nil
		return 0
	}
	n := int32(binary.BigEndian.Uint32(r.rest))
	r.skip(4)
	if d := time.Duration(n) * time.Millisecond; d >= 0 && d <= time.Hour {
		return d
	}
	return 0
}

func (r *wireReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)) {
		r.rest = nil
		return 0
	}
	r.skip(size)
	return n
}

// clientID skips what ends a request's header: the client's name and, in a flexible version, tags, of which we send none.
func (r *wireReader) clientID(flexible bool) {
	r.skip(int(r.int16()))
	if flexible {
		r.uvarint()
	}
}

// answerFrames counts answers in what is read, whatever pieces it comes in. Each begins with its length.
type answerFrames struct {
	length [4]byte
	have   int   // bytes of length
	left   int64 // bytes of the answer, once its length is there
}

// count gives how many answers end in p.
func (f *answerFrames) count(p []byte) (ended int) {
	for len(p) > 0 {
		if f.have < len(f.length) {
			n := copy(f.length[f.have:], p)
			f.have, p = f.have+n, p[n:]
			if f.have < len(f.length) {
				return ended
			}
			f.left = int64(binary.BigEndian.Uint32(f.length[:]))
		}
		n := min(f.left, int64(len(p)))
		f.left, p = f.left-n, p[n:]
		if f.left == 0 {
			ended++
			f.have = 0
		}
	}
	return ended
}
