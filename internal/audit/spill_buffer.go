package audit

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
)

// parts is the number of parts into which the entries are divided by a hash of their ids.
const parts = 256

// spillBuffer stores entries: up to limit of them in memory, the others in a temporary file. It is not safe for concurrent use.
type spillBuffer struct {
	limit    int // maximum number of entries in memory
	seed     maphash.Seed
	inMemory [parts][]entry
	n        int // number of entries in memory
	dir      string
	file     *os.File // nil until the first spill
	end      int64    // of the file
	onDisk   [parts][]chunk
}

// chunk is a sequence of entries of one part in the file.
type chunk struct {
	at int64 // position in the file
	n  int   // number of entries
}

// newSpillBuffer returns an empty buffer. It creates its file, if it needs one, in dir; "" is the system's directory for
// temporary files.
func newSpillBuffer(limit int, dir string) *spillBuffer {
	return &spillBuffer{limit: max(1, limit), dir: dir, seed: maphash.MakeSeed()}
}

// close removes the file.
func (s *spillBuffer) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}

func (s *spillBuffer) add(e entry) error {
	part := maphash.Bytes(s.seed, e.id[:]) % parts
	s.inMemory[part] = append(s.inMemory[part], e)
	s.n++
	if s.n < s.limit {
		return nil
	}
	return s.spill()
}

// spill moves the entries in memory to the file.
func (s *spillBuffer) spill() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "laudspeaker-audit-*")
		if err != nil {
			return fmt.Errorf("make a temporary file (TMPDIR says where): %w", err)
		}
		s.file = file
	}
	var b []byte
	for i, es := range s.inMemory {
		if len(es) == 0 {
			continue
		}
		b = b[:0]
		for k := range es {
			b = es[k].append(b)
		}
		if _, err := s.file.WriteAt(b, s.end); err != nil {
			return fmt.Errorf("write what was read to a temporary file (TMPDIR says where): %w", err)
		}
		s.onDisk[i] = append(s.onDisk[i], chunk{s.end, len(es)})
		s.end += int64(len(b))
		s.inMemory[i] = es[:0]
	}
	s.n = 0
	return nil
}

// each calls visit once for every notification, with all its entries. The slice is valid during the call only.
func (s *spillBuffer) each(visit func(es []entry) error) error {
	var all []entry
	for i := range parts {
		part, err := s.appendPart(all[:0], i)
		if err != nil {
			return err
		}
		all = part // reuse its memory for the next part
		slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) })
		for from := 0; from < len(all); {
			to := from + 1
			for to < len(all) && all[to].id == all[from].id {
				to++
			}
			if err := visit(all[from:to]); err != nil {
				return err
			}
			from = to
		}
	}
	return nil
}

// appendPart appends the entries of part i to all.
func (s *spillBuffer) appendPart(all []entry, i int) ([]entry, error) {
	var b []byte
	for _, c := range s.onDisk[i] {
		b = slices.Grow(b[:0], c.n*entrySize)[:c.n*entrySize]
		if _, err := s.file.ReadAt(b, c.at); err != nil {
			return nil, fmt.Errorf("read a temporary file: %w", err)
		}
		for at := 0; at < len(b); at += entrySize {
			all = append(all, readEntryFrom(b[at:]))
		}
	}
	return append(all, s.inMemory[i]...), nil
}
