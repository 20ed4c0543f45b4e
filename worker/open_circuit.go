package worker

import (
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// OpenCircuit describes why this process does not use a gateway: its circuit breaker is not closed.
type OpenCircuit struct {
	State  gateway.BreakerState // open or half-open
	Since  time.Time            // when the circuit breaker opened
	Code   string               // of the last failure
	Reason string               // of the last failure; bounded, without the recipient
	Rate   float64              // calls per second that the process may make; +Inf without a limit
}

// circuitHistory holds the last failure that opened a circuit breaker or kept it open. The zero value is a breaker that has always
// been closed. Concurrent calls are safe.
type circuitHistory struct {
	mu           sync.Mutex
	since        time.Time
	code, reason string
}

// record notes a change of the breaker, with the failure that caused it.
func (c *circuitHistory) record(change gateway.BreakerChange, now time.Time, code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch change {
	case gateway.BreakerUnchanged:
	case gateway.BreakerReclosed:
		c.since = time.Time{}
	case gateway.BreakerOpened:
		c.since = now
		c.code = code
		c.reason = reason
	case gateway.BreakerReopened:
		if c.since.IsZero() {
			c.since = now
		}
		c.code = code
		c.reason = reason
	}
}

// OpenCircuit returns why this process does not use the gateway; ok is false while it does. Concurrent calls are safe.
func (o *Outlet) OpenCircuit(now time.Time) (c OpenCircuit, ok bool) {
	state := o.Breaker.State()
	o.circuit.mu.Lock()
	c = OpenCircuit{State: state, Since: o.circuit.since, Code: o.circuit.code, Reason: o.circuit.reason}
	o.circuit.mu.Unlock()
	if state == gateway.BreakerClosed || c.Since.IsZero() { // the breaker changes a moment before its history
		return OpenCircuit{}, false
	}
	c.Rate = o.Limiter.Rate(now)
	return c, true
}

const (
	maxCircuitCode   = 64
	maxCircuitReason = 255
)

// anonymize returns a gateway's text about one message without the recipient and cut to maxBytes, so that it may be shown for all
// messages.
func anonymize(text string, m *notify.Message, maxBytes int) string {
	for _, recipient := range []string{m.Recipient, m.Address} {
		if len(recipient) > 2 {
			text = strings.ReplaceAll(text, recipient, "***")
		}
	}
	words := strings.Fields(notify.Clip(text, 4*maxBytes))
	for i, word := range words {
		if strings.Contains(word, "@") {
			words[i] = "***"
		}
	}
	return notify.Clip(strings.Join(words, " "), maxBytes)
}
