package validate

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	maxSMS   = 1600 // characters; more is no longer one message for any carrier
	maxMedia = 10
)

var smsFields = []string{"body", "from", "media_urls"}

func (c *checker) readSMS(at string) *notify.SMS {
	s := &notify.SMS{}
	found := c.members(at, smsFields, func(i int, at string) {
		switch smsFields[i] {
		case "body":
			s.Body = c.str(at)
		case "from":
			s.From = c.str(at)
		case "media_urls":
			s.MediaURLs = c.strs(at)
		}
	})
	if !found {
		return nil
	}
	return s
}

func (c *checker) sms(s *notify.SMS, hasFrom bool) {
	const at = "#/payload"
	if s.From == "" && !hasFrom {
		c.required(at+"/from", "give the sender, such as +15550123456: the gateway has none of its own")
	} else if s.From != "" && !sender(s.From) {
		c.invalid(at+"/from", "give an E.164 number such as +15550123456, a short code, or a sender id of at most 11 letters, digits and spaces")
	}
	if n := utf8.RuneCountInString(s.Body); n > maxSMS {
		c.fault(at+"/body", notify.FaultTooLong, "keep it within "+strconv.Itoa(maxSMS)+" characters: these are "+strconv.Itoa(n))
	}
	if strings.TrimSpace(s.Body) == "" && len(s.MediaURLs) == 0 {
		c.required(at+"/body", "give a body or media_urls")
	}
	if n := len(s.MediaURLs); n > maxMedia {
		c.fault(at+"/media_urls", notify.FaultTooLarge, "give at most "+strconv.Itoa(maxMedia)+": these are "+strconv.Itoa(n))
		return
	}
	for i, u := range s.MediaURLs {
		c.link(element(at+"/media_urls", i), u)
	}
}

// phone checks an E.164 number.
func (c *checker) phone(at, s string) string {
	switch {
	case s == "":
		c.required(at, "give an E.164 number such as +15550123456")
	case !e164(s):
		c.invalid(at, "give an E.164 number such as +15550123456: a plus sign, the country code and the number, digits only")
	}
	return s
}

func e164(s string) bool {
	return len(s) >= 8 && len(s) <= 16 && s[0] == '+' && s[1] != '0' && strings.Trim(s[1:], digits) == ""
}

// sender reports whether a carrier can show s: an E.164 number, a short code or an alphanumeric id, which has a letter.
func sender(s string) bool {
	switch {
	case e164(s):
		return true
	case strings.Trim(s, digits) == "":
		return len(s) >= 3 && len(s) <= 8
	default:
		return len(s) <= 11 && strings.Trim(s, letters+digits+" +-_&") == "" && strings.ContainsAny(s, letters) && strings.TrimSpace(s) == s
	}
}
