package twilio

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// prism returns a sender to a server that checks every request against Twilio's own OpenAPI description.
func prism(t *testing.T, change func(*config.Twilio)) *Sender {
	url := os.Getenv("LAUDSPEAKER_TEST_TWILIO")
	if url == "" {
		t.Skip("needs Twilio's OpenAPI: `scripts/prism.sh` runs this test; or `scripts/prism.sh start` and set LAUDSPEAKER_TEST_TWILIO as it prints")
	}
	cfg := section(&fake{URL: url})
	change(&cfg)
	s, err := New("texts", cfg)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestPrism_AcceptsRequests(t *testing.T) {
	const service = "MG0123456789abcdef0123456789abcdef"
	s := prism(t, func(*config.Twilio) {})
	for name, change := range map[string]func(*notify.Message){
		"sms":         func(*notify.Message) {},
		"own sender":  func(m *notify.Message) { m.SMS.From = "ACME" },
		"any text":    func(m *notify.Message) { m.SMS.Body = "Grüße 👋 & = %" },
		"no expiry":   func(m *notify.Message) { m.ExpiresAt = nil },
		"far expiry":  func(m *notify.Message) { at := time.Now().Add(72 * time.Hour); m.ExpiresAt = &at },
		"one picture": func(m *notify.Message) { m.SMS.MediaURLs = []string{"https://a.example/1.png"} },
		"two pictures": func(m *notify.Message) {
			m.SMS.MediaURLs = []string{"https://a.example/1.png", "https://a.example/2.png"}
		},
		"only picture": func(m *notify.Message) { *m.SMS = notify.SMS{MediaURLs: []string{"https://a.example/1.png"}} },
	} {
		t.Run(name, func(t *testing.T) {
			m := gatewaytest.SMS(1)
			change(m)
			receipt, err := s.Send(t.Context(), m)
			require.NoError(t, err)
			require.Regexp(t, "^SM[0-9a-f]{32}$", receipt.ProviderID)
		})
	}
	require.NoError(t, s.Check(t.Context()))
	by := prism(t, func(c *config.Twilio) { c.From, c.MessagingServiceSID = "", service })
	_, err := by.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)
}

// TestPrism_Refuses shows that the description is enforced, and that the gateway judges the refusals.
func TestPrism_Refuses(t *testing.T) {
	s := prism(t, func(*config.Twilio) {})
	s.cfg.From, s.cfg.MessagingServiceSID = "", "MG1"
	_, err := s.Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, notify.Permanent, notify.Judge(err).Verdict)
	require.Equal(t, "HTTP 422", notify.Judge(err).Code)

	s = prism(t, func(*config.Twilio) {})
	s.cfg.AccountSID = "AC1"
	_, err = s.Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, "HTTP 422", notify.Judge(err).Code)

	s = prism(t, func(*config.Twilio) {})
	s.cfg.AuthToken = "" // twilio-go sends no credentials then
	_, err = s.Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
	require.Equal(t, notify.Unavailable, notify.Judge(s.Check(t.Context())).Verdict)

	s = prism(t, func(c *config.Twilio) { c.BaseURL += "/nowhere" })
	_, err = s.Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
}
