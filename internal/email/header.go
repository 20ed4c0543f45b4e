package email

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	foldAt   = 76  // RFC 2047: the longest line with an encoded word; RFC 5322 recommends 78
	longest  = 998 // RFC 5322 2.1.1, without CRLF
	wordMost = 75  // RFC 2047: the longest encoded word
	wordHead = "=?utf-8?q?"
	wordTail = "?="
)

// header is a block of header fields.
type header struct{ lines []string }

// add writes one field of tokens. Lines are folded between tokens, and the first line always holds a token: some take an empty
// one for the end of the headers.
func (h *header) add(name string, tokens ...string) {
	l := name + ":"
	for i, t := range tokens {
		if i > 0 && len(l)+1+len(t) > foldAt {
			h.lines = append(h.lines, l)
			l = ""
		}
		l += " " + t
	}
	h.lines = append(h.lines, l)
}

// text writes a field of unstructured text. What is not ASCII, looks like an encoded word or is too long for a line becomes encoded
// words (RFC 2047). A List- field is structured: its words stay as they are.
func (h *header) text(name, value string) error {
	words := strings.Split(value, " ")
	long := false
	for _, w := range words {
		long = long || len(name)+2+len(w) > longest
	}
	structured := strings.HasPrefix(strings.ToLower(name), "list-")
	switch {
	case long && structured && ascii(value):
		return fault("headers", "has a word that is longer than a line")
	case !ascii(value), !structured && (long || strings.Contains(value, "=?")):
		words = encoded(value, first(name))
	}
	h.add(name, words...)
	return nil
}

// mailboxes writes a list of addresses; an empty one writes nothing.
func (h *header) mailboxes(name string, all ...*mail.Address) {
	var tokens []string
	all = slices.DeleteFunc(slices.Clone(all), func(a *mail.Address) bool { return a == nil })
	for i, a := range all {
		room := wordMost
		if i == 0 {
			room = first(name)
		}
		tokens = append(tokens, phrase(a.Name, room)...)
		address := angle(a)
		if i < len(all)-1 {
			address += ","
		}
		tokens = append(tokens, address)
	}
	if len(tokens) > 0 {
		h.add(name, tokens...)
	}
}

// phrase writes a display name: a quoted string, or encoded words.
func phrase(name string, room int) []string {
	switch {
	case name == "":
		return nil
	case !ascii(name) || strings.Contains(name, "=?"):
		return encoded(name, room)
	}
	return strings.Split(`"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)+`"`, " ")
}

// first is the room for an encoded word beside the name of its field. A very long name gets a line of more than 76 bytes.
func first(name string) int { return max(foldAt-len(name)-2, len(wordHead)+len(wordTail)+12) }

// encoded writes s as encoded words; the first has at most room bytes. No word ends within a character.
func encoded(s string, room int) (words []string) {
	var b strings.Builder
	for len(s) > 0 {
		_, size := utf8.DecodeRuneInString(s)
		next := quoted(s[:size])
		if len(wordHead)+b.Len()+len(next)+len(wordTail) > room {
			words = append(words, wordHead+b.String()+wordTail)
			b.Reset()
			room = wordMost
		}
		b.WriteString(next)
		s = s[size:]
	}
	return append(words, wordHead+b.String()+wordTail)
}

// quoted is one character in the Q encoding, with those letters alone that a phrase may hold (RFC 2047 5).
func quoted(s string) string {
	c := s[0]
	switch {
	case c == ' ':
		return "_"
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "=%02X", s[i])
	}
	return b.String()
}
