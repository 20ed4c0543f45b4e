package notify

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// spacedJSON draws a JSON text, with white space between its tokens.
func spacedJSON(t *rapid.T, depth int) []byte {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t", "\r\n  "})
	text := func() []byte {
		quoted, err := json.Marshal(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`a "quoted" \ text`, " two  spaces ", "\u2028\x7f<é>😀", `\`})).Draw(t, "text"))
		require.NoError(t, err)
		return quoted
	}
	b := []byte(space.Draw(t, "before"))
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		b = append(b, rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")...)
	case 1:
		b = append(b, rapid.SampledFrom([]string{"0", "-1.5e+10", "12"}).Draw(t, "number")...)
	case 2:
		b = append(b, text()...)
	case 3:
		b = append(b, rapid.SampledFrom([]string{`"\\"`, `"\\\""`, `"\ud83d\ude00\/"`, "{ }", "[\n]"}).Draw(t, "odd")...)
	default:
		brackets := [2]string{"{}", "[]"}[kind-4]
		b = append(b, brackets[0])
		for i := range rapid.IntRange(0, 3).Draw(t, "members") {
			if i > 0 {
				b = append(b, ',')
			}
			if kind == 4 {
				b = append(append(b, text()...), space.Draw(t, "colon")+":"...)
			}
			b = append(b, spacedJSON(t, depth-1)...)
		}
		b = append(b, space.Draw(t, "end")+brackets[1:]...)
	}
	return append(b, space.Draw(t, "after")...)
}

// Notifications are what encoding/json would make of them, to the byte.
func TestNotificationsAreWrittenAsTheLibraryWouldWriteThem(t *testing.T) {
	zone := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 0), time.FixedZone("", 3600), time.FixedZone("", -12*3600-1800), time.FixedZone("", 24*3600), time.Local})
	moment := rapid.Custom(func(t *rapid.T) *time.Time {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		at := time.Unix(rapid.Int64Range(-7e10, 3e11).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).In(zone.Draw(t, "zone"))
		return &at
	})
	text := rapid.OneOf(rapid.String(), rapid.Just(""), rapid.Just(""), rapid.Just(`<a href="x">&\`+"\n\x00\x7f\u2028é😀\xff"))
	block := rapid.Custom(func(t *rapid.T) json.RawMessage {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return spacedJSON(t, 3)
	})
	rapid.Check(t, func(t *rapid.T) {
		n := &Notification{
			ID: text.Draw(t, "id"), Tenant: text.Draw(t, "tenant"), Channel: Channel(text.Draw(t, "channel")), Recipient: text.Draw(t, "recipient"),
			RecipientType: text.Draw(t, "type"), Payload: block.Draw(t, "payload"), Template: block.Draw(t, "template"), Lane: Lane(text.Draw(t, "lane")),
			OrderingKey: text.Draw(t, "key"), SendAt: moment.Draw(t, "send_at"), ExpiresAt: moment.Draw(t, "expires_at"), Reference: text.Draw(t, "reference"),
			Metadata: rapid.MapOfN(text, text, 0, 4).Draw(t, "metadata"), OnAmbiguous: text.Draw(t, "ambiguous"), Sensitive: rapid.Bool().Draw(t, "sensitive"),
		}
		want, wrong := encode(n)
		got, err := n.Encode()
		require.Equal(t, wrong == nil, err == nil)
		require.Equal(t, string(want), string(got))
	})
}

// Whatever is JSON is written as the library writes it.
func FuzzCompact(f *testing.F) {
	for _, s := range []string{`{"a" : [1, "x \" y\\" , null]}`, " \t[ ]\n", `"\\"`, `"a`, `"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := appendCompact(nil, raw)
		var want bytes.Buffer
		if json.Compact(&want, raw) == nil {
			require.Equal(t, want.String(), string(got))
		}
	})
}
