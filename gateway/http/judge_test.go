package http

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Answers in the form of real APIs, judged with sections as users write them.
func TestJudge_Answers(t *testing.T) {
	const sent, ambiguous, permanent = notify.Accepted, notify.Ambiguous, notify.Permanent
	path := func(path string, values ...string) func(*config.HTTP) {
		return func(c *config.HTTP) { c.Success.Path, c.Success.Values = path, values }
	}
	match := func(pattern string, values ...string) func(*config.HTTP) {
		return func(c *config.HTTP) { c.Success.Match, c.Success.Values = pattern, values }
	}
	id := func(pointer, pattern string) func(*config.HTTP) {
		return func(c *config.HTTP) { c.IDPath, c.IDMatch = pointer, pattern }
	}
	code := func(pointer, pattern string) func(*config.HTTP) {
		return func(c *config.HTTP) { c.CodePath, c.CodeMatch = pointer, pattern }
	}
	type changes = []func(*config.HTTP)
	lineIs := match(`(?m)^(\w+)$`, "OK")
	soap := changes{match(`<(?:\w+:)?status>\s*(\w+)\s*</`, "OK"), id("", `messageId="([^"]+)"`), code("", `<faultcode>([^<]+)<`)}
	for name, c := range map[string]struct {
		section changes
		status  int
		body    string
		want    notify.Verdict
		shows   string // the id, the code or a part of the reason
	}{
		"lines, CRLF":                {changes{lineIs}, 200, "OK\r\nOK\r\n", sent, ""},
		"lines, CRLF, the first bad": {changes{lineIs}, 200, "FAILED\r\nOK\r\n", permanent, "only a part"},
		"lines, CRLF, the last bad":  {changes{lineIs}, 200, "OK\r\nFAILED", permanent, "only a part"},
		"lines, CR alone":            {changes{id("", `(?m)^id=(.*)$`)}, 200, "status=ok\rid=abc\r", sent, "abc"},
		"an id before a CRLF":        {changes{id("", `(?m)^id=(.*)$`)}, 200, "id=abc\r\nstatus=ok\r\n", sent, "abc"},
		"codes of CRLF lines":        {changes{match(`^ID`), code("", `(?m)^ERR (\d+)$`)}, 200, "ERR 113\r\nERR 114\r\n", permanent, "113"},
		"a NUL at the end":           {changes{match(`^OK$`)}, 200, "OK\x00\n", sent, ""},
		"JSON with a NUL at the end": {changes{path("/ok", "1")}, 200, "{\"ok\": 1}\x00", sent, ""},
		"Latin-1":                    {changes{match(`^OK`)}, 200, "OK gr\xfc\xdfe", sent, ""},
		"a page in place of an id":   {changes{id("", `^(\d+)$`)}, 200, "<html>error 500</html>", ambiguous, "url"},
		"a form":                     {changes{id("", `(?:^|&)ID=([^&]+)`)}, 200, "ACK=Success&ID=a1", sent, "a1"},

		"XML with a namespace":    {soap, 200, "<?xml version=\"1.0\"?>\r\n<s:Body><ns2:status>\r\n OK\r\n</ns2:status><m messageId=\"42\"/></s:Body>", sent, "42"},
		"XML, refused":            {soap, 200, "<s:Body><status>BAD</status></s:Body>", ambiguous, "neither"},
		"a fault with status 500": {soap, 500, "<s:Fault><faultcode>Client</faultcode></s:Fault>", ambiguous, "Client"},
		"CDATA":                   {changes{match(`<e>(?:<!\[CDATA\[)?(\d+)`, "0"), code("", `<e>(?:<!\[CDATA\[)?(\d+)`)}, 200, `<r><e><![CDATA[12]]></e></r>`, permanent, "12"},

		"an array at the top":    {changes{path("/*/status", "ok")}, 200, `[{"status":"ok"},{"status":"fail"}]`, permanent, "only a part"},
		"parts of parts":         {changes{path("/d/*/r/*/s", "0")}, 200, `{"d":[{"r":[{"s":0},{"s":0}]},{"r":[{"s":1}]}]}`, permanent, "only a part"},
		"parts by name":          {changes{path("/m/*/s", "0")}, 200, `{"m":{"a":{"s":"0"},"b":{"s":"3"}}}`, permanent, "only a part"},
		"a part without status":  {changes{path("/m/*/s", "0")}, 200, `{"m":[{"s":"0"},{"t":"0"}]}`, permanent, "only a part"},
		"a text for the parts":   {changes{path("/m/*/s", "0")}, 200, `{"m":"0"}`, permanent, "does not say"},
		"a long number":          {changes{id("/id", "")}, 200, `{"id":12345678901234567890}`, sent, "12345678901234567890"},
		"the id of a later part": {changes{id("/m/*/id", "")}, 200, `{"m":[{"id":""},{"id":"b"}]}`, sent, "b"},
		"an object for an id":    {changes{id("/id", "")}, 200, `{"id":{}}`, ambiguous, "id_path"},
		"null for an id":         {changes{id("/id", "")}, 200, `{"id":null}`, ambiguous, "id_path"},
		"blanks for an id":       {changes{id("/id", "")}, 200, `{"id":"  "}`, ambiguous, "id_path"},
		"blanks around an id":    {changes{id("/id", "")}, 200, `{"id":" a1\n"}`, sent, "a1"},
		"controls in an id":      {changes{id("/id", "")}, 200, `{"id":"a\u0000b"}`, sent, "a b"},
		"a negative code":        {changes{path("/code", "0"), code("/code", "")}, 200, `{"code":-14}`, permanent, "-14"},
		"true as a text":         {changes{path("/ok", "true")}, 200, `{"ok":"true"}`, sent, ""},
		"depth":                  {changes{path("/ok")}, 200, strings.Repeat("[", 20000) + strings.Repeat("]", 20000), ambiguous, "url"},
		"JSONP":                  {changes{path("/ok")}, 200, `cb({"ok":1})`, ambiguous, "url"},
		"two values":             {changes{path("/ok")}, 200, "{\"ok\":1}\n{\"ok\":0}", ambiguous, "url"},
	} {
		t.Run(name, func(t *testing.T) {
			f := apitest.New(t, false)
			cfg := base(f.URL + apitest.Messages)
			cfg.Body = "{}"
			for _, change := range c.section {
				change(&cfg)
			}
			s := sender(t, f, cfg)
			f.Reply(c.status, nil, c.body)
			receipt, err := s.Send(t.Context(), gatewaytest.SMS(1))
			failure := notify.Judge(err)
			if c.want == sent {
				require.Nil(t, failure)
				require.Equal(t, c.shows, receipt.ProviderID)
				return
			}
			require.NotNil(t, failure)
			require.Equal(t, c.want, failure.Verdict)
			require.Contains(t, failure.Code+" "+failure.Reason, c.shows)
		})
	}
}
