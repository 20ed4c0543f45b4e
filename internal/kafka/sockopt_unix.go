//go:build linux || darwin

package kafka

import "syscall"

// setTCP sets an option of a socket that is not connected yet. A system that refuses the option can do without: the
// deadlines of requests hold all the same.
func setTCP(raw syscall.RawConn, option, value int) error {
	return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, option, value) })
}
