package validate

import (
	"bytes"
	"encoding/json"
	"net/mail"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// again makes sure that n, written to the bus and read from it, is as valid as it was and keeps its key.
func again(t *testing.T, n *notify.Notification, key []byte) {
	t.Helper()
	encoded, err := n.Encode()
	require.NoError(t, err)
	read, m, faults := inspect(encoded, true)
	require.Empty(t, faults)
	require.Equal(t, string(key), string(OrderingKey(m)))
	encodedAgain, err := read.Encode()
	require.NoError(t, err)
	require.Equal(t, string(encoded), string(encodedAgain))
}

// FuzzCheck: whatever the bytes, no panic, bounded answers, no echo; and what is valid stays so on the bus.
func FuzzCheck(f *testing.F) {
	for _, dir := range []string{"mistakes", "valid"} {
		for _, raw := range fixtures(f, dir) {
			var fixture struct {
				Submitted json.RawMessage `json:"submitted"`
			}
			if json.Unmarshal(raw, &fixture) == nil && fixture.Submitted != nil {
				raw = fixture.Submitted
			}
			f.Add([]byte(raw))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, warnings, faults := Decode(raw, false)
		require.LessOrEqual(t, len(warnings), maxWarnings)
		require.True(t, n != nil || len(faults) > 0)
		n, m, faults := inspect(raw, true)
		require.LessOrEqual(t, len(faults), 2*maxFaults)
		for _, fault := range faults {
			require.True(t, strings.HasPrefix(fault.Pointer, "#"), fault.Pointer)
			require.False(t, strings.ContainsFunc(fault.Pointer+fault.Detail, func(r rune) bool { return r < ' ' || r > '~' }))
			require.Less(t, len(fault.Detail), 512)
		}
		requireNoEcho(t, raw, faults, 40)
		if m != nil && len(faults) == 0 {
			again(t, n, OrderingKey(m))
		}
	})
}

// FuzzReader: what it takes for JSON, and the text that it reads, is what encoding/json finds too.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+3,true,false,null,"x\n\u00e9\ud83c\udf89"]}`, `[]`, `{}`, ` "a" `, `"\ud800"`, `"\u+123"`, `01`, `1.`, `-`, `1e`, `[1,]`,
		`{"a":1,}`, `{"a"}`, `{,}`, `nul`, `truex`, "\"\x01\"", `"\x"`, `"`, `"\`, `"\u12`, `{} {}`, "\x00", "[\x00]", strings.Repeat("[", 40), "\"\xff\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := reader{b: raw}
		isText := r.peek() == '"'
		text := ""
		if isText {
			text = r.text()
		} else {
			r.skip()
		}
		r.end()
		if strings.Contains(r.bad, "nested") || !utf8.Valid(raw) {
			return
		}
		require.Equal(t, json.Valid(raw), r.bad == "", r.bad)
		if isText && r.bad == "" {
			var want string
			require.NoError(t, json.Unmarshal(raw, &want))
			require.Equal(t, want, text)
		}
	})
}

// FuzzMailbox: an accepted mailbox has one spelling, which is safe in a header and in an SMTP command.
func FuzzMailbox(f *testing.F) {
	for _, s := range []string{
		"eve@test.example", "Eve <eve@TEST.example>", `"a b"@test.example`, `"E. \"v\" e" <"a\\b"@test.example>`, "zoë@bücher.example",
		"=?utf-8?q?Zo=C3=AB?= <z@test.example>", "g: a@b.c;", "a@b (c)", "<@route:a@b.c>", "=?x?= <a@b.c>", `"=?utf-8?q?a=0D?=" <a@b.c>`, "=?utf-8?b?gA==?= <a@b.c>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := &checker{}
		mailbox, address := c.mailbox("#", s)
		if len(c.faults) > 0 {
			require.Empty(t, mailbox+address)
			return
		}
		for _, spelled := range []string{mailbox, address} {
			require.False(t, strings.ContainsFunc(spelled, unicode.IsControl), "%q", spelled)
			parsed, err := mail.ParseAddress(spelled)
			require.NoError(t, err, "%q", spelled)
			at := strings.LastIndexByte(parsed.Address, '@')
			require.Equal(t, address[strings.LastIndexByte(address, '@'):], parsed.Address[at:])
		}
		again, same := c.mailbox("#", mailbox)
		require.Empty(t, c.faults)
		require.Equal(t, mailbox, again)
		require.Equal(t, address, same)
		require.True(t, bytes.IndexByte([]byte(address), ' ') < 0 || strings.HasPrefix(address, `"`))
	})
}

// FuzzCondition: no input takes it down, and none of more than five topics passes.
func FuzzCondition(f *testing.F) {
	f.Add("'a' in topics && !('b' in topics || 'c' in topics)")
	f.Add(strings.Repeat("!(", 5000))
	f.Fuzz(func(t *testing.T, s string) {
		if condition(s) {
			require.LessOrEqual(t, strings.Count(s, "topics"), 5+strings.Count(s, "topics'"))
		}
	})
}
