package http

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	key   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	about = "0190163d-8694-739b-aea5-966c26f8ad91"
)

// signed returns a request with a signature of the Standard Webhooks scheme.
func signed(secret, id string, at time.Time, body string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", apitest.WebhookSignature(secret, id, at, body))
	return r
}

func receipts(t *testing.T) *Receipts {
	s, err := NewReceipts("own", config.HTTPReceipts{Secret: key})
	require.NoError(t, err)
	return s
}

func TestReceipts_Reports(t *testing.T) {
	s := receipts(t)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for body, want := range map[string]notify.Report{
		`{"notification_id":"` + strings.ToUpper(about) + `","state":"delivered"}`: {NotificationID: about, Run: notify.AnyRun, State: notify.StateDelivered},
		`{"provider_id":"p-1","state":"bounced","code":"5.1.1","reason":"no such user","at":"2030-01-02T03:04:05Z"}`: {
			ProviderID: "p-1", Run: notify.AnyRun, State: notify.StateBounced, Code: "5.1.1", Reason: "no such user", At: at,
		},
		`{"provider_id":"p-1","state":"bounced","reason":"opted_out","sender":"ACME"}`: {
			ProviderID: "p-1", Run: notify.AnyRun, State: notify.StateBounced, Reason: notify.ReasonOptedOut, Gone: true, Sender: "ACME",
		},
	} {
		said, err := s.Read(signed(key, "r-1", time.Now(), body), []byte(body))
		require.NoError(t, err)
		require.Equal(t, want, said)
	}
}

func TestReceipts_UnsignedIsForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := receipts(t)
		const body, other = `{"provider_id":"p-1","state":"delivered"}`, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"
		forged := func(r *http.Request, body string) {
			t.Helper()
			_, err := s.Read(r, []byte(body))
			require.ErrorIs(t, err, notify.ErrForged)
		}
		forged(&http.Request{Header: http.Header{}}, body)
		forged(signed(other, "r-1", time.Now(), body), body)
		forged(signed(key, "r-1", time.Now(), body), strings.Replace(body, "p-1", "p-2", 1))
		forged(signed(key, "r-1", time.Now().Add(-5*time.Minute-2*time.Second), body), body)
		forged(signed(key, "r-1", time.Now().Add(5*time.Minute+2*time.Second), body), body)
		for name, value := range map[string]string{"Webhook-Id": "r-2", "Webhook-Timestamp": "soon", "Webhook-Signature": "v1,"} {
			r := signed(key, "r-1", time.Now(), body)
			r.Header.Set(name, value)
			forged(r, body)
		}
		replayed := signed(key, "r-1", time.Now(), body)
		_, err := s.Read(replayed, []byte(body))
		require.NoError(t, err)
		time.Sleep(5*time.Minute + 2*time.Second)
		forged(replayed, body)
	})
}

func TestReceipts_SignedAndUnreadable(t *testing.T) {
	s := receipts(t)
	for body, pointer := range map[string]string{
		`hunter2`:                            "#",
		`{} hunter2`:                         "#",
		`{"hunter2":1}`:                      "#",
		`{"state":7}`:                        "#",
		`{"at":"hunter2"}`:                   "#",
		`{"state":"delivered"}`:              "#/notification_id",
		`{"provider_id":"hunter2"}`:          "#/state",
		`{"provider_id":"p","state":"sent"}`: "#/state",
		`{"notification_id":"hunter2","state":"delivered"}`:                                 "#/notification_id",
		`{"provider_id":"` + strings.Repeat("p", 256) + `"}`:                                "#/provider_id",
		`{"provider_id":"p","state":"bounced","sender":"` + strings.Repeat("1", 256) + `"}`: "#/sender",
	} {
		var faults notify.Faults
		_, err := s.Read(signed(key, "r-1", time.Now(), body), []byte(body))
		require.ErrorAs(t, err, &faults, body)
		require.Equal(t, pointer, faults[0].Pointer, body)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestReceipts_NeedSecret(t *testing.T) {
	for _, secret := range []config.Secret{"", "hunter2!"} {
		_, err := NewReceipts("own", config.HTTPReceipts{Secret: secret})
		require.ErrorContains(t, err, "gateways.own.receipts.secret")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestReceipts_AwaitedOnlyWithSecret(t *testing.T) {
	for secret, awaited := range map[config.Secret]bool{"": false, key: true} {
		f := apitest.New(t, false)
		cfg := section(f)
		cfg.Receipts.Secret = secret
		s := sender(t, f, cfg)
		defer s.Close()
		receipt, err := s.Send(t.Context(), gatewaytest.SMS(1))
		require.NoError(t, err)
		require.Equal(t, awaited, receipt.Awaited)
	}
}
