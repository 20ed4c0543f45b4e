package audit

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
)

// parts is how many parts the entries are divided into by their ids.
const parts = 256

// pile keeps entries: up to limit of them in memory, the others in a temporary file. One goroutine at a time uses it.
type pile struct {
	limit int // entries in memory
	seed  maphash.Seed
	held  [parts][]entry
	n     int // held in all
	dir   string
	file  *os.File // nil as long as all are held
	end   int64
	away  [parts][]chunk
}

// chunk is where the file holds entries of one part.
type chunk struct {
	at int64
	n  int
}

// newPile makes a pile whose file, if it needs one, is in dir; "" is the system's place for temporary files.
func newPile(limit int, dir string) *pile {
	return &pile{limit: max(1, limit), dir: dir, seed: maphash.MakeSeed()}
}

// close forgets everything.
func (p *pile) close() {
	if p.file != nil {
		_ = p.file.Close()
		_ = os.Remove(p.file.Name())
	}
}

func (p *pile) add(e entry) error {
	part := maphash.Bytes(p.seed, e.id[:]) % parts
	p.held[part] = append(p.held[part], e)
	if p.n++; p.n < p.limit {
		return nil
	}
	return p.spill()
}

// spill moves what is held to the file.
func (p *pile) spill() (err error) {
	if p.file == nil {
		if p.file, err = os.CreateTemp(p.dir, "laudspeaker-audit-*"); err != nil {
			return fmt.Errorf("make a temporary file (TMPDIR says where): %w", err)
		}
	}
	var b []byte
	for i, es := range p.held {
		if len(es) == 0 {
			continue
		}
		b = b[:0]
		for k := range es {
			b = es[k].append(b)
		}
		if _, err := p.file.WriteAt(b, p.end); err != nil {
			return fmt.Errorf("write what was read to a temporary file (TMPDIR says where): %w", err)
		}
		p.away[i] = append(p.away[i], chunk{p.end, len(es)})
		p.end += int64(len(b))
		p.held[i] = es[:0]
	}
	p.n = 0
	return nil
}

// each gives visit the entries of every notification, one notification after another. What it gives is valid during the call.
func (p *pile) each(visit func(es []entry) error) error {
	var all []entry
	for i := range parts {
		var err error
		if all, err = p.part(i, all[:0]); err != nil {
			return err
		}
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

// part appends the entries of part i to all.
func (p *pile) part(i int, all []entry) ([]entry, error) {
	var b []byte
	for _, c := range p.away[i] {
		b = slices.Grow(b[:0], c.n*entrySize)[:c.n*entrySize]
		if _, err := p.file.ReadAt(b, c.at); err != nil {
			return nil, fmt.Errorf("read a temporary file: %w", err)
		}
		for at := 0; at < len(b); at += entrySize {
			all = append(all, readEntryFrom(b[at:]))
		}
	}
	return append(all, p.held[i]...), nil
}
