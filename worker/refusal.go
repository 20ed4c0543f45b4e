package worker

import (
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Refusal says that this process leaves a gateway alone, and why.
type Refusal struct {
	Circuit gateway.BreakerState // open or half-open
	Since   time.Time            // when the circuit breaker opened
	Code    string               // of the failure that was last
	Reason  string               // bounded, without the recipient
	Pace    float64              // calls a second that the process may make; +Inf without a limit
}

// refusals holds what is known of the failures that keep a breaker open. The zero value is a gateway that was never left alone.
// Its methods may be called at once from many goroutines.
type refusals struct {
	mu           sync.Mutex
	since        time.Time
	code, reason string
}

// note takes in what a failure did to the breaker.
func (r *refusals) note(change gateway.BreakerChange, now time.Time, code, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch change {
	case gateway.BreakerUnchanged:
	case gateway.BreakerReclosed:
		r.since = time.Time{}
	case gateway.BreakerOpened:
		r.since, r.code, r.reason = now, code, reason
	case gateway.BreakerReopened:
		if r.since.IsZero() {
			r.since = now
		}
		r.code, r.reason = code, reason
	}
}

// Refusal returns why this process leaves the gateway alone; ok is false while it is used. Concurrent calls are safe.
func (o *Outlet) Refusal(now time.Time) (r Refusal, ok bool) {
	circuit := o.Breaker.State()
	o.refusals.mu.Lock()
	r = Refusal{Circuit: circuit, Since: o.refusals.since, Code: o.refusals.code, Reason: o.refusals.reason}
	o.refusals.mu.Unlock()
	if circuit == gateway.BreakerClosed || r.Since.IsZero() { // the breaker changes a moment before what is noted
		return Refusal{}, false
	}
	r.Pace = o.Limiter.Rate(now)
	return r, true
}

const (
	refusalCode   = 64
	refusalReason = 255
)

// anonymous makes a gateway's words about one message fit to be shown with other messages: without the recipient, and bounded.
func anonymous(text string, m *notify.Message, most int) string {
	for _, recipient := range []string{m.Recipient, m.Address} {
		if len(recipient) > 2 {
			text = strings.ReplaceAll(text, recipient, "***")
		}
	}
	words := strings.Fields(notify.Clip(text, 4*most))
	for i, word := range words {
		if strings.Contains(word, "@") {
			words[i] = "***"
		}
	}
	return notify.Clip(strings.Join(words, " "), most)
}
