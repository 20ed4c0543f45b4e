package http

import (
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

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// example loads a file of configs with its secret.
func example(t *testing.T, file, gateway, secret string) config.HTTP {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("hush\n"), 0o600))
	cfg, err := config.Load(config.Source{
		File: "../../configs/" + file, Env: []string{"LAUDSPEAKER_GATEWAYS_" + strings.ToUpper(gateway) + "_" + secret + "_FILE=" + path},
	})
	require.NoError(t, err)
	return *cfg.Gateways[gateway].HTTP
}

// played sends m with an example configuration to a server that plays the provider.
func played(t *testing.T, cfg config.HTTP, m *notify.Message, status int, answer string) (req *http.Request, body string, f *notify.Failure) {
	t.Helper()
	req, body, f, _ = playedReceipt(t, cfg, m, status, answer)
	return req, body, f
}

func playedReceipt(t *testing.T, cfg config.HTTP, m *notify.Message, status int, answer string) (req *http.Request, body string, f *notify.Failure, receipt notify.Receipt) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, body = r, readAll(r)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	cfg.URL = strings.Replace(cfg.URL, cfg.Base(), server.URL, 1)
	cfg.Check.URL = ""
	s := sender(t, &fake{}, cfg)
	defer s.Close()
	receipt, err := s.Send(t.Context(), m)
	return req, body, notify.Judge(err), receipt
}

func readAll(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return string(body)
}

func TestExample_SMS(t *testing.T) {
	cfg := example(t, "http-sms.yaml", "texts", "TOKEN")
	m := gatewaytest.SMS(1)
	m.SMS.Body = `"Grüße" & 👋`
	at := time.Now().Add(time.Minute)
	m.ExpiresAt = &at
	req, body, f := played(t, cfg, m, 200, `{"messages": [{"id": "1", "status": "queued"}]}`)
	require.Nil(t, f)
	require.Equal(t, []string{"Bearer hush", m.ID}, []string{req.Header.Get("Authorization"), req.Header.Get("Idempotency-Key")})
	require.Regexp(t, `"validity_seconds": (59|60)\b`, body)
	require.Contains(t, body, `"text": "\"Grüße\" & 👋"`)
	for code, want := range map[string]notify.Failure{
		"1010": {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonOptedOut}, "2001": {Verdict: notify.Throttled}, "3002": {Verdict: notify.Unavailable},
		"9999": {Verdict: notify.Permanent},
	} {
		_, _, f = played(t, cfg, m, 200, `{"messages": [{"status": "rejected", "error_code": `+code+`}]}`)
		require.Equal(t, []any{want.Verdict, want.Gone, code}, []any{f.Verdict, f.Gone, f.Code})
	}
	_, _, f = played(t, cfg, m, 200, `<html>`)
	require.Equal(t, notify.Ambiguous, f.Verdict)
}

func TestExample_Email(t *testing.T) {
	cfg := example(t, "http-email.yaml", "mail", "SECRET")
	m := gatewaytest.Email(1)
	m.Email.From, m.Email.HTML = "", "<p>hi</p>"
	m.Email.Attachments = []notify.Attachment{{Filename: "a.txt", Content: []byte("a")}, {Filename: "b.pdf", ContentType: "application/pdf", Content: []byte("b")}}
	req, body, f := played(t, cfg, m, 202, `{"id": "x"}`)
	require.Nil(t, f)
	require.Equal(t, "hush", req.Header.Get("X-API-Key"))
	require.JSONEq(t, `{
		"from": {"email": "no-reply@acme.example", "name": "Acme"}, "to": [{"email": "gwperson000001@example.com", "name": "Gwname Gwsurname"}],
		"cc": ["gwcopy000001@example.com"], "bcc": ["gwblind000001@example.com"], "subject": "`+m.Email.Subject+`", "text": "`+m.Email.Text+`", "html": "<p>hi</p>",
		"headers": {}, "reference": "`+m.ID+`", "attachments": [
			{"name": "a.txt", "type": "application/octet-stream", "content": "YQ=="}, {"name": "b.pdf", "type": "application/pdf", "content": "Yg=="}
		]}`, body)
	_, _, f = played(t, cfg, m, 422, `{"error": {"code": "suppressed"}}`)
	require.True(t, f.Gone)
	_, _, f = played(t, cfg, m, 400, `{"error": {"code": "sender_not_verified"}}`)
	require.Equal(t, notify.Unavailable, f.Verdict)
}

func TestExample_OwnEndpoint(t *testing.T) {
	cfg := example(t, "http-own.yaml", "own", "SIGNING_SECRET")
	for _, m := range []*notify.Message{gatewaytest.Email(1), gatewaytest.SMS(2), gatewaytest.Push(3)} {
		req, body, f := played(t, cfg, m, 409, "")
		require.Nil(t, f)
		require.Equal(t, []string{"PUT", "/messages/" + string(m.Channel)}, []string{req.Method, req.URL.Path})
		require.Equal(t, "sha256="+signature(cfg.Signing, req.Header.Get("X-Timestamp"), []byte(body)), req.Header.Get("X-Signature"))
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.Equal(t, m.ID, got["id"])
		require.NotContains(t, body, "hush")
	}
	_, _, f := played(t, cfg, gatewaytest.SMS(1), 502, "")
	require.Equal(t, notify.Transient, f.Verdict)
}
