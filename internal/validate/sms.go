package validate

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	maxSMS   = 1600 // UTF-16 units, as providers count; more is no longer one message for any carrier
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
	if size := notify.SizeOf(s.Body); size.Units > maxSMS {
		c.fault(at+"/body", notify.FaultTooLong, "keep it within "+strconv.Itoa(maxSMS)+" UTF-16 units, of which an emoji takes two or more: these are "+
			strconv.Itoa(size.Units)+", in "+strconv.Itoa(size.Segments)+" segments of "+size.Encoding)
	}
	if strings.TrimSpace(s.Body) == "" && len(s.MediaURLs) == 0 {
		c.required(at+"/body", "give a body or media_urls")
	}
	if n := len(s.MediaURLs); n > maxMedia {
		c.fault(at+"/media_urls", notify.FaultTooLarge, "give at most "+strconv.Itoa(maxMedia)+": these are "+strconv.Itoa(n))
		return
	}
	for i, u := range s.MediaURLs {
		c.media(element(at+"/media_urls", i), u)
	}
}

// media checks the URL of a picture or another file, which the provider fetches.
func (c *checker) media(at, s string) {
	switch u, err := url.Parse(s); {
	case s == "":
		c.required(at, "give the URL of a file, or leave the entry out")
	case err == nil && u.User != nil && blanks(s) == "":
		c.invalid(at, "take out user and password: the provider fetches the file without them")
	default:
		c.link(at, s)
	}
}

// phone checks an E.164 number.
func (c *checker) phone(at, s string) string {
	switch {
	case s == "":
		c.required(at, "give an E.164 number such as +15550123456")
	case invisibleIn(s) != "":
		c.invalid(at, "take the invisible character "+invisibleIn(s)+" out of the number")
	case !e164(s):
		c.invalid(at, "give an E.164 number such as +15550123456: a plus sign, the country code and the number, digits only")
	case !c.anyNumber:
		if remedy := impossible(s); remedy != "" {
			c.invalid(at, remedy)
		}
	}
	return s
}

// impossible returns what to do about an E.164 number that no phone can have, or "". It goes by lengths and country codes, and
// not by the ranges that a country has given out, for new ones are given out all the time.
func impossible(s string) string {
	n, ok := dialable(s)
	if !ok {
		var err error
		if n, err = phonenumbers.Parse(s, ""); err != nil {
			return "give a number with a country code that exists"
		}
	}
	const withoutPrefix = "take out the prefix between country code and number, such as the 0 in +49 0151: it is dialled within the country only"
	if !ok && phonenumbers.Format(n, phonenumbers.E164) != s {
		return withoutPrefix
	}
	switch phonenumbers.IsPossibleNumberWithReason(n) {
	case phonenumbers.IS_POSSIBLE:
		if !ok && trunk(n) {
			return withoutPrefix
		}
		return ""
	case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return "give the whole number, with its area code: it is too short for its country"
	case phonenumbers.TOO_LONG:
		return "look at the number: it is too long for its country"
	default:
		return "look at the number: its country has none of this length"
	}
}

// trunk reports whether a number begins with a prefix that is dialled within the country only, although its length would fit.
// In North America no number begins with 0 or 1. Elsewhere a 0 may belong to it, as in Italy, where the number is a known one.
func trunk(n *phonenumbers.PhoneNumber) bool {
	national := phonenumbers.GetNationalSignificantNumber(n)
	if n.GetCountryCode() == 1 {
		return strings.HasPrefix(national, "0") || strings.HasPrefix(national, "1")
	}
	return strings.HasPrefix(national, "0") && !phonenumbers.IsValidNumber(n)
}

// Warnings returns what the caller of a valid notification should know: the size of a text message without media.
func Warnings(n *notify.Notification) []string {
	if n.Channel != notify.ChannelSMS {
		return nil
	}
	c := &checker{reader: reader{b: n.Payload}}
	m := notify.Message{SMS: c.readSMS("#/payload")}
	if c.bad != "" || len(c.faults) > 0 {
		return nil // its faults are known
	}
	return m.Warnings()
}

func e164(s string) bool {
	return len(s) >= 8 && len(s) <= 16 && s[0] == '+' && s[1] != '0' && strings.Trim(s[1:], digits) == ""
}

// sender reports whether a carrier can show s: an E.164 number, a short code or an alphanumeric id, which has a letter.
func sender(s string) bool {
	switch {
	case e164(s):
		return impossible(s) == ""
	case strings.Trim(s, digits) == "":
		return len(s) >= 3 && len(s) <= 8
	default:
		return len(s) <= 11 && strings.Trim(s, letters+digits+" +-_&") == "" && strings.ContainsAny(s, letters) && strings.TrimSpace(s) == s
	}
}
