package http

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const api = "https://api.example.com/v1"

// rendered returns the request of a message.
func rendered(t *testing.T, m *notify.Message, change func(*config.HTTP)) call {
	t.Helper()
	c, refused := render(t, m, change)
	require.Nil(t, refused)
	return c
}

func render(t testing.TB, m *notify.Message, change func(*config.HTTP)) (call, *notify.Failure) {
	t.Helper()
	cfg := base(api)
	change(&cfg)
	s, err := New("api", cfg)
	require.NoError(t, err)
	return s.prepare(m, m.ExpiresAt.Add(-90*time.Second))
}

func body(text string) func(*config.HTTP) { return func(c *config.HTTP) { c.Body = text } }

func TestTemplate_Data(t *testing.T) {
	m := gatewaytest.SMS(1)
	m.Reference, m.Metadata = `order "1"`, map[string]string{"shop": "é<&>"}
	c := rendered(t, m, body(`{"id": {{json .id}}, "to": {{.address | json}}, "text": {{json .sms.body}}, "lane": {{json .lane}}, "ref": {{json .reference}},
		"shop": {{json .metadata.shop}}, "none": {{json (index .metadata "none")}}, "ttl": {{json .expires_in}}, "media": {{json .sms.media_urls}},
		"digits": {{json (slice .address 1)}}, "from": {{.from | default "ACME" | json}}{{if .email}}, "email": true{{end}}, "channel": {{json .channel}}}`))
	require.JSONEq(t, `{"id": "`+m.ID+`", "to": "+15550000001", "text": "`+m.SMS.Body+`", "lane": "normal", "ref": "order \"1\"",
		"shop": "é<&>", "none": "", "ttl": 90, "media": [], "digits": "15550000001", "from": "ACME", "channel": "sms"}`, string(c.body))
	require.Equal(t, "application/json", c.header.Get("Content-Type"))

	m.ExpiresAt = nil
	require.Equal(t, 0, data(m, "", time.Now())["expires_in"])
	at := time.Now()
	m.ExpiresAt = &at
	require.Equal(t, 1, data(m, "", at.Add(time.Hour))["expires_in"])
}

func TestTemplate_EmailAndPushData(t *testing.T) {
	m := gatewaytest.Email(1)
	m.Email.Attachments = []notify.Attachment{{Filename: "a.txt", Content: []byte("hi")}}
	c := rendered(t, m, body(`{"from": {"name": {{mail_name .from | json}}, "email": {{json (mail_address .from)}}}, "to": {{json .recipient}}, "cc": {{json .email.cc}},
		"files": [{{range $i, $a := .email.attachments}}{{if $i}}, {{end}}{"n": {{json $a.filename}}, "t": {{json .content_type}}, "c": {{json .content}}, "d": {{base64 .content | json}}}{{end}}]}`))
	require.JSONEq(t, `{"from": {"name": "Acme", "email": "no-reply@acme.example"}, "to": "Gwname Gwsurname <gwperson000001@example.com>", "cc": ["gwcopy000001@example.com"],
		"files": [{"n": "a.txt", "t": "application/octet-stream", "c": "aGk=", "d": "aGk="}]}`, string(c.body))

	p := gatewaytest.Push(1)
	p.Push.Android = []byte(`{"ttl": "5s", "n": 12345678901234567890}`)
	c = rendered(t, p, body(`{"t": {{json .push.title}}, "d": {{json .push.data}}, {{with .push.android}}"ttl": {{json .ttl}}, "n": {{json .n}}, "s": {{printf "%s" .n | json}}, {{end}}"apns": {{json .push.apns}}}`))
	require.JSONEq(t, `{"t": "`+p.Push.Title+`", "d": {"k": "gwsecretdata"}, "ttl": "5s", "n": 12345678901234567890, "s": "12345678901234567890", "apns": null}`, string(c.body))
}

func TestTemplate_SenderOfPayloadWins(t *testing.T) {
	from := func(c *config.HTTP) { c.From, c.Body = "ACME", "{{json .from}}" }
	m := gatewaytest.SMS(1)
	require.Equal(t, `"ACME"`, string(rendered(t, m, from).body))
	m.SMS.From = "SHOP"
	require.Equal(t, `"SHOP"`, string(rendered(t, m, from).body))
}

// TestTemplate_WholeMessageHasNoSecret: a template may send the whole message.
func TestTemplate_WholeMessageHasNoSecret(t *testing.T) {
	c := rendered(t, gatewaytest.Push(1), func(c *config.HTTP) {
		c.Body = "{{json .}}"
		c.Secret = "hush"
		c.Token = "hush"
		c.Headers = map[string]string{"X-Key": "{{secret}}"}
	})
	require.Contains(t, string(c.body), `"recipient_type":"fcm"`)
	require.NotContains(t, string(c.body), "hush")
	require.Equal(t, "hush", c.header.Get("X-Key"))
}

func TestTemplate_FormsAndAddresses(t *testing.T) {
	m := gatewaytest.SMS(1)
	m.SMS.Body = "a&b=c d\n+é"
	c := rendered(t, m, func(c *config.HTTP) {
		c.URL = api + "/{{path .id}}/{{path .sms.body}}?text={{query .sms.body}}{{if .reference}}&ref={{query .reference}}{{end}}"
		c.ContentType, c.Body = "application/x-www-form-urlencoded", "To={{query .address}}&Body={{.sms.body | query}}\n"
	})
	require.Equal(t, "To=%2B15550000001&Body=a%26b%3Dc+d%0A%2B%C3%A9", string(c.body))
	require.Equal(t, "/v1/"+m.ID+"/a&b=c%20d%0A+%C3%A9", c.url.EscapedPath())
	require.Equal(t, "text=a%26b%3Dc+d%0A%2B%C3%A9", c.url.RawQuery)
}

// TestTemplate_RefusedMessages: a message that lacks a field, or would break the request, is refused; the failure quotes
// nothing of it.
func TestTemplate_RefusedMessages(t *testing.T) {
	for want, change := range map[string]func(*config.HTTP, *notify.Message){
		"body: the message has no order":                   func(c *config.HTTP, _ *notify.Message) { c.Body = "{{json .metadata.order}}" },
		"headers.X-A: the value has a line end":            func(_ *config.HTTP, m *notify.Message) { m.Reference = "hush\r\nX-Evil: 1" },
		"headers.X-A: the value has a line end or":         func(_ *config.HTTP, m *notify.Message) { m.Reference = "hush\n" },
		"headers.X-A: the value has a line end or another": func(_ *config.HTTP, m *notify.Message) { m.Reference = "hush\x00" },
		"headers.X-A: the value is longer":                 func(_ *config.HTTP, m *notify.Message) { m.Reference = strings.Repeat("hush", 2000) },
		"url: a value makes no segment": func(c *config.HTTP, m *notify.Message) {
			c.URL, m.Metadata = api+"/{{path .metadata.to}}/send", map[string]string{"to": ".."}
		},
		"body: a value is no mailbox": func(c *config.HTTP, m *notify.Message) {
			c.Body, m.SMS.Body = `{{if ne .sms.body "a"}}{{mail_name .sms.body | json}}{{else}}1{{end}}`, "hush"
		},
		"body: what the template gives is not JSON": func(c *config.HTTP, m *notify.Message) {
			c.Body, m.SMS.Body = `{{if eq .sms.body "hush"}}}{{end}}{}`, "hush"
		},
		"body: the template cannot render": func(c *config.HTTP, m *notify.Message) {
			c.Body, m.SMS.Body = `{{if eq .sms.body "hush"}}{{json (slice .sms.body 1 99)}}{{else}}1{{end}}`, "hush"
		},
		"does not take the recipient type": func(_ *config.HTTP, m *notify.Message) { *m = *gatewaytest.Push(1); m.RecipientType = "apns" },
	} {
		cfg, m := base(api), gatewaytest.SMS(1)
		cfg.Body, cfg.Headers = "{{json .}}", map[string]string{"X-A": "{{.reference}}"}
		change(&cfg, m)
		s, err := New("api", cfg)
		require.NoError(t, err, want)
		_, err = s.Send(t.Context(), m)
		f := notify.Judge(err)
		require.Equal(t, notify.Permanent, f.Verdict, want)
		require.ErrorContains(t, f, want)
		require.NotContains(t, f.Error(), "hush")
		require.NoError(t, f.Err, "the cause would hold the message")
	}
}

// TestTemplate_ChannelWithoutTemplate: the configuration is at fault, so no message becomes a dead letter.
func TestTemplate_ChannelWithoutTemplate(t *testing.T) {
	_, refused := render(t, gatewaytest.Email(1), body(`{"text": {{json .sms.body}}}`))
	require.Equal(t, notify.Unavailable, refused.Verdict)
	require.Contains(t, refused.Remedy, "gateways.api serve channel email")
}

func TestTemplate_Faults(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*config.HTTP)
	}{
		{"gateways.api.body: line 2: it is no template", body("{\n{{json .hush")},
		{"gateways.api.body: line 1: there is no function jsn; besides Go's own there are base64, default, json", body(`{{jsn .id}}`)},
		{"gateways.api.body: line 2: a value here must go through json", body("{\n\"id\": \"{{.id}}\"}")},
		{"gateways.api.body: line 1: a value here must go through json", body(`{{with .sms}}{{range $i, $u := .media_urls}}{{if $i}}{{else}}{{$u | query}}{{end}}{{end}}{{end}}`)},
		{"gateways.api.body: line 1: a value here must go through json", body(`{{define "x"}}{{.id}}{{end}}{{template "x" .}}`)},
		{"gateways.api.body: line 1: a value here must go through json", func(c *config.HTTP) { c.Body, c.ContentType = "{{.id}}", "application/vnd.x+json; charset=utf-8" }},
		{"gateways.api.body: line 1: a value here must go through query", func(c *config.HTTP) {
			c.Body, c.ContentType = "To={{.address}}", "application/x-www-form-urlencoded"
		}},
		{"gateways.api.url: line 1: a value here must go through path", func(c *config.HTTP) { c.URL = api + "/{{.id}}" }},
		{"gateways.api.url: line 1: a value here must go through path", func(c *config.HTTP) { c.URL = api + "/{{query .id}}?a" }},
		{"gateways.api.url: line 1: a value here must go through query", func(c *config.HTTP) { c.URL = api + "/{{path .id}}?id={{path .id}}" }},
		{"gateways.api.url: an address has no {{define}}", func(c *config.HTTP) { c.URL = api + `/{{define "x"}}{{path .id}}{{end}}` }},
		{"gateways.api.url must be an address", func(c *config.HTTP) { c.URL = "https://{{path .id}}.example.com/" }},
		{"gateways.api.headers.X-A: line 1: it is no template", func(c *config.HTTP) { c.Headers = map[string]string{"X-A": `{{"hush`} }},
		{"can render no message; docs/gateway-http.md lists what they have (email: body: the message has no bdy; sms: body", body(`{{json .sms.bdy}}`)},
		{"email: body: the message has no tokn", body(`{{json .tokn}}`)},
		{"email: body: what the template gives is not JSON", body(`{"id": "{{json .id}}"}`)},
		{"email: headers.X-A: a value is missing", func(c *config.HTTP) { c.Headers = map[string]string{"X-A": `{{index . "hush"}}`} }},
		{"email: headers.X-A: a value is no text", func(c *config.HTTP) { c.Headers = map[string]string{"X-A": "{{.metadata}}"} }},
		{"email: body: a value is missing", body(`{{json (index . "nothing")}}`)},
		{"email: headers.X-A: the value has a line end", func(c *config.HTTP) {
			c.Headers, c.Secret = map[string]string{"X-A": "{{secret}}"}, "hush\n"
		}},
		{"email: url: what the template gives is no address", func(c *config.HTTP) { c.URL = api + "/a#b" }},
		{"gateways.api.check.url: there is no message in a check", func(c *config.HTTP) { c.Check.URL = api + "/{{path .id}}" }},
	} {
		cfg := base(api)
		c.change(&cfg)
		_, err := New("api", cfg)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "hush")
		require.NotContains(t, err.Error(), "\n", "one fault, one line")
	}
	cfg := base(api)
	cfg.Body = "{{x"
	cfg.URL = api + "/{{y"
	cfg.IDPath = "id"
	_, err := New("api", cfg)
	require.Len(t, strings.Split(err.Error(), "\n"), 3, "all faults at once")
}

// FuzzHostileValues: for any values in a message, the request goes to the configured host, with the same path segments,
// parameters and headers, and with JSON of the same shape.
func FuzzHostileValues(f *testing.F) {
	for _, v := range []string{
		"a", `"`, `\`, `","admin":true,"x":"`, "a\r\nX-Evil: 1", "\x00", "../../x", "..", "?a=b&c=d#e", "@evil.example/", "%2e%2e", "//evil.example", "\u2028</script>",
		"{{.id}}", "<no value>", "é👋", "\xff", "", "&To=+1", "a;b", "a b+c",
	} {
		f.Add(v, v)
	}
	cfg := base(api + "/{{path .address}}/x?a={{query .reference}}&b={{query .sms.body}}")
	cfg.Headers = map[string]string{"X-A": "{{.reference}}", "X-B": "b"}
	cfg.Body = `{"to": {{json .address}}, "text": {{json .sms.body}}, "m": {{json .metadata}}, "all": {{json .}}}`
	s, err := New("api", cfg)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, a, b string) {
		m := gatewaytest.SMS(1)
		m.Address = a
		m.Reference = b
		m.SMS.Body = b
		m.Metadata = map[string]string{a: b}
		c, refused := s.prepare(m, time.Now())
		if refused != nil {
			require.Equal(t, notify.Permanent, refused.Verdict)
			return
		}
		requireShape(t, c)
		require.Equal(t, "/v1/"+a+"/x", c.url.Path)
		require.Equal(t, map[string][]string{"a": {b}, "b": {b}}, map[string][]string(c.url.Query()))
	})
}
