package sdktest

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/laudspeaker/laudspeaker/config"
	receipts "github.com/laudspeaker/laudspeaker/gateway/http"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	other  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"
	body   = `{"provider_id":"msg_000042","state":"bounced","code":"5.1.1"}`
)

// signed has Svix's SDK sign a receipt.
func signed(t *testing.T, secret, id string, at time.Time, body string) *http.Request {
	t.Helper()
	hook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	signature, err := hook.Sign(id, at, []byte(body))
	require.NoError(t, err)
	r := &http.Request{Header: http.Header{}}
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	return r
}

func own(t *testing.T) reader[notify.Report] {
	t.Helper()
	s, err := receipts.NewReceipts("own", config.HTTPReceipts{Secret: secret})
	require.NoError(t, err)
	return s
}

// TestSvix_WeReadWhatTheSDKSigns, and the SDK verifies what our tests sign.
func TestSvix_WeReadWhatTheSDKSigns(t *testing.T) {
	now := time.Now()
	said, err := own(t).Read(signed(t, secret, "r-1", now, body), []byte(body))
	require.NoError(t, err)
	require.Equal(t, "msg_000042", said.ProviderID)

	hook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	r := signed(t, secret, "r-1", now, body)
	r.Header.Set("Webhook-Signature", apitest.WebhookSignature(secret, "r-1", now, body))
	require.NoError(t, hook.Verify([]byte(body), r.Header))
}

// TestSvix_WhatIsChangedIsForged: any flipped bit of the body or of a header, and another key.
func TestSvix_WhatIsChangedIsForged(t *testing.T) {
	s, now := own(t), time.Now()
	forged := func(r *http.Request, body string) {
		t.Helper()
		_, err := s.Read(r, []byte(body))
		require.ErrorIs(t, err, notify.ErrForged)
	}
	flips(body, func(flipped string) { forged(signed(t, secret, "r-1", now, body), flipped) })
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		flips(signed(t, secret, "r-1", now, body).Header.Get(name), func(flipped string) {
			r := signed(t, secret, "r-1", now, body)
			r.Header.Set(name, flipped)
			forged(r, body)
		})
	}
	forged(signed(t, other, "r-1", now, body), body)
}

// TestSvix_WhatIsLateIsForged: what was signed more than five minutes ago, and the same request once more after that time.
func TestSvix_WhatIsLateIsForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := own(t)
		_, err := s.Read(signed(t, secret, "r-1", time.Now().Add(-5*time.Minute-time.Second), body), []byte(body))
		require.ErrorIs(t, err, notify.ErrForged)
		_, err = s.Read(signed(t, secret, "r-1", time.Now().Add(5*time.Minute+time.Second), body), []byte(body))
		require.ErrorIs(t, err, notify.ErrForged, "the sender's clock is ahead")
		r := signed(t, secret, "r-1", time.Now(), body)
		_, err = s.Read(r, []byte(body))
		require.NoError(t, err)
		time.Sleep(5*time.Minute + time.Second)
		_, err = s.Read(r, []byte(body))
		require.ErrorIs(t, err, notify.ErrForged, "a replay")
	})
}
