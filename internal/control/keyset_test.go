package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func (s *keySet) all() map[string]bool {
	all := map[string]bool{}
	for from := 0; from >= 0; {
		var keys [][]byte
		keys, from = s.page(from, 3)
		for _, k := range keys {
			all[string(k)] = true
		}
	}
	return all
}

// The set behaves like a map for any sequence of additions and removals.
func TestKeySet_IsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := newKeySet(), map[string]bool{}
		keys := rapid.SliceOfNDistinct(rapid.StringN(0, 20, 200), 1, 40, rapid.ID).Draw(t, "keys")
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			if rapid.Bool().Draw(t, "add") {
				require.True(t, s.add([]byte(key)))
				model[key] = true
			} else {
				s.remove([]byte(key))
				delete(model, key)
			}
			require.Equal(t, len(model), s.len())
		}
		for _, key := range keys {
			require.Equal(t, model[key], s.has([]byte(key)), "%q", key)
		}
		require.Equal(t, model, s.all())
		s.compact()
		require.Equal(t, model, s.all())
	})
}

func TestKeySet_ReleasesMemoryOfRemovedKeys(t *testing.T) {
	s := newKeySet()
	long := strings.Repeat("x", 1000)
	for i := range 10_000 {
		s.add(fmt.Appendf(nil, "%s%d", long, i))
		if i >= 10 {
			s.remove(fmt.Appendf(nil, "%s%d", long, i-10))
		}
	}
	require.Equal(t, 10, s.len())
	require.Less(t, cap(s.bytes), 256<<10)
}

// BenchmarkState_Memory measures the memory of a million suppressions.
func BenchmarkState_Memory(b *testing.B) {
	for range b.N {
		s := New()
		for i := range 1_000_000 {
			r := Suppress("default", "email", fmt.Sprintf("someone.%d@example.com", i)).Record()
			s.Apply(r.Key, r.Value, noon)
		}
		b.ReportMetric(float64(heap(b, s))/1e6, "bytes/entry")
	}
}
