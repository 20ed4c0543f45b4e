package kafka

import "syscall"

// limitUnacked makes the system end a connection whose data has not been acknowledged for [unackedFor].
func limitUnacked(_, _ string, raw syscall.RawConn) error {
	return setTCP(raw, syscall.TCP_RXT_CONNDROPTIME, int(unackedFor.Seconds()))
}
