package twilio

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestConformance_MessagingService: an opt-out blocks the messaging service.
func TestConformance_MessagingService(t *testing.T) {
	f := twiliotest.New(t, false)
	cfg := section(f)
	cfg.From, cfg.MessagingServiceSID = "", service
	s := sender(t, f, cfg)
	defer s.Close()
	m := gatewaytest.SMS(1)
	_, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, service, s.Originator(m))
	require.Equal(t, service, f.Accepted()[0].Get("MessagingServiceSid"))
	m.SMS.From = "+15550100999"
	require.Equal(t, "+15550100999", s.Originator(m))
}

const (
	service   = "MG0123456789abcdef0123456789abcdef"
	inboundAt = "https://notify.example.com/v1/inbound/texts"
)

func inboundSection() config.Twilio {
	return config.Twilio{AccountSID: twiliotest.AccountSID, AuthToken: twiliotest.AuthToken, From: "+15005550006", Inbound: inboundAt}
}

func TestInbound_Texts(t *testing.T) {
	byService := inboundSection()
	byService.From, byService.MessagingServiceSID = "", service
	more := inboundSection()
	more.Senders = []string{"+15550100777", "12345"}
	for name, c := range map[string]struct {
		cfg             config.Twilio
		to, origin, via string
	}{
		"a number":             {inboundSection(), "+15005550006", "+15005550006", ""},
		"another number":       {more, "+15550100777", "+15550100777", ""},
		"a short code":         {more, "12345", "12345", ""},
		"a messaging service":  {byService, "+15550100555", service, service},
		"a number of somebody": {inboundSection(), "+15005550006", "+15005550006", "MGffffffffffffffffffffffffffffffff"},
	} {
		t.Run(name, func(t *testing.T) {
			request := func(b gatewaytest.Brought) *http.Request {
				form := twiliotest.Text(b.ID, b.From, b.To, b.Text)
				if b.Account != "" {
					form.Set("AccountSid", b.Account)
				}
				if b.Keyword != "" {
					form.Set("OptOutType", b.Keyword)
				}
				if c.via != "" && b.To == c.to {
					form.Set("MessagingServiceSid", c.via)
				}
				return twiliotest.Signed(inboundAt, form, cmp.Or(b.Secret, twiliotest.AuthToken))
			}
			gatewaytest.RunInbound(t, gatewaytest.InboundSuite{
				New: func() gatewaytest.InboundReader { return NewInbound(c.cfg) }, Request: request,
				IDs: [2]string{twiliotest.SID(1), twiliotest.SID(2)}, To: c.to, Origin: c.origin, Foreign: "+15550100111",
				Keywords: map[string]notify.Keyword{
					"STOP": notify.KeywordStop, "START": notify.KeywordStart, "HELP": notify.KeywordHelp, "Stop": notify.KeywordStop, "NEWS": "",
				},
				Account: "ACffffffffffffffffffffffffffffffff",
				Hostile: []string{
					"AccountSid=" + twiliotest.AccountSID, "AccountSid=" + twiliotest.AccountSID + "&MessageSid=SM1&From=%2B14155550123&To=%2B15005550006&Body=gwsecret",
					"AccountSid=" + twiliotest.AccountSID + "&MessageSid=" + twiliotest.SID(1) + "&To=%2B15005550006",
					"AccountSid=" + twiliotest.AccountSID + "&MessageSid=" + twiliotest.SID(1) + "&From=%2B14155550123",
					"gwsecret=%zz", "a;b",
				},
				Resign: func(r *http.Request, body string) {
					form, err := url.ParseQuery(body)
					if err == nil {
						r.Header = twiliotest.Signed(inboundAt, form, twiliotest.AuthToken).Header
					}
				},
			})
		})
	}
}

// TestInbound_AddressIsSigned: a text to one gateway, or a receipt, is not accepted by another.
func TestInbound_AddressIsSigned(t *testing.T) {
	read := func(address string, change func(*http.Request)) error {
		r := twiliotest.Inbound(address, twiliotest.SID(1), "+14155550123", "+15005550006", "STOP")
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		change(r)
		_, err = NewInbound(inboundSection()).Read(r, body)
		return err
	}
	leave := func(*http.Request) {}
	require.NoError(t, read(inboundAt, leave))
	require.NoError(t, read(inboundAt+overrides, leave), "whether Twilio signs the overrides, its documents do not say")
	require.NoError(t, read(inboundAt+"?a=b", leave))
	require.NoError(t, read(inboundAt, func(r *http.Request) { r.Host, r.URL.Host, r.URL.Path = "10.0.0.7", "10.0.0.7", "/v1/inbound/texts" }))
	for name, err := range map[string]error{
		"another gateway":  read("https://notify.example.com/v1/inbound/backup", leave),
		"a receipt":        read("https://notify.example.com/v1/receipts/texts", leave),
		"another host":     read("https://evil.example/v1/inbound/texts", leave),
		"a query":          read(inboundAt, func(r *http.Request) { r.URL.RawQuery = "a=b" }),
		"no signature":     read(inboundAt, func(r *http.Request) { r.Header.Del("X-Twilio-Signature") }),
		"two signatures":   read(inboundAt, func(r *http.Request) { r.Header.Add("X-Twilio-Signature", r.Header.Get("X-Twilio-Signature")) }),
		"an empty one":     read(inboundAt, func(r *http.Request) { r.Header.Set("X-Twilio-Signature", "") }),
		"a parameter more": readMore(t),
	} {
		require.ErrorIs(t, err, notify.ErrForged, name)
	}
}

// readMore reads a form in which a parameter has two values: only one of them would be signed.
func readMore(t *testing.T) error {
	r := twiliotest.Inbound(inboundAt, twiliotest.SID(1), "+14155550123", "+15005550006", "STOP")
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	_, err = NewInbound(inboundSection()).Read(r, append(body, "&Body=START"...))
	return err
}

// TestInbound_RCS: an opt-out by RCS blocks the texts of the same service.
func TestInbound_RCS(t *testing.T) {
	cfg := inboundSection()
	cfg.From = ""
	cfg.MessagingServiceSID = service
	cfg.Senders = []string{"+15550100777"}
	form := twiliotest.Text(twiliotest.SID(1), "rcs:+14155550123", "rcs:acme_agent", "STOP")
	form.Set("MessagingServiceSid", service)
	r := twiliotest.Signed(inboundAt, form, twiliotest.AuthToken)
	in, err := NewInbound(cfg).Read(r, []byte(form.Encode()))
	require.NoError(t, err)
	require.Equal(t, []any{"+14155550123", []string{service}}, []any{in.Address, in.Senders})
	form.Set("To", "+15550100777") // which is one of the service's numbers, and is also sent from by name
	in, err = NewInbound(cfg).Read(twiliotest.Signed(inboundAt, form, twiliotest.AuthToken), []byte(form.Encode()))
	require.NoError(t, err)
	require.Equal(t, []string{service, "+15550100777"}, in.Senders)
}
