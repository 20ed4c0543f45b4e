package control

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
)

// keySet is a set of strings that takes little more memory than their bytes: the strings are stored one after another in one
// slice, and a hash table holds their positions. The zero value is not usable; see newKeySet. It is not safe for concurrent
// use.
type keySet struct {
	seed  maphash.Seed
	bytes []byte   // of each key its length as a varint, then the key
	table []uint32 // 1 + a position in bytes; 0 = free slot. Linear probing; the length is a power of two
	n     int
	dead  int // number of bytes of removed keys
}

const minSlots = 16

// maxBytes is the number of bytes that a position can address. Hosts that run this program have less memory.
const maxBytes = math.MaxUint32 - 1

func newKeySet() *keySet { return &keySet{seed: maphash.MakeSeed(), table: make([]uint32, minSlots)} }

func (s *keySet) len() int { return s.n }

func (s *keySet) has(key []byte) bool {
	_, found := s.find(key)
	return found
}

// add adds a key. It returns false if there is no room for the key.
func (s *keySet) add(key []byte) bool {
	if s.has(key) {
		return true
	}
	if 4*(s.n+1) > 3*len(s.table) {
		s.resize(2 * len(s.table))
	}
	if len(s.bytes)+len(key)+binary.MaxVarintLen64 > maxBytes {
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
	s.clearSlot(at)
	s.n--
	s.dead += len(key) + 1
	if s.dead > 64<<10 && s.dead > len(s.bytes)/2 {
		s.compact()
	}
}

// page returns up to n keys from a position on, and the position of the next page; -1 after the last page. The keys and
// positions are valid until the set changes.
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

// at returns the key at a position in bytes, and the number of bytes that it takes there.
func (s *keySet) at(position int) (key []byte, size int) {
	n, head := binary.Uvarint(s.bytes[position:])
	return s.bytes[position+head:][:n:n], head + int(n)
}

// liveAt reports whether the key at a position in bytes is in the set and was not removed.
func (s *keySet) liveAt(position int, key []byte) bool {
	slot, found := s.find(key)
	return found && s.table[slot] == uint32(position)+1
}

// find returns the slot of the key, or the free slot in which the key would be stored.
func (s *keySet) find(key []byte) (slot int, found bool) {
	mask := len(s.table) - 1
	for slot = s.preferredSlot(key); s.table[slot] != 0; slot = (slot + 1) & mask {
		if k, _ := s.at(int(s.table[slot]) - 1); string(k) == string(key) {
			return slot, true
		}
	}
	return slot, false
}

func (s *keySet) preferredSlot(key []byte) int {
	return int(maphash.Bytes(s.seed, key) & uint64(len(s.table)-1))
}

// clearSlot empties a slot and moves later keys forward, so that no search ends before it has found its key.
func (s *keySet) clearSlot(slot int) {
	mask := len(s.table) - 1
	for next := (slot + 1) & mask; s.table[next] != 0; next = (next + 1) & mask {
		key, _ := s.at(int(s.table[next]) - 1)
		if home := s.preferredSlot(key); (next-home)&mask >= (next-slot)&mask {
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
			slot := s.preferredSlot(key)
			for s.table[slot] != 0 {
				slot = (slot + 1) & (slots - 1)
			}
			s.table[slot] = position
		}
	}
}

// compact releases the memory of removed keys.
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
