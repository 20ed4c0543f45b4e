package validate

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// link checks an absolute https URL. http is allowed for loopback only.
func (c *checker) link(at, s string) {
	if remedy := blanks(s); remedy != "" { // before what control characters get: a tab is one
		c.invalid(at, remedy)
		return
	}
	if !c.line(at, s, 2048) {
		return
	}
	if remedy := unreachable(s); remedy != "" {
		c.invalid(at, remedy)
	}
}

// blanks returns what to do about white space and invisible characters in a URL, or "".
func blanks(s string) string {
	if at := strings.IndexFunc(s, unicode.IsSpace); at >= 0 {
		return "take out the space at character " + strconv.Itoa(utf8.RuneCountInString(s[:at])+1) + ", or write it as %20"
	}
	if at := strings.IndexFunc(s, func(r rune) bool { return unicode.Is(unicode.Cf, r) }); at >= 0 {
		r, _ := utf8.DecodeRuneInString(s[at:])
		return "take out the invisible character " + runeName(r) + " at character " + strconv.Itoa(utf8.RuneCountInString(s[:at])+1)
	}
	return ""
}

// unfetchable returns what to do about a URL at which nothing can be fetched, or "". It does not repeat the URL.
func unfetchable(s string) string {
	if remedy := blanks(s); remedy != "" {
		return remedy
	}
	return unreachable(s)
}

// unreachable is unfetchable for a URL without blanks.
func unreachable(s string) string {
	u, err := url.Parse(s)
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape):
		return "write a percent sign that begins no escape such as %20 as %25"
	case err != nil && !strings.Contains(s, "://"):
		return "give an absolute URL that begins with https://"
	case err != nil:
		return "look at host and port after https://: there can be none such"
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return "begin it with https://: http is for this host only"
	case u.Scheme != "https" && u.Scheme != "http":
		return "give an absolute URL that begins with https://"
	case u.Hostname() == "":
		return "give the host after https://"
	case !hasPort(u) || !hasHost(u):
		return "look at host and port after https://: there can be none such"
	}
	return ""
}

func hasPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func hasHost(u *url.URL) bool {
	if net.ParseIP(u.Hostname()) != nil {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(u.Hostname(), "."), ".") { // of a bucket, it may have an underscore
		if !isHostLabel(label) {
			return false
		}
	}
	return true
}
