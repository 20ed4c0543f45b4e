package smtp

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// reply is what a relay answered.
type reply struct {
	code int
	text string // without the code, lines joined by \n
}

// fits reports whether r lets the dialogue go on.
func (r reply) fits(at step) bool {
	if at == atData {
		return r.code == 354
	}
	return r.code/100 == 2
}

func (r reply) refusal() bool { return r.code/100 == 4 || r.code/100 == 5 }

var needsAuth = regexp.MustCompile(`(?i)\bauth`)

// account: the relay refuses the account, whatever the message. It may say so at any step.
func account(r reply, code status) bool {
	return slices.Contains([]int{530, 534, 535, 538}, r.code) ||
		r.code == 503 && needsAuth.MatchString(r.text) ||
		r.code >= 500 && (code.is(7, 8) || code.is(7, 9) || code.is(7, 11) || code.is(7, 13))
}

var rate = regexp.MustCompile(`(?i)\brate\b|too many (messages|connections|mails|emails|requests)|throttl|slow down|greylist`)

// slows: the relay asks for fewer or later messages. 454 is a fault of its own, whatever follows, and x.2.x is the
// mailbox's.
func slows(r reply, code status) bool {
	return r.code != 454 && (code.subject == 7 || code.subject != 2 && rate.MatchString(r.text))
}

var wait = regexp.MustCompile(`(?i)\b(?:in|after|for|wait) (\d{1,4}) ?(s|m)(?:ec|in|econd|inute)?s?\b`)

// after finds how long the relay asks to wait; there is no other field for it than its text.
func after(text string) time.Duration {
	m := wait.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	if unit := strings.ToLower(m[2]); unit == "m" {
		n *= 60
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

// status is an enhanced status code (RFC 3463) without its class, which the reply's code gives more reliably.
type status struct{ class, subject, detail int }

var leading = regexp.MustCompile(`^([245])\.(\d{1,3})\.(\d{1,3})(?:\s|$)`)

func enhanced(r reply) status {
	m := leading.FindStringSubmatch(r.text)
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

func (s status) String() string {
	if !s.known() {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", s.class, s.subject, s.detail)
}

// gone: no such user, or no such domain; 5.1.10 is a domain that takes no mail (RFC 7505).
func (s status) gone() (bool, string) {
	switch {
	case s.is(1, 1) || s.is(1, 6):
		return true, notify.ReasonRecipientGone
	case s.is(1, 2) || s.is(1, 3) || s.is(1, 10):
		return true, notify.ReasonBadRecipient
	}
	return false, ""
}
