package gateway

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBaseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.example.com":      "https://api.example.com",
		"https://api.example.com/v1/":  "https://api.example.com/v1",
		"http://127.0.0.1:4010":        "http://127.0.0.1:4010",
		"http://[::1]:4010/":           "http://[::1]:4010",
		"http://localhost:4010/twilio": "http://localhost:4010/twilio",
	} {
		u, err := BaseURL(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, u.String())
	}
	for raw, remedy := range map[string]string{
		"":                             "such as https://",
		"api.example.com":              "such as https://",
		"https://:443":                 "such as https://",
		"ftp://api.example.com":        "such as https://",
		"https://api.example.com\x7f/": "such as https://",
		"https://u:hush@example.com":   "their own fields",
		"https://example.com?key=hush": "without ? or #",
		"https://example.com#hush":     "without ? or #",
		"http://api.example.com":       "https://",
		"http://10.0.0.1":              "https://",
		"http://localhost.example.com": "https://",
	} {
		_, err := BaseURL(raw)
		require.ErrorContains(t, err, remedy, raw)
		require.NotContains(t, err.Error(), "hush")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                   0,
		"0":                                  0,
		"17":                                 17 * time.Second,
		" 17 ":                               17 * time.Second,
		"Fri, 01 May 2026 12:01:30 GMT":      90 * time.Second,
		"Fri, 01 May 2026 11:00:00 GMT":      0,
		"-5":                                 0,
		"1.5":                                0,
		"soon":                               0,
		"4294967295":                         maxWait,
		"99999999999999999999":               0,
		"Fri, 01 May 2099 12:00:00 GMT":      maxWait,
		"Friday, 01-May-26 12:00:10 GMT":     10 * time.Second,
		"Fri May  1 12:00:20 2026":           20 * time.Second,
		"Fri, 01 May 2026 12:01:30 GMT junk": 0,
	} {
		require.Equal(t, want, RetryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
}
