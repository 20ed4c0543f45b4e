package control

import (
	"runtime"
	"testing"
)

// heap returns the number of reachable bytes on the heap, including s.
func heap(_ testing.TB, s *State) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(s)
	return m.HeapAlloc
}
