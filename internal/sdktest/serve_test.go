package sdktest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
)

// serve starts a server on loopback that accepts every request and hands it on. It ends with the test.
func serve(t *testing.T, taken func(got apitest.Taken, host string)) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		taken(apitest.Taken{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header, Body: string(body)}, r.Host)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
