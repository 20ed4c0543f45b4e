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

// decompress returns in unpacked, in memory of its own unless it was not packed. More than MaxSize bytes is an error; little
// more than that is ever allocated.
func decompress(codec int, in []byte) ([]byte, error) {
	switch codec {
	case codecNone:
		return in, nil
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(in))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return readBounded("gzip", r)
	case codecSnappy:
		return unsnap(in)
	case codecLz4:
		return readBounded("lz4", lz4.NewReader(bytes.NewReader(in)))
	case codecZstd:
		return unzstd(in)
	default:
		return nil, fmt.Errorf("compression codec %d is unknown", codec)
	}
}

func tooLarge(codec string) error {
	return fmt.Errorf("%s: it decompresses to more than %d bytes", codec, MaxSize)
}

func readBounded(codec string, r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(r, MaxSize+1))
	switch {
	case n > MaxSize:
		return nil, tooLarge(codec)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", codec, err)
	default:
		return out.Bytes(), nil
	}
}

// unsnap unpacks snappy with and without the framing that Java clients write. The buffer grows as needed: a stated size is not
// believed.
func unsnap(in []byte) ([]byte, error) {
	for size := min(max(4*len(in), 1024), MaxSize); ; size = min(2*size, MaxSize) {
		out, err := xerial.DecodeCapped(make([]byte, 0, size), in)
		if !errors.Is(err, xerial.ErrDstTooSmall) {
			if err != nil {
				return nil, fmt.Errorf("snappy: %w", err)
			}
			return out, nil
		}
		if size >= MaxSize {
			return nil, tooLarge("snappy")
		}
	}
}

// zstdDecoders keeps decoders, which are expensive to make.
var zstdDecoders sync.Pool //nolint:gochecknoglobals // a cache

func unzstd(in []byte) ([]byte, error) {
	dec, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// The window is bounded, too: it is allocated before the first byte is unpacked.
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	defer zstdDecoders.Put(dec)
	out, err := dec.DecodeAll(in, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(out) > MaxSize {
		return nil, tooLarge("zstd")
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}
