package http

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestAnswer_PointerWildcards(t *testing.T) {
	a := read([]byte(`{"m": [{"s": "0"}, {"s": 9}, {}], "o": {"b": {"s": "2"}, "a": {"s": "1"}}, "none": [], "*": "star"}`))
	for pointer, want := range map[string][]string{
		"/m/*/s": {"0", "9", ""}, "/o/*/s": {"1", "2"}, "/none/*/s": nil, "/*": {"star"}, "/m/*/s/*": {"", "", ""}, "/x/*": {""},
	} {
		require.Equal(t, want, a.texts(pointer, nil), pointer)
	}
	many := read([]byte("[" + strings.Repeat("0,", 2*maxParts) + "0]"))
	require.Equal(t, []string{""}, many.texts("/*", nil))
}

// documented loads the section of a worked example in docs/gateway-http.md, with its secrets filled in.
func documented(t *testing.T, heading string) config.HTTP {
	t.Helper()
	text, err := os.ReadFile("../../docs/gateway-http.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n### "+heading)
	require.True(t, found, heading)
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(rest)[1]
	file := filepath.Join(t.TempDir(), "example.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(block, "…", "gwapisecret")), 0o600))
	cfg, err := config.Load(config.Source{File: file})
	require.NoError(t, err)
	for _, g := range cfg.Gateways {
		require.False(t, g.HTTP.Unclassified())
		return *g.HTTP
	}
	return config.HTTP{}
}

// TestAnswer_WorkedExamples plays answers of providers to the sections in docs/gateway-http.md.
func TestAnswer_WorkedExamples(t *testing.T) {
	gone := notify.Failure{Verdict: notify.Permanent, Gone: true}
	for _, c := range []struct {
		example, body string
		want          notify.Failure // none: sent
		code, id      string
	}{
		{"Vonage", `{"message-count": "1", "messages": [{"status": "0", "message-id": "a1"}]}`, notify.Failure{}, "", "a1"},
		{"Vonage", `{"message-count": "2", "messages": [{"status": "0", "message-id": "a1"}, {"status": "0", "message-id": "a2"}]}`, notify.Failure{}, "", "a1"},
		{"Vonage", `{"messages": [{"status": "9", "error-text": "Partner quota exceeded"}]}`, notify.Failure{Verdict: notify.Unavailable}, "9", ""},
		{"Vonage", `{"messages": [{"status": "0", "message-id": "a1"}, {"status": "9"}]}`, notify.Failure{Verdict: notify.Ambiguous}, "9", ""},
		{"Vonage", `{"messages": [{"status": "0", "message-id": "a1"}, {"status": "1"}]}`, notify.Failure{Verdict: notify.Ambiguous}, "1", ""},
		{"Vonage", `{"messages": [{"status": "0", "message-id": "a1"}, {"status": "6"}]}`, gone, "6", ""},
		{"Vonage", `{"messages": [{"status": "0", "message-id": "a1"}, {"status": "22"}]}`, notify.Failure{Verdict: notify.Permanent}, "22", ""},
		{"Vonage", `{"messages": [{"status": "0", "message-id": "a1"}, {}]}`, notify.Failure{Verdict: notify.Permanent}, "0", ""},
		{"Vonage", `{"messages": []}`, notify.Failure{Verdict: notify.Permanent}, "", ""},
		{"Vonage", `<html>`, notify.Failure{Verdict: notify.Ambiguous}, "", ""},

		{"Clickatell", "ID: abc\r\n", notify.Failure{}, "", "abc"},
		{"Clickatell", "\ufeffID: abc", notify.Failure{}, "", "abc"},
		{"Clickatell", "ID: abc To: 49151\nID: def To: 49152", notify.Failure{}, "", "abc"},
		{"Clickatell", "ERR: 113, Maximum message parts exceeded", notify.Failure{Verdict: notify.Permanent}, "113", ""},
		{"Clickatell", "ERR: 301, No Credit Left", notify.Failure{Verdict: notify.Unavailable}, "301", ""},
		{"Clickatell", "ERR: 121, Destination mobile number blocked", gone, "121", ""},
		{"Clickatell", "ID: abc To: 49151\nERR: 113, x To: 49152", notify.Failure{Verdict: notify.Permanent}, "113", ""},
		{"Clickatell", "ID: abc To: 49151\nERR: 130, x To: 49152", notify.Failure{Verdict: notify.Ambiguous}, "130", ""},
		{"Clickatell", "<html>\n<p>ID: 5", notify.Failure{Verdict: notify.Ambiguous}, "", ""},
		{"Clickatell", "", notify.Failure{Verdict: notify.Ambiguous}, "", ""},
		{"Clickatell", "ID: abc" + strings.Repeat(" ", maxText) + "x", notify.Failure{Verdict: notify.Ambiguous}, "", ""},

		{"Route Mobile", "1701|4915112345678|7f2c-1", notify.Failure{}, "", "7f2c-1"},
		{"Route Mobile", "1703", notify.Failure{Verdict: notify.Unavailable}, "1703", ""},
		{"Route Mobile", "1706|49151", gone, "1706", ""},
		{"Route Mobile", "1702", notify.Failure{Verdict: notify.Permanent}, "1702", ""},

		{"AWS SNS", "<PublishResponse><PublishResult><MessageId>94f20ce6-13c5</MessageId></PublishResult></PublishResponse>", notify.Failure{}, "", "94f20ce6-13c5"},
		{"AWS SNS", "<ErrorResponse><Error><Type>Sender</Type><Code>OptedOut</Code></Error></ErrorResponse>", gone, "OptedOut", ""},
		{"AWS SNS", "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", notify.Failure{Verdict: notify.Throttled}, "Throttling", ""},
		{"AWS SNS", "<html>", notify.Failure{Verdict: notify.Ambiguous}, "", ""},

		{"An API that answers in XML", "<response><code>1701</code><id> a-1 </id></response>", notify.Failure{}, "", "a-1"},
		{"An API that answers in XML", "<response><code>1702</code></response>", notify.Failure{Verdict: notify.Permanent}, "1702", ""},
		{"An API that answers in XML", "<response><code>\n1703\n</code></response>", notify.Failure{Verdict: notify.Unavailable}, "1703", ""},
		{"An API that answers in XML", "<response><code>1701</code></response>", notify.Failure{Verdict: notify.Ambiguous}, "1701", ""},
		{"An API that answers in XML", "<r><m><code>1701</code><id>a</id></m><m><code>1702</code></m></r>", notify.Failure{Verdict: notify.Permanent}, "1702", ""},

		{"An API that answers with a form", "ACK=Success&ID=a%3A1", notify.Failure{}, "", "a%3A1"},
		{"An API that answers with a form", "ID=5&ACK=Failure&ERRORCODE=10002", notify.Failure{Verdict: notify.Unavailable}, "10002", ""},
		{"An API that answers with a form", "ACK=Failure&ERRORCODE=7", notify.Failure{Verdict: notify.Permanent}, "7", ""},
		{"An API that answers with a form", "NACK=Success", notify.Failure{Verdict: notify.Ambiguous}, "", ""},
	} {
		t.Run(c.example, func(t *testing.T) {
			cfg := documented(t, c.example)
			_, _, f, receipt := playedReceipt(t, cfg, gatewaytest.SMS(1), 200, c.body)
			if c.want.Verdict == "" {
				require.Nil(t, f)
				require.Equal(t, c.id, receipt.ProviderID)
				return
			}
			require.NotNil(t, f, c.body)
			require.Equal(t, []any{c.want.Verdict, c.want.Gone}, []any{f.Verdict, f.Gone}, c.body)
			if c.code == "" {
				c.code = "HTTP 200"
			}
			require.Equal(t, c.code, f.Code, c.body)
		})
	}
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// TestAnswer_PatternsOfRules: a rule that matches the text of the body, for any status.
func TestAnswer_PatternsOfRules(t *testing.T) {
	change := func(c *config.HTTP) {
		c.Success.Match = `^OK\b`
		c.Rules = []config.HTTPRule{{Match: "(?i)insufficient credit", Verdict: "unavailable"}, {Status: config.Statuses{"5xx"}, Match: "busy", Verdict: "transient"}}
	}
	for body, want := range map[string]notify.Verdict{"Insufficient Credit": notify.Unavailable, "busy": notify.Ambiguous, "<html>": notify.Ambiguous} {
		_, f := once(t, answering(200, body), change)
		require.Equal(t, want, f.Verdict, body)
	}
	_, f := once(t, answering(500, "busy"), change)
	require.Equal(t, notify.Transient, f.Verdict)
	_, f = once(t, answering(200, "OK 5"), change)
	require.Nil(t, f)
	_, f = once(t, answering(200, "ERR: 113"), func(c *config.HTTP) { c.Success.Match = "^OK" })
	require.Equal(t, notify.Permanent, f.Verdict, "nothing names refusals: any other 2xx says that the message was not taken")
}
