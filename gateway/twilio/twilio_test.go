package twilio

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// sent returns the parameters with which a message arrives, over plain HTTP.
func sent(t *testing.T, change func(*config.Twilio, *notify.Message)) url.Values {
	t.Helper()
	f := twiliotest.New(t, false)
	cfg, m := section(f), gatewaytest.SMS(1)
	change(&cfg, m)
	s := sender(t, f, cfg)
	defer s.Close()
	receipt, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.Regexp(t, "^SM[0-9a-f]{32}$", receipt.ProviderID)
	require.Len(t, f.Accepted(), 1)
	return f.Accepted()[0]
}

func TestParams_OfMessage(t *testing.T) {
	p := sent(t, func(_ *config.Twilio, m *notify.Message) {
		m.SMS = &notify.SMS{Body: "Grüße 👋 & =", MediaURLs: []string{"https://a.example/1.png", "https://a.example/2.png?x=1&y=2"}}
		m.ExpiresAt = nil
	})
	require.Equal(t, url.Values{
		"To": {"+15550000001"}, "From": {"+15005550006"}, "Body": {"Grüße 👋 & ="},
		"MediaUrl": {"https://a.example/1.png", "https://a.example/2.png?x=1&y=2"},
	}, p)
}

func TestParams_SenderOfPayloadWins(t *testing.T) {
	const service = "MG0123456789abcdef0123456789abcdef"
	withService := func(from string) func(*config.Twilio, *notify.Message) {
		return func(c *config.Twilio, m *notify.Message) {
			c.From = ""
			c.MessagingServiceSID = service
			m.SMS.From = from
		}
	}
	p := sent(t, withService(""))
	require.Equal(t, []string{service, ""}, []string{p.Get("MessagingServiceSid"), p.Get("From")})
	p = sent(t, withService("ACME"))
	require.Equal(t, []string{"", "ACME"}, []string{p.Get("MessagingServiceSid"), p.Get("From")})
	p = sent(t, func(_ *config.Twilio, m *notify.Message) { m.SMS.From = "ACME" })
	require.Equal(t, "ACME", p.Get("From"))
}

func TestParams_NoSender(t *testing.T) {
	f := twiliotest.New(t, false)
	cfg := section(f)
	cfg.From = ""
	_, err := sender(t, f, cfg).Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, notify.Permanent, notify.Judge(err).Verdict)
	require.ErrorContains(t, err, "payload.from")
}

func TestSender_APIKey(t *testing.T) {
	sent(t, func(c *config.Twilio, _ *notify.Message) {
		c.AuthToken = ""
		c.APIKey = twiliotest.APIKey
		c.APISecret = twiliotest.APISecret
	})
}

func TestParams_ValidityPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Sender{cfg: config.Twilio{From: "ACME"}}
		for remains, want := range map[time.Duration]int{
			90 * time.Second: 90, 1999 * time.Millisecond: 1, 10 * time.Millisecond: 1, -time.Minute: 1,
			10 * time.Hour: 36_000, 72 * time.Hour: 36_000,
		} {
			m, at := gatewaytest.SMS(1), time.Now().Add(remains)
			m.ExpiresAt = &at
			p, refused := s.params(m, time.Now())
			require.Nil(t, refused)
			require.Equal(t, want, *p.ValidityPeriod, remains)
		}
	})
}

// TestSender_BaseURL: only the configuration decides where requests go, and its path is kept.
func TestSender_BaseURL(t *testing.T) {
	t.Setenv("TWILIO_REGION", "au1")
	t.Setenv("TWILIO_EDGE", "sydney")
	var got *http.Request
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer h.Close()
	cfg := section(&fake{URL: h.URL + "/twilio/"})
	s := sender(t, &fake{}, cfg)
	defer s.Close()
	_, err := s.Send(t.Context(), gatewaytest.SMS(1))
	require.Error(t, err)
	require.Equal(t, "/twilio/2010-04-01/Accounts/"+twiliotest.AccountSID+"/Messages.json", got.URL.Path)
	require.Equal(t, strings.TrimPrefix(h.URL, "http://"), got.Host)
}

func TestSender_FollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request went to another host")
	}))
	defer other.Close()
	f := twiliotest.New(t, false)
	s := sender(t, f, section(f))
	defer s.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		f.Reply(status, http.Header{"Location": {other.URL}}, `{"sid":"SM1"}`)
		_, err := s.Send(t.Context(), gatewaytest.SMS(1))
		require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict, status)
	}
}

// TestSender_Timeout: the configured timeout bounds an attempt whose context has none.
func TestSender_Timeout(t *testing.T) {
	f := twiliotest.New(t, false)
	f.Hang(gatewaytest.AtRequest)
	cfg := section(f)
	cfg.Timeout = 50 * time.Millisecond
	s := sender(t, f, cfg)
	defer s.Close()
	_, err := s.Send(context.Background(), gatewaytest.SMS(1))
	require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestNew_NamesFaults(t *testing.T) {
	good := section(&fake{URL: "https://api.twilio.com"})
	for field, change := range map[string]func(*config.Twilio){
		"account_sid":            func(c *config.Twilio) { c.AccountSID = "AC123" },
		"auth_token":             func(c *config.Twilio) { c.AuthToken = "" },
		"auth_token: set either": func(c *config.Twilio) { c.APIKey, c.APISecret = twiliotest.APIKey, twiliotest.APISecret },
		"auth_token: only":       func(c *config.Twilio) { c.AuthToken = "hush\n" },
		"api_key":                func(c *config.Twilio) { c.AuthToken, c.APISecret = "", twiliotest.APISecret },
		"api_secret":             func(c *config.Twilio) { c.AuthToken, c.APIKey, c.APISecret = "", twiliotest.APIKey, "hush!" },
		"messaging_service_sid":  func(c *config.Twilio) { c.From, c.MessagingServiceSID = "", "MG1" },
		"from": func(c *config.Twilio) {
			c.MessagingServiceSID = "MG0123456789abcdef0123456789abcdef"
		},
		"base_url": func(c *config.Twilio) { c.BaseURL = "http://api.twilio.com" },
	} {
		cfg := good
		change(&cfg)
		_, err := New("texts", cfg)
		require.ErrorContains(t, err, "gateways.texts."+field)
		require.NotContains(t, err.Error(), "hush")
		require.NotContains(t, err.Error(), "\n", "one fault, one line")
	}
	_, err := New("texts", good)
	require.NoError(t, err)
	_, err = New("texts", config.Twilio{})
	require.Len(t, strings.Split(err.Error(), "\n"), 3, "all faults at once")
}
