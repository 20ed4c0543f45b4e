// Package sdktest holds what we sign, verify and play in tests against the SDKs of providers: what an SDK signs our code accepts, what
// our code signs the SDK computes as well, and whoever changes a bit, the key or the time is refused.
//
// Twilio signs no time and no nonce, so a callback that is replayed is accepted: it is a repetition, and changes nothing. What the
// Standard Webhooks scheme signs is accepted for five minutes.
package sdktest

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// reader is the reader of the receipts of a gateway.
type reader[T any] interface {
	Read(r *http.Request, body []byte) (T, error)
}

// bodyOf returns the body of a request, which can be read again.
func bodyOf(t *testing.T, r *http.Request) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// flips calls f with s, each bit of which is flipped in turn.
func flips(s string, f func(flipped string)) {
	for i := range len(s) * 8 {
		b := []byte(s)
		b[i/8] ^= 1 << (i % 8)
		f(string(b))
	}
}
