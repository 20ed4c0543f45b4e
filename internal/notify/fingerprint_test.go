package notify

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDecimal(t *testing.T) {
	for s, want := range map[string]string{
		"0": "0", "-0.00": "0", "0e999": "0", "1": "1e0", "1.0": "1e0", "10": "1e1", "0.01": "1e-2", "-1.50E+1": "-15e0", "1e-5": "1e-5",
		"123456789012345678901234567890": "12345678901234567890123456789e1",
		"1e99999999999999999999":         "1e99999999999999999999",
	} {
		require.Equal(t, want, decimal(s), s)
	}
}

func anyJSON(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
	}
	if depth > 0 {
		leaves = append(leaves, rapid.SliceOfN(anyJSON(depth-1), 0, 4).AsAny(), rapid.MapOfN(rapid.String(), anyJSON(depth-1), 0, 4).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// viaTree is Canonical the long way round. Idempotency keys of earlier versions were stored with hashes of this text.
func viaTree(t require.TestingT, raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	require.NoError(t, d.Decode(&tree))
	var respell func(v any) any
	respell = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for name := range v {
				v[name] = respell(v[name])
			}
		case []any:
			for i := range v {
				v[i] = respell(v[i])
			}
		case json.Number:
			return json.Number(decimal(string(v)))
		}
		return v
	}
	text, err := json.Marshal(respell(tree))
	require.NoError(t, err)
	return string(text)
}

// Any JSON has one spelling, which has the same meaning.
func TestCanonical_KeepsTheMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(anyJSON(3).Draw(t, "value"))
		require.NoError(t, err)
		one, err := Canonical(raw)
		require.NoError(t, err)
		require.JSONEq(t, string(raw), string(one))
		require.Equal(t, viaTree(t, raw), string(one))
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, raw, " ", "\t"))
		two, err := Canonical(indented.Bytes())
		require.NoError(t, err)
		require.Equal(t, string(one), string(two))
		again, err := Canonical(one)
		require.NoError(t, err)
		require.Equal(t, string(one), string(again))
	})
}

func TestCanonical_OddTexts(t *testing.T) {
	for _, raw := range []string{
		`{"b":1,"a":{"d":[],"c":{}},"b":2}`, ` { } `, `[ ]`, `{"<":"&","é":"\ud800","\u0061":"\u2028"}`, "{\"a\":\"\x80\"}", `{"z":{"y":1,"x":2},"a":0}`,
	} {
		got, err := Canonical([]byte(raw))
		require.NoError(t, err, raw)
		require.Equal(t, viaTree(t, []byte(raw)), string(got))
	}
	for _, raw := range []string{
		`{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[1 2]`, `nul`, `"`, `"\`, `"\x"`, "\"\n\"", `{} {}`, "{}\x00", `{a:1}`, strings.Repeat("[", 100),
	} {
		_, err := Canonical([]byte(raw))
		require.Error(t, err, raw)
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1.50,"\u0041",null],"a":{"":true}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		one, err := Canonical(raw)
		if err != nil || !json.Valid(raw) {
			return
		}
		require.Equal(t, viaTree(t, raw), string(one))
	})
}

func contentOf(t *testing.T, change func(n *Notification)) Content {
	t.Helper()
	at := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	n := &Notification{
		ID: NewID(), Channel: ChannelEmail, Recipient: "ada@example.com", SendAt: &at, Metadata: map[string]string{"a": "1", "b": "2"},
		Payload: []byte(`{"subject":"Hi","text":"Some text"}`),
	}
	if change != nil {
		change(n)
	}
	c, err := ContentOf(n)
	require.NoError(t, err)
	return c
}

func TestContentOf_SpellingIsNoDifference(t *testing.T) {
	want := contentOf(t, nil)
	require.Equal(t, want.Exact, want.NoExpiry, "without an expiry of its own")
	require.False(t, want.Exact.IsZero())
	for name, change := range map[string]func(n *Notification){
		"an id":    func(n *Notification) { n.ID = NewID() },
		"defaults": func(n *Notification) { n.Tenant, n.Lane, n.OnAmbiguous = DefaultTenant, LaneNormal, AmbiguousResend },
		"a payload": func(n *Notification) {
			n.Payload = []byte(` { "text" : "\u0053ome text", "subject":"Hi" } `)
		},
		"a zone": func(n *Notification) {
			at := n.SendAt.In(time.FixedZone("", 3600))
			n.SendAt = &at
		},
	} {
		require.Equal(t, want, contentOf(t, change), name)
	}
}

func TestContentOf_EachFieldCounts(t *testing.T) {
	want := contentOf(t, nil)
	later := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(n *Notification){
		"tenant":         func(n *Notification) { n.Tenant = "shop" },
		"channel":        func(n *Notification) { n.Channel = ChannelSMS },
		"recipient":      func(n *Notification) { n.Recipient = "eve@example.com" },
		"recipient_type": func(n *Notification) { n.RecipientType = RecipientFCM },
		"payload":        func(n *Notification) { n.Payload = []byte(`{"subject":"Hi","text":"Other text"}`) },
		"template":       func(n *Notification) { n.Template = []byte(`{}`) },
		"lane":           func(n *Notification) { n.Lane = LaneUrgent },
		"ordering_key":   func(n *Notification) { n.OrderingKey = "k" },
		"send_at":        func(n *Notification) { n.SendAt = &later },
		"no send_at":     func(n *Notification) { n.SendAt = nil },
		"reference":      func(n *Notification) { n.Reference = "r" },
		"metadata":       func(n *Notification) { n.Metadata = map[string]string{"a": "2", "b": "1"} },
		"on_ambiguous":   func(n *Notification) { n.OnAmbiguous = AmbiguousHold },
		"sensitive":      func(n *Notification) { n.Sensitive = true },
	} {
		got := contentOf(t, change)
		require.NotEqual(t, want.Exact, got.Exact, name)
		require.NotEqual(t, want.NoExpiry, got.NoExpiry, name)
	}
	got := contentOf(t, func(n *Notification) { n.ExpiresAt = &later })
	require.NotEqual(t, want.Exact, got.Exact)
	require.Equal(t, want.NoExpiry, got.NoExpiry)
}

func TestParseFingerprint(t *testing.T) {
	want := contentOf(t, nil).Exact
	got, ok := ParseFingerprint(want.String())
	require.True(t, ok)
	require.Equal(t, want, got)
	for _, bad := range []string{"", "0000000000000000", "123", "g123456789abcdef", "0123456789abcdef0"} {
		got, ok := ParseFingerprint(bad)
		require.False(t, ok, bad)
		require.True(t, got.IsZero())
	}
}

func BenchmarkContentOf(b *testing.B) {
	expires := time.Now()
	n := &Notification{
		ID: NewID(), Channel: ChannelSMS, Recipient: "+14155550100", Payload: []byte(`{"body":"Your code is 123456"}`), Lane: LaneNormal,
		Tenant: DefaultTenant, ExpiresAt: &expires,
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ContentOf(n); err != nil {
			b.Fatal(err)
		}
	}
}
