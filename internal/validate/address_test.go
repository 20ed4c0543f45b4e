package validate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAddress: the remedy names the character that nobody can see, and the spelling of an address that providers gave out once.
func TestAddress(t *testing.T) {
	for recipient, want := range map[string]string{ // empty: it is good
		"ada@ab--cd.example": "", "ada@x--y.example": "", "ada@xn--bcher-kva.example": "", `"a..b"@docomo.example`: "", "zoë@bücher.example": "",
		"Ada\u200b <ada@example.com>":                   "", // the name is for people
		"ada\u200b@example.com":                         "U+200B (zero width space)",
		"\ufeffada@example.com":                         "U+FEFF (byte order mark)",
		"\u00a0ada@example.com":                         "U+00A0 (no-break space)",
		"ada@exam\u00adple.com":                         "U+00AD (soft hyphen)",
		"ada@example.com\u2060":                         "U+2060 (word joiner)",
		"a\U000e0001@example.com":                       "U+E0001",
		"a..b@docomo.example":                           `"a..b"@example.com`,
		"a.@docomo.example":                             `"a..b"@example.com`,
		".a@docomo.example":                             `"a..b"@example.com`,
		"a..b":                                          "give one address",
		"ada@-ab.example":                               "domain name",
		"ada@ab-.example":                               "domain name",
		"ada@xn--a.example":                             "domain name",
		strings.Repeat("n", 256) + " <ada@example.com>": "each word of the name",
	} {
		_, _, faults := inspect(emailJSON(t, recipient, nil), true)
		if want == "" {
			require.Empty(t, faults, "%q", recipient)
			continue
		}
		require.Len(t, faults, 1, "%q", recipient)
		require.Equal(t, "#/recipient", faults[0].Pointer)
		require.Contains(t, faults[0].Detail, want, "%q", recipient)
		require.NotContains(t, faults[0].Detail, "docomo")
	}
}

// TestEmailParts: headers and attachments that no reader can take are refused.
func TestEmailParts(t *testing.T) {
	file := func(kind string) map[string]any {
		return map[string]any{"attachments": []any{map[string]any{"filename": "f", "content_type": kind, "content": "YQ=="}}}
	}
	header := func(name, value string) map[string]any { return map[string]any{"headers": map[string]any{name: value}} }
	for _, c := range []struct {
		more    map[string]any
		pointer string // empty: it is good
	}{
		{file("message/rfc822"), ""},
		{file("message/partial; id=1"), "#/payload/attachments/0/content_type"},
		{file("message/external-body; access-type=url"), "#/payload/attachments/0/content_type"},
		{header("Auto-Submitted", "no"), ""},
		{header("Auto-Submitted", "maybe"), "#/payload/headers/Auto-Submitted"},
		{header("X-Data", strings.Repeat("x", 998)), ""},
		{header("List-Id", strings.Repeat("x", 989)), ""},
		{header("List-Id", strings.Repeat("x", 990)), "#/payload/headers/List-Id"},
	} {
		_, _, faults := inspect(emailJSON(t, "ada@example.com", c.more), true)
		if c.pointer == "" {
			require.Empty(t, faults)
			continue
		}
		require.Len(t, faults, 1)
		require.Equal(t, c.pointer, faults[0].Pointer)
	}
}

func emailJSON(t *testing.T, recipient string, more map[string]any) []byte {
	payload := map[string]any{"from": "a@acme.example", "subject": "s", "text": "t"}
	for k, v := range more {
		payload[k] = v
	}
	raw, err := json.Marshal(map[string]any{"channel": "email", "recipient": recipient, "payload": payload})
	require.NoError(t, err)
	return raw
}
