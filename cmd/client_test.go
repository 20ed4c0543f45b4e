package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// run runs one command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a role that should have failed ends all the same
	defer cancel()
	code = Execute(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// server answers every request with status and body, and keeps the last one.
type server struct {
	*httptest.Server
	request *http.Request
	body    []byte
}

func serve(t *testing.T, status int, body string) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.request = r
		s.body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) notification(t *testing.T) (n notify.Notification) {
	t.Helper()
	require.NoError(t, json.Unmarshal(s.body, &n))
	return n
}

const accepted = `{"id":"018f0000-0000-7000-8000-000000000001","state":"queued","expires_at":"2030-01-01T00:00:00Z","warnings":["careful"]}`

func TestSendEmail(t *testing.T) {
	s := serve(t, http.StatusAccepted, accepted)
	file := filepath.Join(t.TempDir(), "a.txt")
	require.NoError(t, os.WriteFile(file, []byte("file"), 0o600))
	code, out, errs := run(t, "send", "email", "--server", s.URL+"/", "--key", "ls_a_b", "--to", "ada@example.com", "--subject", "Hé <&>", "--text", "t",
		"--cc", "Ada, Countess <c@example.com>", "--cc", "d@example.com", "--header", "X-A=b", "--attach", file, "--reference", "r", "--expires-in", "1h")
	require.Zero(t, code, errs)
	require.Equal(t, "018f0000-0000-7000-8000-000000000001 queued\n", out)
	require.Equal(t, "note: careful\n", errs)
	require.Equal(t, "/v1/notifications", s.request.URL.Path)
	require.Equal(t, "Bearer ls_a_b", s.request.Header.Get("Authorization"))
	require.Equal(t, "application/json", s.request.Header.Get("Content-Type"))
	n := s.notification(t)
	require.Equal(t, notify.ChannelEmail, n.Channel)
	require.Equal(t, "ada@example.com", n.Recipient)
	require.Equal(t, "r", n.Reference)
	require.Positive(t, time.Until(*n.ExpiresAt))
	var mail notify.Email
	require.NoError(t, json.Unmarshal(n.Payload, &mail))
	require.Equal(t, notify.Email{
		CC: []string{"Ada, Countess <c@example.com>", "d@example.com"}, Subject: "Hé <&>", Text: "t", Headers: map[string]string{"X-A": "b"},
		Attachments: []notify.Attachment{{Filename: "a.txt", ContentType: "text/plain; charset=utf-8", Content: []byte("file")}},
	}, mail)
}

func TestSendSMSAndPush(t *testing.T) {
	s := serve(t, http.StatusAccepted, accepted)
	code, _, errs := run(t, "send", "sms", "--server", s.URL, "--to", "+14155550100", "--body", "hi")
	require.Zero(t, code, errs)
	require.JSONEq(t, `{"channel":"sms","recipient":"+14155550100","payload":{"body":"hi"}}`, string(s.body))
	code, _, errs = run(t, "send", "push", "--server", s.URL, "--to", "news", "--type", "topic", "--title", "hi", "--data", "a=b")
	require.Zero(t, code, errs)
	require.JSONEq(t, `{"channel":"push","recipient":"news","recipient_type":"topic","payload":{"title":"hi","data":{"a":"b"}}}`, string(s.body))
}

func TestAProblemIsToldWithItsFields(t *testing.T) {
	s := serve(t, 422, `{"title":"The notification is not valid","detail":"mend it","status":422,"errors":[{"pointer":"#/payload/subject","code":"required","detail":"give a subject"}]}`)
	code, out, errs := run(t, "send", "email", "--server", s.URL, "--to", "a@example.com")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Equal(t, "laudspeaker: the server answers 422 The notification is not valid: mend it\n  #/payload/subject: give a subject\n", errs)
}

func TestWhatIsNoServerIsNamed(t *testing.T) {
	_, _, errs := run(t, "outbox", "--server", "http://127.0.0.1:1")
	require.Equal(t, "laudspeaker: nothing answers at http://127.0.0.1:1: start it with \"laudspeaker all\" (or \"laudspeaker serve-api\"), or name another server by --server\n", errs)
	_, _, errs = run(t, "outbox", "--server", "localhost:8080")
	require.Contains(t, errs, "--server must be a URL")
	_, _, errs = run(t, "outbox", "--server", serve(t, 404, "<html>").URL)
	require.Contains(t, errs, "404 Not Found: this does not look like Laudspeaker")
	_, _, errs = run(t, "outbox", "--server", serve(t, 200, "<html>").URL)
	require.Contains(t, errs, "not JSON")
}

func TestOutbox(t *testing.T) {
	s := serve(t, 200, `{"data":[
		{"id":"b","channel":"sms","recipient":"+1","summary":"later","at":"2030-01-01T00:00:02Z","file":"/o/b.json"},
		{"id":"a","channel":"email","recipient":"ada@example.com","summary":"first","at":"2030-01-01T00:00:01Z","file":"/o/a.eml"}],"next_cursor":null}`)
	code, out, errs := run(t, "outbox", "--server", s.URL)
	require.Zero(t, code, errs)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.Regexp(t, `^\d\d:\d\d:01  email  a  ada@example.com  first$`, lines[0])
	code, out, _ = run(t, "outbox", "--server", s.URL, "--json")
	require.Zero(t, code)
	require.Equal(t, 2, strings.Count(out, "\n"))

	s = serve(t, 200, `{"id":"a","file":"/o/a.eml","content":"Subject: x\n\nbody"}`)
	_, out, _ = run(t, "outbox", "a/b", "--server", s.URL)
	require.Equal(t, "/o/a.eml\n\nSubject: x\n\nbody\n", out)
	require.Equal(t, "/v1/outbox/a%2Fb", s.request.URL.EscapedPath())

	_, out, _ = run(t, "outbox", "--server", serve(t, 200, `{"data":[]}`).URL)
	require.Contains(t, out, "Nothing has been captured yet")
}
