package recordbatch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codecs, as a batch's attributes name them.
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLz4
	codecZstd
)

// MaxSize bounds the decompressed size of a batch, in bytes. A larger batch is undecodable.
const MaxSize = 64 << 20

// SmallSize is the decompressed size, in bytes, that nearly every batch stays below.
const SmallSize = 4 << 20

// ErrTooLarge is returned for a batch that decompresses to more than the limit.
var ErrTooLarge = errors.New("it decompresses to too many bytes")

// decompress returns in unpacked, in memory of its own unless it was not packed. More than limit bytes is an error; little
// more than that is ever allocated.
func decompress(codec int, in []byte, limit int) ([]byte, error) {
	switch codec {
	case codecNone:
		return in, nil
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(in))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return readBounded("gzip", r, limit)
	case codecSnappy:
		return unsnap(in, limit)
	case codecLz4:
		return readBounded("lz4", lz4.NewReader(bytes.NewReader(in)), limit)
	case codecZstd:
		return unzstd(in, limit)
	default:
		return nil, fmt.Errorf("compression codec %d is unknown", codec)
	}
}

func tooLarge(codec string, limit int) error {
	return fmt.Errorf("%s: %w: more than %d", codec, ErrTooLarge, limit)
}

func readBounded(codec string, r io.Reader, limit int) ([]byte, error) {
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(r, int64(limit)+1))
	switch {
	case n > int64(limit):
		return nil, tooLarge(codec, limit)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", codec, err)
	default:
		return out.Bytes(), nil
	}
}

// unsnap unpacks snappy with and without the framing that Java clients write. The buffer grows as needed: a stated size is not
// believed.
func unsnap(in []byte, limit int) ([]byte, error) {
	for size := min(max(4*len(in), 1024), limit); ; size = min(2*size, limit) {
		out, err := xerial.DecodeCapped(make([]byte, 0, size), in)
		if !errors.Is(err, xerial.ErrDstTooSmall) {
			if err != nil {
				return nil, fmt.Errorf("snappy: %w", err)
			}
			return out, nil
		}
		if size >= limit {
			return nil, tooLarge("snappy", limit)
		}
	}
}

// zstdDecoders and smallZstdDecoders keep decoders, which are expensive to make. The small ones stop at [SmallSize].
var zstdDecoders, smallZstdDecoders sync.Pool //nolint:gochecknoglobals // a cache

func unzstd(in []byte, limit int) ([]byte, error) {
	pool, most := &zstdDecoders, MaxSize
	if limit <= SmallSize {
		pool, most = &smallZstdDecoders, SmallSize
	}
	dec, ok := pool.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// The window is bounded, too: it is allocated before the first byte is unpacked.
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(most)), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	defer pool.Put(dec)
	out, err := dec.DecodeAll(in, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > limit {
		return nil, tooLarge("zstd", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}
