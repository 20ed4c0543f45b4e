//go:build !linux

package kafka

import (
	"net"
	"testing"
)

// requireWatched asks nothing: the options are known on Linux only.
func requireWatched(*testing.T, *net.TCPConn) {}
