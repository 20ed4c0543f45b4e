package smtp

import (
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mask takes out of a relay's reply what must not reach events and logs: relays quote recipients, credentials and
// pieces of the mail. It works word by word and rather hides too much.
type mask struct {
	words   []string // lower case: a word that contains one is hidden
	payload string   // lower case
}

const hidden = "***"

// mask for replies to e, or to no message at all.
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

// hide: a needle of one or two letters would hide everything.
func (m *mask) hide(needles ...string) {
	for _, n := range needles {
		if len(n) > 2 {
			m.words = append(m.words, strings.ToLower(n))
		}
	}
}

// clean gives reply text fit for a Reason: one line, without enhanced codes, clipped, masked.
func (m mask) clean(text string) string {
	var words []string
	for line := range strings.SplitSeq(text, "\n") {
		line = leading.ReplaceAllString(strings.TrimSpace(line), "")
		words = append(words, strings.Fields(line)...)
	}
	out := append([]string(nil), words...)
	for i, w := range words {
		if m.hides(w) {
			out[i] = hidden
		}
		for n := 2; n <= 3 && i+n <= len(words); n++ {
			if m.quotes(words[i : i+n]) {
				for j := range n {
					out[i+j] = hidden
				}
			}
		}
	}
	return strings.TrimSpace(notify.Clip(strings.Join(out, " "), 300))
}

// withoutQuotes leaves out words that follow each other in the mail too.
func (m mask) withoutQuotes(words []string) []string {
	quoted := make([]bool, len(words))
	for i := range words {
		for n := 2; n <= 3 && i+n <= len(words); n++ {
			if m.quotes(words[i : i+n]) {
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

// quotes reports whether the words follow each other in the mail, and are not just such as follow each other everywhere.
func (m mask) quotes(words []string) bool {
	cores := make([]string, len(words))
	for i, w := range words {
		if cores[i] = core(w); cores[i] == "" {
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
	// A number, link or code out of the mail; plain words are common to all mail.
	c := core(word)
	return len(c) > 3 && strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsLetter(r) }) && strings.Contains(m.payload, c)
}

// core is a word in lower case without the punctuation around it.
func core(word string) string {
	return strings.TrimFunc(strings.ToLower(word), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}
