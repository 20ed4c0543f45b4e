package notify

import (
	"strings"
	"unicode/utf8"
)

// Clip cuts s to at most n bytes, at a rune boundary, and drops what is not UTF-8 and all control characters: text from
// outside that goes into events, headers and logs.
func Clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// How recipients are shown and logged.
const (
	RecipientsMasked = "masked" // as Mask gives them
	RecipientsFull   = "full"
	RecipientsNone   = "none"
)

// Mask shows enough of a recipient to recognise it and too little to use it: "a***@example.com", "+15***67".
func Mask(recipient string) string {
	if at := strings.LastIndexByte(recipient, '@'); at > 0 {
		if lt := strings.LastIndexByte(recipient[:at], '<'); lt >= 0 {
			recipient, at = strings.TrimSuffix(recipient[lt+1:], ">"), at-lt-1
		}
		_, size := utf8.DecodeRuneInString(recipient)
		if at == 0 {
			size = 0
		}
		return Clip(recipient[:size]+"***"+recipient[at:], 255)
	}
	if len(recipient) < 8 {
		return "***"
	}
	return Clip(recipient, 3) + "***" + strings.ToValidUTF8(recipient[len(recipient)-2:], "")
}
