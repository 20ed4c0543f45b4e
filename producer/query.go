package producer

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// query reads the parameters of a request, one method call each. What is wrong is kept until [query.refusal], which also
// refuses parameters that nobody has read: they would be ignored.
type query struct {
	values url.Values
	broken bool
	known  []string
	faults []string
}

func readQuery(raw string) *query {
	values, err := url.ParseQuery(raw)
	return &query{values: values, broken: err != nil}
}

// refusal is the problem that the parameters have, nil if none. It names parameters that there are, never what was given.
func (q *query) refusal() error {
	if q.broken {
		return refuse(codeInvalidParameter, "write the query as name=value, joined by & and with every other character than letters and digits percent-encoded")
	}
	for name := range q.values {
		if !slices.Contains(q.known, name) {
			q.fault("there is a parameter that is not known here", "give none but "+strings.Join(q.known, ", "))
			break
		}
	}
	if len(q.faults) == 0 {
		return nil
	}
	return refuse(codeInvalidParameter, strings.Join(q.faults, "; "))
}

func (q *query) fault(name, remedy string) { q.faults = append(q.faults, name+": "+remedy) }

// one gives the value of a parameter that may be given once; ok is false when it is not given, or wrongly so.
func (q *query) one(name, remedy string) (value string, ok bool) {
	q.known = append(q.known, name)
	switch values := q.values[name]; {
	case len(values) == 0:
		return "", false
	case len(values) > 1:
		q.fault(name, "give it once")
		return "", false
	case values[0] == "":
		q.fault(name, remedy+", or leave it out")
		return "", false
	default:
		return values[0], true
	}
}

// text reads a text of at most so many characters, in which the store can look for it.
func (q *query) text(name string, most int) string {
	remedy := "give at most " + strconv.Itoa(most) + " characters of UTF-8, none of them a control character"
	text, ok := q.one(name, remedy)
	if ok && (!utf8.ValidString(text) || utf8.RuneCountInString(text) > most || strings.ContainsFunc(text, unicode.IsControl)) {
		q.fault(name, remedy)
		return ""
	}
	return text
}

// number reads a number between least and most; absent when it is not given.
func (q *query) number(name string, absent, least, most int64) int64 {
	remedy := "give a number from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10)
	text, ok := q.one(name, remedy)
	if !ok {
		return absent
	}
	n, ok := number(text)
	if !ok || n < least || n > most {
		q.fault(name, remedy)
		return absent
	}
	return n
}

func number(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && text[0] != '+'
}

// moment reads a time; zero when it is not given.
func (q *query) moment(name string) time.Time {
	const remedy = "give a time by RFC 3339, such as 2026-01-31T09:30:00Z (the + of an offset is written %2B)"
	text, ok := q.one(name, remedy)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		q.fault(name, remedy)
	}
	return at.UTC()
}

// word reads one of the words that there are.
func word[T ~string](q *query, name string, words []T) T {
	remedy := "give one of " + list(words)
	text, ok := q.one(name, remedy)
	if ok && !slices.Contains(words, T(text)) {
		q.fault(name, remedy)
		return ""
	}
	return T(text)
}

// words reads a parameter that may be repeated.
func words[T ~string](q *query, name string, known []T) (all []T) {
	q.known = append(q.known, name)
	for _, text := range q.values[name] {
		if !slices.Contains(known, T(text)) {
			q.fault(name, "give one of "+list(known)+" (it may be repeated)")
			return nil
		}
		if !slices.Contains(all, T(text)) {
			all = append(all, T(text))
		}
	}
	return all
}

func list[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

// filter reads what notifications and events alike are chosen by.
func (q *query) filter() notify.LifeFilter {
	f := notify.LifeFilter{
		States: words(q, "state", notify.States()), Channel: word(q, "channel", notify.Channels()), Lane: word(q, "lane", notify.Lanes()),
		Reference: q.text("reference", 255),
	}
	const remedy = "give 1 to 64 letters, digits, dots, hyphens and underscores"
	tenant, ok := q.one("tenant", remedy)
	if ok && !validate.IsTenant(tenant) {
		q.fault("tenant", remedy)
	}
	f.Tenant = tenant
	return f
}

// address reads a recipient as it was written.
func (q *query) address(name string) string {
	text := q.text(name, 4096)
	if number, ok := strings.CutPrefix(text, " "); ok { // no recipient begins so: it is a plus that was not encoded
		return "+" + number
	}
	return text
}

// recipient reads a recipient in the spelling by which recipients are found: the bare address or number where it is one, else
// as it was written, as tokens, topics and conditions are.
func (q *query) recipient(channel notify.Channel) string {
	text := q.address("recipient")
	for _, ch := range []notify.Channel{notify.ChannelEmail, notify.ChannelSMS} {
		if text == "" || channel != "" && channel != ch {
			continue
		}
		if bare, faults := validate.Recipient(&notify.Notification{Channel: ch, Recipient: text}); len(faults) == 0 {
			return bare
		}
	}
	return text
}
