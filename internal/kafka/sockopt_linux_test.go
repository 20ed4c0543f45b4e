package kafka

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireWatched asks the system for the options of a connection.
func requireWatched(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	var alive, unacked int
	require.NoError(t, raw.Control(func(fd uintptr) {
		alive, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		unacked, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 0x12)
	}))
	require.NotZero(t, alive)
	require.Equal(t, int(unackedFor.Milliseconds()), unacked)
}
