package sdktest

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	sdk "github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const callback = "https://notify.example.com/hook/v1/receipts/texts"

// text has our gateway send a text to the fake, and returns the fake.
func text(t *testing.T) (*twiliotest.Server, config.Twilio) {
	t.Helper()
	fake := twiliotest.New(t, false)
	cfg := config.Twilio{AccountSID: twiliotest.AccountSID, AuthToken: twiliotest.AuthToken, From: "+15005550006", BaseURL: fake.URL, Callback: callback}
	sender, err := twilio.New("texts", cfg)
	require.NoError(t, err)
	defer sender.Close()
	_, err = sender.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)
	return fake, cfg
}

// TestTwilio_TheSDKKnowsTheFakesSignature, and our code reads the same callback.
func TestTwilio_TheSDKKnowsTheFakesSignature(t *testing.T) {
	fake, cfg := text(t)
	for _, status := range []string{"sent", "delivered", "failed"} {
		r := fake.Report(0, status, "30003")
		body := bodyOf(t, r)
		form, err := url.ParseQuery(string(body))
		require.NoError(t, err)
		params := map[string]string{}
		for name := range form {
			params[name] = form.Get(name)
		}
		validator := client.NewRequestValidator(twiliotest.AuthToken)
		require.True(t, validator.Validate(r.URL.String(), params, r.Header.Get("X-Twilio-Signature")))
		_, err = twilio.NewReceipts(cfg).Read(r, body)
		require.NoError(t, err)
	}
}

// toFake takes the SDK's requests to the fake.
type toFake struct{ url *url.URL }

func (f toFake) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = f.url.Scheme, f.url.Host
	return http.DefaultTransport.RoundTrip(r)
}

// TestTwilio_TheSDKSendsToTheFake: the fake takes what the SDK sends, and the SDK understands the fake's answers.
func TestTwilio_TheSDKSendsToTheFake(t *testing.T) {
	fake := twiliotest.New(t, false)
	at, err := url.Parse(fake.URL)
	require.NoError(t, err)
	base := &client.Client{Credentials: client.NewCredentials(twiliotest.AccountSID, twiliotest.AuthToken), HTTPClient: &http.Client{Transport: toFake{at}}}
	base.SetAccountSid(twiliotest.AccountSID)
	c := sdk.NewRestClientWithParams(sdk.ClientParams{Client: base})
	params := new(api.CreateMessageParams).SetTo("+14155550101").SetFrom("+15005550006").SetBody("hi").SetStatusCallback(callback)
	m, err := c.Api.CreateMessage(params)
	require.NoError(t, err)
	require.Regexp(t, "^SM[0-9a-f]{32}$", *m.Sid)
	require.Equal(t, callback, fake.Accepted()[0].Get("StatusCallback"))

	fake.Fail(http.StatusBadRequest, 21610, nil)
	_, err = c.Api.CreateMessage(params)
	var refused *client.TwilioRestError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{21610, http.StatusBadRequest}, []int{refused.Code, refused.Status})
}

// TestTwilio_WhatIsChangedIsRefused: any flipped bit of the body, the address or the signature, and any other key.
func TestTwilio_WhatIsChangedIsRefused(t *testing.T) {
	fake, cfg := text(t)
	receipts := twilio.NewReceipts(cfg)
	report := func() *http.Request { return fake.Report(0, "delivered", "") }
	body := string(bodyOf(t, report()))
	refused := func(r *http.Request, body string) {
		t.Helper()
		said, err := receipts.Read(r, []byte(body))
		require.Error(t, err)
		require.Equal(t, notify.Report{}, said)
	}
	flips(body, func(flipped string) {
		if !sameForm(body, flipped) { // %2B and %2b are one character
			refused(report(), flipped)
		}
	})
	query := report().URL.RawQuery
	flips(query, func(flipped string) {
		r := report()
		r.URL.RawQuery = flipped
		refused(r, body)
	})
	flips(report().Header.Get("X-Twilio-Signature"), func(flipped string) {
		r := report()
		r.Header.Set("X-Twilio-Signature", flipped)
		refused(r, body)
	})
	form, err := url.ParseQuery(body)
	require.NoError(t, err)
	flips(twiliotest.AuthToken, func(key string) { refused(twiliotest.Signed(report().URL.String(), form, key), body) })
	other, _, _ := strings.Cut(report().URL.String(), "?")
	refused(twiliotest.Signed(strings.Replace(other, "texts", "others", 1)+"?"+query, form, twiliotest.AuthToken), body)
}

func sameForm(a, b string) bool {
	x, _ := url.ParseQuery(a)
	y, err := url.ParseQuery(b)
	return err == nil && reflect.DeepEqual(x, y)
}
