package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/apns/apnstest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newProvider(t *testing.T) *provider {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.p8")
	apnstest.WriteKey(t, file)
	key, err := readKey(file)
	require.NoError(t, err)
	return &provider{team: apnstest.TeamID, keyID: apnstest.KeyID, file: file, key: key}
}

func token(t *testing.T, p *provider) string {
	t.Helper()
	text, err := p.token(time.Now())
	require.NoError(t, err)
	return text
}

// TestProvider_TokenIsReused: one token serves all callers for 40 minutes.
func TestProvider_TokenIsReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		first := token(t, p)
		time.Sleep(renewAfter - time.Second)
		require.Equal(t, first, token(t, p))
		time.Sleep(time.Second)
		require.NotEqual(t, first, token(t, p))
	})
}

// TestProvider_RenewKeepsApplesRule: no second token within 20 minutes, and one token for all callers.
func TestProvider_RenewKeepsApplesRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		first := token(t, p)
		time.Sleep(renewLeast - time.Second)
		_, ok := p.renew(first, time.Now())
		require.False(t, ok)
		time.Sleep(time.Second)
		var mu sync.Mutex
		fresh := map[string]bool{}
		var askers sync.WaitGroup
		for range 16 {
			askers.Go(func() {
				text, ok := p.renew(first, time.Now())
				mu.Lock()
				defer mu.Unlock()
				fresh[text] = ok
			})
		}
		askers.Wait()
		require.Equal(t, map[string]bool{token(t, p): true}, fresh)
		require.NotEqual(t, first, token(t, p))
	})
}

func TestProvider_RereadTakesOnlyAnotherKey(t *testing.T) {
	p := newProvider(t)
	first := token(t, p)
	p.reloadKey()
	require.Equal(t, first, token(t, p), "the same key: no new token")
	require.NoError(t, os.WriteFile(p.file, []byte("half"), 0o600))
	p.reloadKey()
	require.Equal(t, first, token(t, p), "no key: the one at hand")
	apnstest.WriteKey(t, p.file)
	p.reloadKey()
	require.NotEqual(t, first, token(t, p))
}

// TestProvider_ExpiredTokenIsRenewedAtOnce: APNs has not processed the request, so the message is sent again within the try.
func TestProvider_ExpiredTokenIsRenewedAtOnce(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	old := time.Now().Add(-25 * time.Minute)
	_, err := s.provider.sign(old)
	require.NoError(t, err)
	f.Expire(old.Add(time.Minute))
	for n := range 2 {
		_, err = s.Send(t.Context(), push(n))
		require.NoError(t, err)
	}
	require.Len(t, f.Accepted(), 2)
	require.Len(t, f.Tokens(), 2, "the old one and the new one")
}

// TestProvider_YoungTokenIsNotRenewed: one of the clocks is wrong, and a new token would not help.
func TestProvider_YoungTokenIsNotRenewed(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	f.Expire(time.Now().Add(time.Hour))
	for n := range 3 {
		_, err := s.Send(t.Context(), push(n))
		require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
	}
	require.Len(t, f.Tokens(), 1)
}

// TestProvider_ReplacedKeyFile: the operator replaces the file, and no restart is needed.
func TestProvider_ReplacedKeyFile(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	f.Know(apnstest.WriteKey(t, f.KeyFile))
	_, err := s.Send(t.Context(), push(1))
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
	_, err = s.Send(t.Context(), push(1))
	require.NoError(t, err)
}

func TestProvider_KeyFiles(t *testing.T) {
	write := func(block *pem.Block) string {
		file := filepath.Join(t.TempDir(), "key.p8")
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
		return file
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(other)
	require.NoError(t, err)
	for file, want := range map[string]string{
		"":                  "name the .p8 file",
		"no-such-file.p8":   "cannot be read",
		t.TempDir():         "cannot be read",
		write(&pem.Block{}): "no APNs key",
		write(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hush")}): "no APNs key",
		write(&pem.Block{Type: "PRIVATE KEY", Bytes: der}):            "no APNs key",
	} {
		_, err := readKey(file)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hush")
	}
}
