package embedded

import (
	"errors"
	"fmt"
	"syscall"
)

// LockedError says that another process works on the directory.
type LockedError struct {
	Dir string
	PID string // of that process; may be empty
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != "" {
		who = "the process " + e.PID
	}
	return fmt.Sprintf("the directory %s is in use by %s: stop that one, or give this one a data_dir of its own", e.Dir, who)
}

// PortError says that the address is taken.
type PortError struct {
	Addr string
	Free string // an address that was free just now; may be empty
	Err  error
}

func (e *PortError) Error() string {
	return fmt.Sprintf("embedded broker: %s is in use; %s is free", e.Addr, e.Free)
}

func (e *PortError) Unwrap() error { return e.Err }

// FullError says why nothing more may be admitted.
type FullError struct {
	Used, Max  int64 // bytes of the log
	Free, Need int64 // bytes of the disk
}

func (e *FullError) Error() string {
	if e.Free < e.Need {
		return fmt.Sprintf("embedded broker: the disk has %d MiB left and must keep %d MiB: free some space", e.Free>>20, e.Need>>20)
	}
	return fmt.Sprintf("embedded broker: %d of %d MiB are taken by unfinished notifications: let the workers catch up, or raise kafka.embedded.max_bytes",
		e.Used>>20, e.Max>>20)
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
