package control

import (
	"runtime"
	"testing"
)

// heap gives the bytes of the heap that are reachable, s among them.
func heap(_ testing.TB, s *State) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(s)
	return m.HeapAlloc
}
