package twilio

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const receiptsAt = "https://notify.example.com/v1/receipts/texts"

// asked sends a message that asks for receipts.
func asked(t *testing.T) (f *fake, r *Receipts, m *notify.Message) {
	t.Helper()
	f = twiliotest.New(t, false)
	cfg := section(f)
	cfg.Callback = receiptsAt
	m = gatewaytest.SMS(1)
	m.Run = 3
	s := sender(t, f, cfg)
	defer s.Close()
	receipt, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.True(t, receipt.Awaited)
	return f, NewReceipts(cfg), m
}

func read(s *Receipts, r *http.Request) (notify.Report, error) {
	body, _ := io.ReadAll(r.Body)
	return s.Read(r, body)
}

func TestReceipts_SendAsksForThem(t *testing.T) {
	f, _, m := asked(t)
	require.Equal(t, receiptsAt+"?id="+m.ID+"&run=3&sender=%2B15005550006#rc=5&rp=ct,rt,5xx", f.Accepted()[0].Get("StatusCallback"))
	plain := sent(t, func(*config.Twilio, *notify.Message) {})
	require.False(t, plain.Has("StatusCallback"), "only where somebody can hear them")
}

func TestReceipts_Reports(t *testing.T) {
	f, s, m := asked(t)
	for _, c := range []struct {
		status, code string
		state        notify.State
		reason       string
	}{
		{"accepted", "", "", ""},
		{"queued", "", "", ""},
		{"sending", "", "", ""},
		{"sent", "", "", ""},
		{"odd", "", "", ""},
		{"delivered", "", notify.StateDelivered, ""},
		{"read", "", notify.StateDelivered, ""},
		{"undelivered", "30003", notify.StateBounced, "the handset cannot be reached: switched off or without network"},
		{"undelivered", "30005", notify.StateBounced, notify.ReasonRecipientGone},
		{"failed", "21610", notify.StateBounced, notify.ReasonOptedOut},
		{"failed", "63016", notify.StateBounced, "Twilio says failed: see https://www.twilio.com/docs/api/errors/63016"},
		{"failed", "", notify.StateBounced, "Twilio says failed"},
		{"canceled", "../x", notify.StateBounced, "Twilio says canceled"},
	} {
		said, err := read(s, f.Report(0, c.status, c.code))
		require.NoError(t, err)
		want := notify.Report{NotificationID: m.ID, Run: 3, ProviderID: "SM00000000000000000000000000000001", State: c.state, Reason: c.reason}
		if c.state == notify.StateBounced {
			want.Code = c.code
			want.Gone = c.reason == notify.ReasonRecipientGone || c.reason == notify.ReasonOptedOut
		}
		if c.reason == notify.ReasonOptedOut {
			want.Sender = "+15005550006"
		}
		require.Equal(t, want, said, c.status)
	}
}

// TestReceipts_OverridesMayBeSigned: Twilio's documentation does not say whether the overrides at the end of the address are
// signed.
func TestReceipts_OverridesMayBeSigned(t *testing.T) {
	f, s, m := asked(t)
	whole := f.Accepted()[0].Get("StatusCallback")
	require.True(t, strings.HasSuffix(whole, overrides))
	for _, address := range []string{whole, strings.TrimSuffix(whole, overrides)} {
		said, err := read(s, twiliotest.Signed(address, url.Values{"MessageStatus": {"delivered"}}, twiliotest.AuthToken))
		require.NoError(t, err)
		require.Equal(t, m.ID, said.NotificationID)
	}
	_, err := read(s, twiliotest.Signed(whole+"5", url.Values{"MessageStatus": {"delivered"}}, twiliotest.AuthToken))
	require.ErrorIs(t, err, notify.ErrForged)
}

// A proxy may change the path or the host, or end TLS.
func TestReceipts_ConfiguredAddressIsSigned(t *testing.T) {
	f, s, _ := asked(t)
	r := f.Report(0, "delivered", "")
	r.URL.Scheme = ""
	r.URL.Host = ""
	r.Host = "10.0.0.7:8080"
	r.URL.Path = "/v1/receipts/texts"
	_, err := read(s, r)
	require.NoError(t, err)
}

func TestReceipts_Forgeries(t *testing.T) {
	f, s, m := asked(t)
	for name, change := range map[string]func(r *http.Request, form url.Values){
		"no signature":       func(r *http.Request, _ url.Values) { r.Header.Del("X-Twilio-Signature") },
		"an empty one":       func(r *http.Request, _ url.Values) { r.Header.Set("X-Twilio-Signature", "") },
		"two":                func(r *http.Request, _ url.Values) { r.Header.Add("X-Twilio-Signature", "x") },
		"another message":    func(r *http.Request, _ url.Values) { r.URL.RawQuery = "id=" + notify.NewID() + "&run=3" },
		"another run":        func(r *http.Request, _ url.Values) { r.URL.RawQuery = "id=" + m.ID + "&run=4" },
		"more in the query":  func(r *http.Request, _ url.Values) { r.URL.RawQuery += "&run=4" },
		"a hash of the body": func(r *http.Request, _ url.Values) { r.URL.RawQuery += "&bodySHA256=" },
		"another status":     func(_ *http.Request, form url.Values) { form.Set("MessageStatus", "delivered") },
		"a second status":    func(_ *http.Request, form url.Values) { form.Add("MessageStatus", "delivered") },
		"one more field":     func(_ *http.Request, form url.Values) { form.Set("ErrorCode", "30005") },
	} {
		r := f.Report(0, "sent", "")
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		change(r, form)
		_, err := s.Read(r, []byte(form.Encode()))
		require.ErrorIs(t, err, notify.ErrForged, name)
	}
	_, err := read(s, twiliotest.Signed(receiptsAt+"?id="+m.ID+"&run=3", url.Values{"MessageStatus": {"delivered"}}, twiliotest.APISecret))
	require.ErrorIs(t, err, notify.ErrForged, "a token that is not the account's")
}

// TestReceipts_TwiliosExample is the example of https://www.twilio.com/docs/usage/security: its signature is valid, but it is
// no receipt.
func TestReceipts_TwiliosExample(t *testing.T) {
	s := NewReceipts(config.Twilio{AuthToken: "12345", Callback: "https://mycompany.com/myapp.php"})
	form := url.Values{"Digits": {"1234"}, "CallSid": {"CA1234567890ABCDE"}, "To": {"+18005551212"}, "Caller": {"+14158675309"}, "From": {"+14158675309"}}
	r := twiliotest.Signed("https://mycompany.com/myapp.php?foo=1&bar=2", form, "12345")
	require.Equal(t, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", r.Header.Get("X-Twilio-Signature"))
	var faults notify.Faults
	_, err := read(s, r)
	require.ErrorAs(t, err, &faults)
}

// A signed request that is no receipt gets a fault that says why, without quoting the request.
func TestReceipts_SignedAndUnreadable(t *testing.T) {
	_, s, m := asked(t)
	good := url.Values{"MessageStatus": {"delivered"}}
	for _, r := range []*http.Request{
		twiliotest.Signed(receiptsAt+"?run=3", good, twiliotest.AuthToken),
		twiliotest.Signed(receiptsAt+"?id=hunter2&run=3", good, twiliotest.AuthToken),
		twiliotest.Signed(receiptsAt+"?id="+m.ID, good, twiliotest.AuthToken),
		twiliotest.Signed(receiptsAt+"?id="+m.ID+"&run=-1", good, twiliotest.AuthToken),
		twiliotest.Signed(receiptsAt+"?id="+m.ID+"&run=3", url.Values{"MessageStatus": {""}}, twiliotest.AuthToken),
	} {
		var faults notify.Faults
		_, err := read(s, r)
		require.ErrorAs(t, err, &faults)
		require.NotContains(t, err.Error(), "hunter2")
	}
	r := twiliotest.Signed(receiptsAt+"?id="+m.ID+"&run=3", good, twiliotest.AuthToken)
	r.Header.Set("Content-Type", "application/json")
	_, err := s.Read(r, []byte(strings.Repeat("{", 9)))
	require.ErrorAs(t, err, new(notify.Faults))
}

func TestReceipts_NeedAccountToken(t *testing.T) {
	cfg := config.Twilio{APIKey: twiliotest.APIKey, APISecret: twiliotest.APISecret, Callback: receiptsAt}
	cfg.Receipts.AuthToken = twiliotest.AuthToken
	_, err := read(NewReceipts(cfg), twiliotest.Signed(receiptsAt+"?id="+notify.NewID()+"&run=0", url.Values{"MessageStatus": {"sent"}}, twiliotest.AuthToken))
	require.NoError(t, err)
}
