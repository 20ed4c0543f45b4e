package producer

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func decoded(t *testing.T, raw string) *notify.Notification {
	t.Helper()
	n, _, faults := validate.Decode([]byte(raw), true)
	require.Empty(t, faults)
	_, faults = validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}}.Check(n)
	require.Empty(t, faults)
	return n
}

func printOf(t *testing.T, raw string) [32]byte {
	t.Helper()
	print, err := fingerprint(decoded(t, raw), "k")
	require.NoError(t, err)
	return print
}

const pushed = `{"channel":"push","recipient":"news","recipient_type":"topic","send_at":"2030-01-01T12:00:00Z","metadata":{"a":"1","b":"é"},` +
	`"payload":{"title":"t","apns":{"payload":{"aps":{"badge":3},"mine":{"x":1.50,"y":[1,-0,2e3]}}}}}`

func TestSpellingIsNoDifference(t *testing.T) {
	want := printOf(t, pushed)
	for name, other := range map[string]string{
		"white space": strings.NewReplacer(":", " :\n", ",", " ,\t").Replace(strings.Replace(pushed, "2030-01-01T12:00:00Z", "@", 1)),
		"order":       `{"payload":{"apns":{"payload":{"mine":{"y":[1,0,2000],"x":15e-1},"aps":{"badge":3}}},"title":"t"},"metadata":{"b":"\u00e9","a":"1"},"send_at":"2030-01-01T12:00:00Z","recipient_type":"topic","recipient":"news","channel":"push"}`,
		"escapes":     strings.Replace(pushed, `"title":"t"`, `"\u0074itle":"\u0074"`, 1),
		"a zone":      strings.Replace(pushed, "12:00:00Z", "14:00:00.000+02:00", 1),
		"defaults":    `{"lane":"normal","tenant":"default","on_ambiguous":"resend","reference":null,` + pushed[1:],
		"numbers":     strings.NewReplacer("1.50", "0.15E+1", ",-0,", ",0.0,", "2e3", "2000.0").Replace(pushed),
	} {
		require.Equal(t, want, printOf(t, strings.Replace(other, "@", "2030-01-01T12:00:00Z", 1)), name)
	}
	for name, other := range map[string]string{
		"a number":   strings.Replace(pushed, "1.50", "1.500000000000000000001", 1),
		"a list":     strings.Replace(pushed, "[1,-0,2e3]", "[-0,1,2e3]", 1),
		"text":       strings.Replace(pushed, "1.50", `"1.50"`, 1),
		"null":       strings.Replace(pushed, "1.50", "null", 1),
		"a sign":     strings.Replace(pushed, "1.50", "-1.50", 1),
		"an order":   strings.Replace(pushed, `{"a":"1","b":"é"}`, `{"a":"é","b":"1"}`, 1),
		"a time":     strings.Replace(pushed, "12:00:00Z", "12:00:01Z", 1),
		"a lane":     `{"lane":"bulk",` + pushed[1:],
		"ambiguous":  `{"on_ambiguous":"hold",` + pushed[1:],
		"an id":      `{"id":"0190163d-8694-739b-aea5-966c26f8ad91",` + pushed[1:],
		"an expiry":  `{"expires_at":"2031-01-01T12:00:00Z",` + pushed[1:],
		"an own key": `{"ordering_key":"x",` + pushed[1:],
	} {
		require.NotEqual(t, want, printOf(t, other), name)
	}
}

// Who reads the store and knows all but a short code has to know the key, too, to find the code by trying. A key that HMAC
// hashes before use is no exception.
func TestWhatTheStoreHasOfACodeCannotBeTried(t *testing.T) {
	const otp = `{"channel":"sms","recipient":"+14155550100","sensitive":true,"payload":{"from":"+15550123456","body":"Your code is 482913"}}`
	for _, key := range []string{"5a2c9e1e-07b1-4c36-9d5e-0d6f6a7a2f11", strings.Repeat("long", 50)} {
		keys := &fakeKeys{}
		answer, body := do(t, newServer(t, Config{Idempotency: keys}), withKey(key, otp))
		require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
		c := keys.claimed[0][0]
		require.NotContains(t, c.Key, key)
		stored, err := hex.DecodeString(c.Key)
		require.NoError(t, err)
		for _, known := range []string{"", c.Key, string(stored)} {
			print, err := fingerprint(decoded(t, otp), known)
			require.NoError(t, err)
			require.NotEqual(t, c.Fingerprint, print)
		}
		print, err := fingerprint(decoded(t, otp), key)
		require.NoError(t, err)
		require.Equal(t, c.Fingerprint, print, "it is told by the key")
	}
}
