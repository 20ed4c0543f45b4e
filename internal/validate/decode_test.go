package validate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const small = `{"channel":"email","recipient":"eve@test.example","payload":{"from":"shop@test.example","subject":"s","text":"t"}}`

func TestMalformed(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":              "",
		"white space":          " \n",
		"a word":               "notification",
		"cut off":              small[:len(small)-1],
		"trailing data":        small + "{}",
		"trailing comma":       `{"channel":"email",}`,
		"single quotes":        `{'channel':'email'}`,
		"a comment":            `{/* */}`,
		"not UTF-8":            "{\"channel\":\"\xff\"}",
		"a byte order mark":    "\ufeff" + small,
		"a NUL":                "{\"channel\":\"\x00\"}",
		"an unknown escape":    `{"channel":"\q"}`,
		"half an escape":       `{"channel":"\u12"}`,
		"a leading zero":       `{"channel":01}`,
		"not a number":         `{"channel":NaN}`,
		"deeper than anything": strings.Repeat(`{"a":`, 100_000),
		"deep in the payload":  `{"payload":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			n, warnings, faults := Decode([]byte(raw), false)
			require.Nil(t, n)
			require.Empty(t, warnings)
			require.Len(t, faults, 1)
			require.Equal(t, Malformed, faults[0].Code)
			require.Regexp(t, `at byte \d+$`, faults[0].Detail)
		})
	}
}

func TestNotAnObject(t *testing.T) {
	for _, raw := range []string{"[]", "7", `"text"`, "null", "true"} {
		n, _, faults := Decode([]byte(raw), true)
		require.Nil(t, n)
		require.Len(t, faults, 1)
		require.Equal(t, notify.FaultInvalid, faults[0].Code)
	}
}

func TestTwice(t *testing.T) {
	for raw, pointer := range map[string]string{
		`{"recipient":"a","recipient":"b"}`:                                                                                        "#/recipient",
		`{"recipient":null,"recipient":"b"}`:                                                                                       "#/recipient",
		`{"metadata":{"a":"1","a":"1"}}`:                                                                                           "#/metadata/a",
		`{"channel":"email","payload":{"subject":"a","subject":"a"}}`:                                                              "#/payload/subject",
		`{"channel":"push","payload":{"android":{"ttl":"1s","ttl":"1s"}}}`:                                                         "#/payload/android/ttl",
		`{"channel":"push","payload":{"apns":{"payload":{"mine":1,"mine":2}}}}`:                                                    "#/payload/apns/payload/mine",
		`{"channel":"push","payload":{"apns":{"payload":{"mine":{"a":1,"\u0061":2}}}}}`:                                            "#/payload/apns/payload/mine/a",
		`{"channel":"email","payload":{"attachments":[{"filename":"a","content":""},{"filename":"a","content":"","content":""}]}}`: "#/payload/attachments/1/content",
	} {
		_, _, faults := inspect([]byte(raw), true)
		require.True(t, has(faults, pointer), "%s: %s", raw, faults)
		for _, f := range faults {
			if f.Pointer == pointer {
				require.Contains(t, f.Detail, "twice")
			}
		}
	}
}

// Half a surrogate pair is legal JSON and no text: encoding/json would put a question mark in its place.
func TestUnpairedSurrogates(t *testing.T) {
	for _, raw := range []string{
		`{"reference":"\ud800"}`, `{"reference":"\ude00\ud83d"}`, `{"reference":"\ud83dx"}`,
	} {
		_, _, faults := Decode([]byte(raw), true)
		require.Equal(t, "#/reference", faults[0].Pointer)
	}
	n, _, faults := Decode([]byte(`{"reference":"\ud83c\udf89"}`), true)
	require.Empty(t, faults)
	require.Equal(t, "🎉", n.Reference)
}

func TestUnknownFieldsOnTheBusAreWarnings(t *testing.T) {
	raw := `{"prio":1,"someone@test.example":{"a":[1]},"\u0000":1,` + strings.Repeat(`"more":1,`, 20) + small[1:]
	n, warnings, faults := Decode([]byte(raw), false)
	require.Empty(t, faults)
	require.Equal(t, "eve@test.example", n.Recipient)
	require.Len(t, warnings, maxWarnings)
	require.Equal(t, "unknown field prio was ignored", warnings[0])
	require.Equal(t, "an unknown field was ignored", warnings[1])
}

func TestHints(t *testing.T) {
	for key, want := range map[string]string{
		"subjct": "subject", "Subject": "subject", "SUBJECT": "subject", "replyTo": "reply_to", "reply-to": "reply_to", "attachment": "attachments", "htlm": "html",
		"colour": "", "x": "", "txt": "text", strings.Repeat("subject", 10): "",
	} {
		require.Equal(t, want, nearest(key, emailFields), key)
	}
}
