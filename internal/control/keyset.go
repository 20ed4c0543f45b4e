package control

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
)

// keySet is a set of strings that takes little more memory than their bytes: they lie behind each other in one slice, and
// the table holds their positions. The zero value is not usable; see newKeySet. It has no lock.
type keySet struct {
	seed  maphash.Seed
	bytes []byte   // of each key its length as a varint, then itself
	table []uint32 // 1 + a position in bytes; 0 is free. Linear probing; a power of two
	n     int
	dead  int // of bytes: keys that were removed
}

const leastTable = 16

// mostBytes is what a position can address. Far less than that does not fit the memory of the hosts that this runs on.
const mostBytes = math.MaxUint32 - 1

func newKeySet() *keySet { return &keySet{seed: maphash.MakeSeed(), table: make([]uint32, leastTable)} }

func (s *keySet) len() int { return s.n }

func (s *keySet) has(key []byte) bool {
	_, found := s.find(key)
	return found
}

// add reports whether the key is in the set now: only one that has no room is not.
func (s *keySet) add(key []byte) bool {
	if s.has(key) {
		return true
	}
	if 4*(s.n+1) > 3*len(s.table) {
		s.resize(2 * len(s.table))
	}
	if len(s.bytes)+len(key)+binary.MaxVarintLen64 > mostBytes {
		return false
	}
	at, _ := s.find(key)
	s.table[at] = uint32(len(s.bytes)) + 1
	s.bytes = append(binary.AppendUvarint(s.bytes, uint64(len(key))), key...)
	s.n++
	return true
}

func (s *keySet) remove(key []byte) {
	at, found := s.find(key)
	if !found {
		return
	}
	s.free(at)
	s.n--
	s.dead += len(key) + 1
	if s.dead > 64<<10 && s.dead > len(s.bytes)/2 {
		s.compact()
	}
}

// page gives up to n keys from position from on, and the position of the next page; it is -1 after the last one. The keys are
// valid until the set changes, and pages are of one set only while it does not.
func (s *keySet) page(from, n int) (keys [][]byte, next int) {
	for from < len(s.bytes) {
		if len(keys) == n {
			return keys, from
		}
		key, size := s.at(from)
		if s.liveAt(from, key) {
			keys = append(keys, key)
		}
		from += size
	}
	return keys, -1
}

// endingIn yields the keys that end in suffix. The set must not change meanwhile.
func (s *keySet) endingIn(suffix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for from := 0; from < len(s.bytes); {
			key, size := s.at(from)
			if bytes.HasSuffix(key, []byte(suffix)) && s.liveAt(from, key) && !yield(string(key)) {
				return
			}
			from += size
		}
	}
}

// at gives the key at a position of bytes, and how many bytes it takes there.
func (s *keySet) at(position int) (key []byte, size int) {
	n, head := binary.Uvarint(s.bytes[position:])
	return s.bytes[position+head:][:n:n], head + int(n)
}

// liveAt reports whether the key at a position of bytes is in the set: otherwise it was removed.
func (s *keySet) liveAt(position int, key []byte) bool {
	slot, found := s.find(key)
	return found && s.table[slot] == uint32(position)+1
}

// find gives the slot of the key, or the free one that it would take.
func (s *keySet) find(key []byte) (slot int, found bool) {
	mask := len(s.table) - 1
	for slot = s.home(key); s.table[slot] != 0; slot = (slot + 1) & mask {
		if k, _ := s.at(int(s.table[slot]) - 1); string(k) == string(key) {
			return slot, true
		}
	}
	return slot, false
}

func (s *keySet) home(key []byte) int {
	return int(maphash.Bytes(s.seed, key) & uint64(len(s.table)-1))
}

// free empties a slot and moves the keys behind it forward, so that no search ends before it has found its key.
func (s *keySet) free(slot int) {
	mask := len(s.table) - 1
	for next := (slot + 1) & mask; s.table[next] != 0; next = (next + 1) & mask {
		key, _ := s.at(int(s.table[next]) - 1)
		if home := s.home(key); (next-home)&mask >= (next-slot)&mask {
			s.table[slot] = s.table[next]
			slot = next
		}
	}
	s.table[slot] = 0
}

func (s *keySet) resize(slots int) {
	old := s.table
	s.table = make([]uint32, slots)
	for _, position := range old {
		if position != 0 {
			key, _ := s.at(int(position) - 1)
			slot := s.home(key)
			for s.table[slot] != 0 {
				slot = (slot + 1) & (slots - 1)
			}
			s.table[slot] = position
		}
	}
}

// compact gives back the bytes of keys that were removed.
func (s *keySet) compact() {
	kept := newKeySet()
	kept.resize(len(s.table))
	kept.bytes = make([]byte, 0, len(s.bytes)-s.dead)
	for from := 0; from >= 0; {
		var keys [][]byte
		keys, from = s.page(from, 1024)
		for _, key := range keys {
			kept.add(key)
		}
	}
	*s = *kept
}
