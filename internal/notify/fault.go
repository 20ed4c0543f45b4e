package notify

import (
	"errors"
	"strings"
)

// Codes of faults. NotSupportedYet turns the whole answer into not-supported-yet; the others are details of
// invalid-notification.
const (
	FaultRequired        = "required"
	FaultInvalid         = "invalid"
	FaultTooLong         = "too-long"
	FaultTooLarge        = "too-large"
	FaultUnknownField    = "unknown-field"
	FaultNotSupportedYet = "not-supported-yet"
)

// Fault is one thing wrong with a notification. Detail says what to do and never repeats what was submitted.
type Fault struct {
	Pointer string `json:"pointer"` // RFC 6901 as a URI fragment: "#/payload/subject"
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Faults is every fault that was found; as an error it is one line.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Pointer + ": " + f.Detail
	}
	return strings.Join(lines, "; ")
}

// Has reports whether a fault of the code is among fs.
func (fs Faults) Has(code string) bool {
	for _, f := range fs {
		if f.Code == code {
			return true
		}
	}
	return false
}

// What a dispatch can end in besides success. Callers match them with errors.Is.
var (
	// ErrBusUnavailable: Kafka did not acknowledge in time. The job may be on the log all the same: repeat with the same id.
	ErrBusUnavailable = errors.New("the bus is unavailable")
	// ErrTooLarge: the encoded record is larger than the topic takes. Repeating does not help.
	ErrTooLarge = errors.New("the notification is too large")
	// ErrChannelNotConfigured: no gateway serves the channel.
	ErrChannelNotConfigured = errors.New("the channel has no gateway")
)
