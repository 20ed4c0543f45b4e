package smtp

import (
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mask removes from a relay's reply what must not reach events and logs: relays quote recipients, credentials and parts of the
// mail. It works word by word, and hides too much rather than too little.
type mask struct {
	words   []string // lower case: a word that contains one is hidden
	payload string   // lower case
}

const hidden = "***"

// mask returns the mask for replies to e; a nil e is for replies outside of a transaction.
func (r relay) mask(e *envelope) mask {
	var m mask
	user, password := r.username, string(r.password)
	m.hide(user, password)
	for _, s := range []string{user, password, "\x00" + user + "\x00" + password} {
		m.hide(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	if e == nil {
		return m
	}
	for _, to := range e.to {
		local, _, _ := strings.Cut(strings.Trim(to, "<>"), "@")
		m.hide(strings.Trim(local, `"`))
	}
	p := e.message.Email
	for _, box := range append(append([]string{e.message.Recipient}, p.CC...), p.BCC...) {
		name, _, _ := strings.Cut(box, "<")
		for word := range strings.FieldsSeq(name) {
			m.hide(strings.Trim(word, `",`))
		}
	}
	parts := []string{p.Subject, p.Text, p.HTML}
	for _, v := range p.Headers {
		parts = append(parts, v)
	}
	m.payload = strings.ToLower(strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
	return m
}

// hide adds needles. It ignores needles of one or two bytes, which would hide almost every word.
func (m *mask) hide(needles ...string) {
	for _, n := range needles {
		if len(n) > 2 {
			m.words = append(m.words, strings.ToLower(n))
		}
	}
}

// clean returns the text of a reply in the form of a Reason: on one line, without enhanced codes, masked and clipped.
func (m mask) clean(text string) string {
	var words []string
	for line := range strings.SplitSeq(text, "\n") {
		line = enhancedPrefix.ReplaceAllString(strings.TrimSpace(line), "")
		words = append(words, strings.Fields(line)...)
	}
	out := append([]string(nil), words...)
	for i, w := range words {
		if m.hides(w) {
			out[i] = hidden
		}
		for n := 2; n <= 3 && i+n <= len(words); n++ {
			if m.quotesPayload(words[i : i+n]) {
				for j := range n {
					out[i+j] = hidden
				}
			}
		}
	}
	return strings.TrimSpace(notify.Clip(strings.Join(out, " "), 300))
}

// withoutQuotes returns the words without phrases that are also in the mail.
func (m mask) withoutQuotes(words []string) []string {
	quoted := make([]bool, len(words))
	for i := range words {
		for n := 2; n <= 3 && i+n <= len(words); n++ {
			if m.quotesPayload(words[i : i+n]) {
				for j := range n {
					quoted[i+j] = true
				}
			}
		}
	}
	var rest []string
	for i, w := range words {
		if !quoted[i] {
			rest = append(rest, w)
		}
	}
	return rest
}

// quotesPayload reports whether the words are a phrase of the mail. A short phrase does not count, as it may occur in any text.
func (m mask) quotesPayload(words []string) bool {
	cores := make([]string, len(words))
	for i, w := range words {
		cores[i] = core(w)
		if cores[i] == "" {
			return false
		}
	}
	phrase := strings.Join(cores, " ")
	return (len(words) > 2 && len(phrase) > 6 || len(phrase) > 12) && strings.Contains(m.payload, phrase)
}

func (m mask) hides(word string) bool {
	low := strings.ToLower(word)
	if strings.Contains(low, "@") || strings.Contains(low, "%40") || strings.Contains(low, "=40") {
		return true
	}
	for _, n := range m.words {
		if strings.Contains(low, n) {
			return true
		}
	}
	// Hide numbers, links and codes of the mail; plain words occur in every mail.
	c := core(word)
	return len(c) > 3 && strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsLetter(r) }) && strings.Contains(m.payload, c)
}

// core returns a word in lower case, without the punctuation around it.
func core(word string) string {
	return strings.TrimFunc(strings.ToLower(word), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}
