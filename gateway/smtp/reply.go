package smtp

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// reply is one reply of a relay.
type reply struct {
	code int
	text string // without the code, lines joined by \n
}

// proceeds reports whether the transaction goes on after r.
func (r reply) proceeds(at step) bool {
	if at == atData {
		return r.code == 354
	}
	return r.code/100 == 2
}

func (r reply) refusal() bool { return r.code/100 == 4 || r.code/100 == 5 }

var waitPattern = regexp.MustCompile(`(?i)\b(?:in|after|for|wait) (\d{1,4}) ?(s|m|h)(?:ec|in|econd|inute|r|our)?s?\b`)

// retryAfter returns how long the relay asks to wait, at most one day. A reply has no field for it other than its text.
func retryAfter(text string) time.Duration {
	m := waitPattern.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[strings.ToLower(m[2])]
	return min(time.Duration(n)*unit, 24*time.Hour)
}

// status is an enhanced status code (RFC 3463). Use the code of the reply instead of its class, as the code is more reliable.
type status struct{ class, subject, detail int }

var enhancedPrefix = regexp.MustCompile(`^([245])\.(\d{1,3})\.(\d{1,3})(?:\s|$)`)

func enhanced(r reply) status {
	m := enhancedPrefix.FindStringSubmatch(r.text)
	if m == nil {
		return status{}
	}
	class, _ := strconv.Atoi(m[1])
	subject, _ := strconv.Atoi(m[2])
	detail, _ := strconv.Atoi(m[3])
	return status{class, subject, detail}
}

func (s status) known() bool { return s.class != 0 }
func (s status) is(subject, detail int) bool {
	return s.known() && s.subject == subject && s.detail == detail
}

// number returns the code without its class, or an empty text if there is no code.
func (s status) number() string {
	if !s.known() {
		return ""
	}
	return fmt.Sprintf("%d.%d", s.subject, s.detail)
}

func (s status) String() string {
	if !s.known() {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", s.class, s.subject, s.detail)
}

// gone reports whether the code says that the recipient or its domain does not exist, and returns the reason. 5.1.10 is a
// domain that accepts no mail (RFC 7505).
func (s status) gone() (bool, string) {
	switch {
	case s.is(1, 1) || s.is(1, 6):
		return true, notify.ReasonRecipientGone
	case s.is(1, 2) || s.is(1, 3) || s.is(1, 10):
		return true, notify.ReasonBadRecipient
	}
	return false, ""
}
