package validate

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestDefaultFrom(t *testing.T) {
	n := &notify.Notification{Channel: notify.ChannelSMS, Recipient: "+15557654321", Payload: []byte(`{"body":"x"}`)}
	_, faults := Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}}.Check(n)
	require.True(t, has(faults, "#/payload/from"))
	_, faults = Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}}.Check(n)
	require.Empty(t, faults)
}

func TestCheckFillsIn(t *testing.T) {
	n := &notify.Notification{
		ID: "0190163D-8694-739B-AEA5-966C26F8AD91", Channel: notify.ChannelPush, Recipient: "/topics/news", RecipientType: "topic",
		Payload: []byte(`{"body":"x","android":{"ttl":"1s"}}`),
	}
	m, faults := Rules{}.Check(n)
	require.Empty(t, faults)
	require.Equal(t, notify.DefaultTenant, n.Tenant)
	require.Equal(t, notify.LaneNormal, n.Lane)
	require.Equal(t, "0190163d-8694-739b-aea5-966c26f8ad91", m.ID)
	require.Equal(t, "news", m.Address)
	require.JSONEq(t, `{"ttl":"1s"}`, string(m.Push.Android))
	n = &notify.Notification{Channel: notify.ChannelPush, Recipient: "token", Payload: []byte(`{"body":"x"}`)}
	m, faults = Rules{}.Check(n)
	require.Empty(t, faults)
	require.Equal(t, notify.RecipientFCM, m.RecipientType)
}

// A notification that was made by a program and not read from JSON can hold what JSON cannot.
func TestCheckOfWhatWasNotDecoded(t *testing.T) {
	sound := notify.Notification{Channel: notify.ChannelSMS, Recipient: "+15557654321", Payload: []byte(`{"body":"x","from":"Acme"}`)}
	for pointer, change := range map[string]func(*notify.Notification){
		"#/reference":    func(n *notify.Notification) { n.Reference = "\xff" },
		"#/ordering_key": func(n *notify.Notification) { n.OrderingKey = "\xff" },
		"#/metadata/k":   func(n *notify.Notification) { n.Metadata = map[string]string{"k": "\xff"} },
		"#/metadata":     func(n *notify.Notification) { n.Metadata = map[string]string{"\xff": "v"} },
		"#/payload":      func(n *notify.Notification) { n.Payload = []byte(`{"body":"x"`) },
		"#/recipient":    func(n *notify.Notification) { n.Recipient = "+1555765432\xff" },
	} {
		n := sound
		change(&n)
		m, faults := Rules{}.Check(&n)
		require.Nil(t, m)
		require.Len(t, faults, 1, pointer)
		require.Equal(t, pointer, faults[0].Pointer)
	}
	n := sound
	n.Payload = []byte("{\"body\":\"\xff\"}")
	_, faults := Rules{}.Check(&n)
	require.Len(t, faults, 1)
	require.Equal(t, "#/payload", faults[0].Pointer)
}

func TestMailboxSpelling(t *testing.T) {
	for s, want := range map[string][2]string{
		"eve@test.example":                        {"eve@test.example", "eve@test.example"},
		" <Eve@TEST.Example> ":                    {"Eve@test.example", "Eve@test.example"},
		"Eve Example <eve@test.example>":          {"Eve Example <eve@test.example>", "eve@test.example"},
		`"Example, Eve" <eve@test.example>`:       {`"Example, Eve" <eve@test.example>`, "eve@test.example"},
		"E. Example <eve@test.example>":           {`"E. Example" <eve@test.example>`, "eve@test.example"},
		"Zoë <zoë@BÜCHER.example>":                {"Zoë <zoë@xn--bcher-kva.example>", "zoë@xn--bcher-kva.example"},
		"=?utf-8?q?Zo=C3=AB?= <z@test.example>":   {"Zoë <z@test.example>", "z@test.example"},
		"eve@XN--BCHER-KVA.example":               {"eve@xn--bcher-kva.example", "eve@xn--bcher-kva.example"},
		`"eve example"@test.example`:              {`"eve example"@test.example`, `"eve example"@test.example`},
		`"eve"@test.example`:                      {"eve@test.example", "eve@test.example"},
		`"e\"v\\e"@test.example`:                  {`"e\"v\\e"@test.example`, `"e\"v\\e"@test.example`},
		`=?utf-8?q?=22=3E=3Cx?= <z@test.example>`: {`"\"><x" <z@test.example>`, "z@test.example"},
	} {
		c := &checker{}
		mailbox, address := c.mailbox("#", s)
		require.Empty(t, c.faults, s)
		require.Equal(t, want, [2]string{mailbox, address})
	}
}

func TestEveryMailboxOfAMessageIsSpelledAlike(t *testing.T) {
	n := &notify.Notification{Channel: notify.ChannelEmail, Recipient: "Eve <eve@TEST.example>", Payload: []byte(`{"from":"<a@TEST.example>",
		"reply_to":["b@TEST.example"],"cc":["c@TEST.example"],"bcc":["d@TEST.example"],"subject":"s","html":"h",
		"attachments":[{"filename":"f","content":"aGVs\nbG8="}]}`)}
	m, faults := Rules{}.Check(n)
	require.Empty(t, faults)
	require.Equal(t, "Eve <eve@test.example>", m.Recipient)
	require.Equal(t, "Eve <eve@TEST.example>", n.Recipient, "a notification stays as it was submitted")
	require.Equal(t, "a@test.example", m.Email.From)
	require.Equal(t, []string{"b@test.example"}, m.Email.ReplyTo)
	require.Equal(t, []string{"c@test.example"}, m.Email.CC)
	require.Equal(t, []string{"d@test.example"}, m.Email.BCC)
	require.Equal(t, "hello", string(m.Email.Attachments[0].Content))
}

func TestOrderingKey(t *testing.T) {
	m := &notify.Message{Address: "eve@test.example"}
	require.Equal(t, "eve@test.example", string(OrderingKey(m)))
	m.OrderingKey = "order 4711"
	require.Equal(t, "order 4711", string(OrderingKey(m)))
}

// What is compared with a message's address has to be spelt as that is.
func TestRecipientIsTheMessagesAddress(t *testing.T) {
	for _, c := range []struct {
		channel   notify.Channel
		recipient string
		payload   string
		address   string
	}{
		{notify.ChannelEmail, "Ada Lovelace <Ada@EXAMPLE.com>", `{"from":"a@example.com","subject":"s","text":"t"}`, "Ada@example.com"},
		{notify.ChannelEmail, "ada@bücher.example", `{"from":"a@example.com","subject":"s","text":"t"}`, "ada@xn--bcher-kva.example"},
		{notify.ChannelSMS, "+15550123456", `{"from":"+15550199999","body":"b"}`, "+15550123456"},
		{notify.ChannelPush, "a-token", `{"title":"t"}`, "a-token"},
	} {
		n := &notify.Notification{Channel: c.channel, Recipient: c.recipient, Payload: []byte(c.payload)}
		address, faults := Recipient(&notify.Notification{Channel: c.channel, Recipient: c.recipient})
		require.Empty(t, faults)
		require.Equal(t, c.address, address)
		m, faults := Rules{}.Check(n)
		require.Empty(t, faults)
		require.Equal(t, m.Address, address)
	}
	for _, n := range []*notify.Notification{
		{Channel: "fax", Recipient: "a@example.com"},
		{Channel: notify.ChannelEmail, Recipient: "nobody"},
		{Channel: notify.ChannelSMS, Recipient: "5550123456"},
		{Channel: notify.ChannelEmail, Recipient: "a@example.com", Tenant: "a/b"},
	} {
		_, faults := Recipient(n)
		require.Len(t, faults, 1)
	}
}

// A notification may neither end before it begins nor begin too far ahead.
func TestTimes(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	for name, c := range map[string]struct {
		send, expires *time.Time
		faults        []string
	}{
		"neither":                      {nil, nil, nil},
		"expires now":                  {nil, at(0), []string{"#/expires_at"}},
		"expires then":                 {nil, at(1), nil},
		"scheduled for the past":       {at(-time.Hour), nil, nil},
		"scheduled as far as possible": {at(notify.MaxDelay), nil, nil},
		"scheduled beyond that":        {at(notify.MaxDelay + 1), nil, []string{"#/send_at"}},
		"ends as it begins":            {at(time.Hour), at(time.Hour), []string{"#/expires_at"}},
		"ends after it begins":         {at(time.Hour), at(time.Hour + 1), nil},
		"ends before both":             {at(time.Hour), at(-1), []string{"#/expires_at"}},
		"far, and ends before":         {at(notify.MaxDelay + 1), at(time.Hour), []string{"#/send_at", "#/expires_at"}},
	} {
		var got []string
		for _, f := range Times(&notify.Notification{SendAt: c.send, ExpiresAt: c.expires}, now) {
			require.Equal(t, notify.FaultInvalid, f.Code)
			got = append(got, f.Pointer)
		}
		require.Equal(t, c.faults, got, name)
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "[::1]": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "localhost.test.example": false, "192.0.2.1": false, "127.0.0.1.test.example": false, "2130706433": false,
	} {
		require.Equal(t, want, Loopback(host), host)
	}
}

// TestWideInputs: a body of the largest size that is nothing but mistakes costs time in proportion to its size only.
func TestWideInputs(t *testing.T) {
	const times = 400_000
	for name, raw := range map[string]string{
		"one unknown name":       `{` + strings.Repeat(`"k":1,`, times) + `"k":1}`,
		"one unknown in payload": `{"channel":"email","payload":{` + strings.Repeat(`"subj":1,`, times) + `"k":1}}`,
		"null copies":            `{"channel":"email","payload":{"cc":[` + strings.Repeat(`null,`, times) + `1]}}`,
		"null attachments":       `{"channel":"email","payload":{"attachments":[` + strings.Repeat(`null,`, times) + `1]}}`,
		"numbers as data":        `{"channel":"push","payload":{"data":{` + strings.Repeat(`"k":1,`, times) + `"k":1}}}`,
		"one header":             `{"channel":"email","payload":{"headers":{` + strings.Repeat(`"k":"",`, times) + `"k":""}}}`,
		"a long condition":       `{"channel":"push","recipient_type":"condition","recipient":"` + strings.Repeat("!(", times) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, _, faults := inspect([]byte(raw), true)
			require.NotEmpty(t, faults)
			require.LessOrEqual(t, len(faults), 2*maxFaults)
		})
	}
}

// TestPointers: a pointer leads back to the name that it was made of.
func TestPointers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ -~]{1,64}`).Draw(t, "key")
		pointer := child("#/payload", key)
		if strings.ContainsAny(key, "@+") {
			require.Equal(t, "#/payload", pointer)
			return
		}
		u, err := url.Parse(pointer)
		require.NoError(t, err)
		require.Equal(t, pointer[1:], u.EscapedFragment())
		token := strings.TrimPrefix(u.Fragment, "/payload/")
		require.Equal(t, key, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	})
}

// TestConditions: every condition of the grammar passes, and a sixth topic is one too many.
func TestConditions(t *testing.T) {
	var term func(t *rapid.T, topics *int, depth int) string
	expression := func(t *rapid.T, topics *int, depth int) string {
		s := term(t, topics, depth)
		for rapid.Bool().Draw(t, "more") && *topics < 5 {
			s += rapid.SampledFrom([]string{" && ", "||", " ||", "&& "}).Draw(t, "operator") + term(t, topics, depth)
		}
		return s
	}
	term = func(t *rapid.T, topics *int, depth int) string {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			if depth < 5 {
				return "!" + term(t, topics, depth+1)
			}
		case 1:
			if depth < 5 {
				return "( " + expression(t, topics, depth+1) + ")"
			}
		}
		*topics++
		return "'" + rapid.StringMatching(`[a-zA-Z0-9_.~%-]{1,9}`).Draw(t, "topic") + "' in topics"
	}
	rapid.Check(t, func(t *rapid.T) {
		topics := 0
		s := expression(t, &topics, 0)
		require.Equal(t, topics <= 5, condition(s), s)
	})
	for _, s := range []string{"", "'a'", "'a' in topics 'b' in topics", "('a' in topics", "'a b' in topics", "in topics", "'a' in topics)", "'a' in topics && ", strings.Repeat("(", 20) + "'a' in topics" + strings.Repeat(")", 20)} {
		require.False(t, condition(s), s)
	}
}

func BenchmarkDecodeAndCheck(b *testing.B) {
	raw := []byte(`{"channel":"email","recipient":"Eve Example <eve@test.example>","reference":"order 4711","payload":{"from":"Acme <shop@test.example>","subject":"Your order is on its way","text":"` +
		strings.Repeat("Some text to read. ", 20) + `","html":"<p>` + strings.Repeat("Some text to read. ", 20) + `</p>","headers":{"X-Campaign":"spring"}}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		n, _, faults := Decode(raw, true)
		if _, more := (Rules{}).Check(n); len(faults)+len(more) > 0 {
			b.Fatal(faults, more)
		}
	}
}

// TestRecipient_NamesWhatEarlierVersionsAccepted: a suppression of a number that cannot exist can still be removed.
func TestRecipient_NamesWhatEarlierVersionsAccepted(t *testing.T) {
	n := &notify.Notification{Channel: notify.ChannelSMS, Recipient: "+4901511234567"}
	address, faults := Recipient(n)
	require.Empty(t, faults)
	require.Equal(t, "+4901511234567", address)
	n.Payload = []byte(`{"body":"x","from":"ACME"}`)
	_, faults = Rules{}.Check(n)
	require.Len(t, faults, 1)
}
