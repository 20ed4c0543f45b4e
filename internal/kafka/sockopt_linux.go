package kafka

import "syscall"

// limitUnacked makes the system end a connection whose data has not been acknowledged for [unackedFor].
func limitUnacked(_, _ string, raw syscall.RawConn) error {
	const tcpUserTimeout = 0x12 // in milliseconds; package syscall has it on some architectures only
	return setTCP(raw, tcpUserTimeout, int(unackedFor.Milliseconds()))
}
