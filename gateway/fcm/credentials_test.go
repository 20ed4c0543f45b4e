package fcm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// account writes the file of a service account whose token endpoint is this server.
func account(t *testing.T, tokenURI string) string {
	var file string
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": fcmtest.Project, "private_key_id": "k1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "gw@example.iam.gserviceaccount.com", "token_uri": tokenURI,
	})
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

// withAccount returns a sender with the project and tokens of the file alone.
func withAccount(t *testing.T, f *fake, tokens http.HandlerFunc) (s *Sender, asked *atomic.Int32) {
	t.Helper()
	issuer, asked := counting(t, tokens)
	s, err := New("pushes", config.FCM{CredentialsFile: account(t, issuer.URL), Endpoint: f.URL, Timeout: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s, asked
}

func issue(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": %q, "token_type": "Bearer", "expires_in": 3600}`, token)
	}
}

func TestCredentials_ServiceAccount(t *testing.T) {
	f := fcmtest.New(t, false)
	s, asked := withAccount(t, f, issue(fcmtest.Token))
	for n := range 3 {
		_, err := s.Send(t.Context(), gatewaytest.Push(n))
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, asked.Load(), "a token serves for its hour")
}

func TestCredentials_Default(t *testing.T) {
	f := fcmtest.New(t, false)
	issuer, _ := counting(t, issue(fcmtest.Token))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", account(t, issuer.URL))
	s, err := New("pushes", config.FCM{Endpoint: f.URL})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Check(t.Context()))
	require.Empty(t, f.Accepted())
}

// TestCredentials_RefusedTokenIsReplaced: a token that FCM has refused is not kept for the rest of its hour.
func TestCredentials_RefusedTokenIsReplaced(t *testing.T) {
	f := fcmtest.New(t, false)
	tokens := make(chan string, 2)
	tokens <- "revoked"
	tokens <- fcmtest.Token
	s, _ := withAccount(t, f, func(w http.ResponseWriter, r *http.Request) { issue(<-tokens)(w, r) })
	_, err := s.Send(t.Context(), gatewaytest.Push(1))
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
	_, err = s.Send(t.Context(), gatewaytest.Push(1))
	require.NoError(t, err)
}

// TestCredentials_NoToken: without a token nothing was sent, whatever the token endpoint answers.
func TestCredentials_NoToken(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   notify.Verdict
	}{
		"revoked": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_ = r.ParseForm()
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"gwhush %s"}`, r.Form.Get("assertion"))
		}, notify.Unavailable},
		"failing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, notify.Transient},
		"lost":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, notify.Transient},
		"redirected": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, notify.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := fcmtest.New(t, false)
			s, asked := withAccount(t, f, c.answer)
			_, err := s.Send(t.Context(), gatewaytest.Push(1))
			require.Equal(t, c.want, notify.Judge(err).Verdict)
			require.NotContains(t, fmt.Sprintf("%+v", err), "gwhush")
			require.EqualValues(t, 1, asked.Load())
			require.Empty(t, f.Accepted())
		})
	}
}

// TestCredentials_SlowToken: the attempt ends in time, and Close does not wait.
func TestCredentials_SlowToken(t *testing.T) {
	f := fcmtest.New(t, false)
	s, _ := withAccount(t, f, func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // the end of the connection shows only once the body has been read
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Send(ctx, gatewaytest.Push(1))
	require.Equal(t, notify.Transient, notify.Judge(err).Verdict)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCredentials_File(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		file := filepath.Join(dir, "c.json")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	for text, remedy := range map[string]string{
		`hush`: "not JSON",
		`{"type":"service_account","token_uri":"http://tokens.example.com","private_key":"hush"}`: "token_uri in the file must begin with https://",
		`{"type":"authorized_user","client_secret":"hush"}`:                                       "not that of a service account",
	} {
		_, err := New("pushes", config.FCM{CredentialsFile: write(text), ProjectID: "p"})
		require.ErrorContains(t, err, "gateways.pushes.credentials_file")
		require.ErrorContains(t, err, remedy)
		require.NotContains(t, err.Error(), "hush")
	}
}
