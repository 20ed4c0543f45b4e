package validate

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// line checks text that ends up in a header, an address or a key: one line, so that nobody can begin another one in it.
func (c *checker) line(at, s string, most int) bool {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		c.invalid(at, "give one line of UTF-8 text without control characters")
	case len(s) > most:
		c.fault(at, notify.FaultTooLong, "keep it within "+strconv.Itoa(most)+" bytes: this is "+strconv.Itoa(len(s)))
	default:
		return true
	}
	return false
}

// Loopback reports whether host, without a port, names this host and no other.
func Loopback(host string) bool {
	host = strings.Trim(host, "[]")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
