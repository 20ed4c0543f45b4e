package control

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var (
	noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	ids  = []string{"0190163d-8694-739b-aea5-966c26f8ad91", "0190163d-8694-739b-aea5-966c26f8ad92", "ffffffff-ffff-8fff-bfff-ffffffffffff"}
)

// The records on the topic are a contract. These are the expected bytes.
func TestRecord_IsAContract(t *testing.T) {
	for key, c := range map[string]struct {
		entry Entry
		value string
	}{
		"pause:email":        {Pause(notify.ChannelEmail, ""), `{"kind":"pause","id":"email","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada"}`},
		"pause:email/bulk":   {Pause(notify.ChannelEmail, notify.LaneBulk), `{"kind":"pause","id":"email/bulk","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada"}`},
		"pause:gateway/mail": {PauseGateway("mail"), `{"kind":"pause","id":"gateway/mail","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada"}`},
		"cancel:" + ids[0]: {
			Cancel(ids[0], noon),
			`{"kind":"cancel","id":"` + ids[0] + `","at":"2030-01-02T12:00:00Z","expires_at":"2030-02-02T12:00:00Z","note":"provider down","by":"ada"}`,
		},
		"settled:" + ids[0] + "/2": {
			Settle(ids[0], 2, noon),
			`{"kind":"settled","id":"` + ids[0] + `/2","at":"2030-01-02T12:00:00Z","expires_at":"2030-02-02T12:00:00Z","note":"provider down","by":"ada"}`,
		},
		"receipt:texts/" + ids[1]: {
			Receipt("texts", ids[1], notify.Report{
				NotificationID: ids[0], ProviderID: "SM1", Run: 2, State: notify.StateBounced, Code: "21610", Reason: notify.ReasonOptedOut, Gone: true, At: noon,
				Sender: "+15005550006",
			}, noon),
			`{"kind":"receipt","id":"texts/` + ids[1] + `","at":"2030-01-02T12:00:00Z","expires_at":"2030-01-02T13:00:00Z","note":"provider down","by":"ada",` +
				`"receipt":{"notification_id":"` + ids[0] + `","provider_id":"SM1","run":2,"state":"bounced","code":"21610","reason":"opted_out","gone":true,"at":"2030-01-02T12:00:00Z","sender":"+15005550006"}}`,
		},
		"receipt:a/b/" + ids[1]: {
			Receipt("a/b", ids[1], notify.Report{ProviderID: "p", Run: notify.AnyRun, State: notify.StateDelivered}, noon),
			`{"kind":"receipt","id":"a/b/` + ids[1] + `","at":"2030-01-02T12:00:00Z","expires_at":"2030-01-02T13:00:00Z","note":"provider down","by":"ada",` +
				`"receipt":{"provider_id":"p","run":-1,"state":"delivered"}}`,
		},
		"suppress:default/sms/+15550123456": {
			Entry{Kind: KindSuppress, Tenant: "default", Channel: notify.ChannelSMS, Address: "+15550123456", Gateway: "texts", Code: "21610", Reason: notify.ReasonOptedOut},
			`{"kind":"suppress","id":"default/sms/+15550123456","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada","gateway":"texts","code":"21610","reason":"opted_out"}`,
		},
		"suppress:default/email/a/b@example.com": {
			Suppress("default", notify.ChannelEmail, "a/b@example.com"),
			`{"kind":"suppress","id":"default/email/a/b@example.com","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada"}`,
		},
		"suppression:default/email/recipient_gone/*/a/b@example.com": {
			Entry{Kind: KindSuppression, Tenant: "default", Channel: notify.ChannelEmail, Address: "a/b@example.com", Gateway: "mail", Code: "550 5.1.1", Reason: notify.ReasonRecipientGone},
			`{"kind":"suppression","id":"default/email/recipient_gone/*/a/b@example.com","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada","gateway":"mail","code":"550 5.1.1","reason":"recipient_gone"}`,
		},
		"suppression:acme/sms/opted_out/sender:+15005550006/+15550123456": {
			OptOut("acme", "+15005550006", "+15550123456"),
			`{"kind":"suppression","id":"acme/sms/opted_out/sender:+15005550006/+15550123456","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada","reason":"opted_out","sender":"+15005550006"}`,
		},
		"suppression:acme/sms/opted_out/sender:A%20%2F%20%25/+15550123456": {
			OptOut("acme", "A / %", "+15550123456"),
			`{"kind":"suppression","id":"acme/sms/opted_out/sender:A%20%2F%20%25/+15550123456","at":"2030-01-02T12:00:00Z","note":"provider down","by":"ada","reason":"opted_out","sender":"A / %"}`,
		},
	} {
		require.Zero(t, c.entry.Key)
		c.entry.At = noon
		c.entry.Note = "provider down"
		c.entry.By = "ada"
		r := c.entry.Record()
		require.Equal(t, key, string(r.Key))
		require.Equal(t, c.value, string(r.Value))
		back, set, err := Decode(r.Key, r.Value, noon)
		require.NoError(t, err)
		require.True(t, set)
		require.Equal(t, c.entry, back)

		gone := c.entry.Tombstone()
		require.Equal(t, key, string(gone.Key))
		require.Nil(t, gone.Value)
		back, set, err = Decode(gone.Key, gone.Value, noon)
		require.NoError(t, err)
		require.False(t, set)
		require.Equal(t, c.entry.Name(), back.Name())
	}
}

func TestDecode_LimitsLifetimeOfCancellation(t *testing.T) {
	e := Cancel(ids[0], noon)
	e.ExpiresAt = noon.Add(1000 * time.Hour)
	r := e.Record()
	back, _, err := Decode(r.Key, r.Value, noon)
	require.NoError(t, err)
	require.Equal(t, noon.Add(MaxLifetime), back.ExpiresAt)
	require.Contains(t, string(r.Value), `"expires_at":"2030-02-02T12:00:00Z"`, "cut by the writer")
	back, _, err = Decode(r.Key, r.Value, noon.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, noon.Add(MaxLifetime-time.Hour), back.ExpiresAt, "cut by the reader")
	back, _, err = Decode(r.Key, []byte(`{"kind":"cancel","id":"`+ids[0]+`"}`), noon)
	require.NoError(t, err)
	require.Equal(t, noon.Add(MaxLifetime), back.ExpiresAt, "a writer that gives none")
}

// faulty are records that cannot be decoded.
var faulty = []struct {
	key, value string
	err        error
}{
	{"", "", ErrUnknownKind},
	{"email", `{}`, ErrUnknownKind},
	{"template:welcome", `{"kind":"template","id":"welcome"}`, ErrUnknownKind},
	{"Pause:email", `{"kind":"pause","id":"email"}`, ErrUnknownKind},
	{"pause:", `{"kind":"pause","id":""}`, ErrMalformed},
	{"pause:fax", `{"kind":"pause","id":"fax"}`, ErrMalformed},
	{"pause:email/", `{"kind":"pause","id":"email/"}`, ErrMalformed},
	{"pause:email/slow", `{"kind":"pause","id":"email/slow"}`, ErrMalformed},
	{"pause:gateway/", `{"kind":"pause","id":"gateway/"}`, ErrMalformed},
	{"pause:email", ``, ErrMalformed},
	{"pause:email", `null`, ErrMalformed},
	{"pause:email", `[]`, ErrMalformed},
	{"pause:email", `{"kind":"pause","id":"email","at":"yesterday"}`, ErrMalformed},
	{"pause:email", `{"kind":"pause","id":"sms"}`, ErrMalformed},
	{"pause:email", `{"kind":"cancel","id":"email"}`, ErrMalformed},
	{"cancel:1", `{"kind":"cancel","id":"1"}`, ErrMalformed},
	{"cancel:" + strings.ToUpper(ids[0]), `{"kind":"cancel","id":"` + strings.ToUpper(ids[0]) + `"}`, ErrMalformed},
	{"receipt:" + ids[0], `{"kind":"receipt","id":"` + ids[0] + `"}`, ErrMalformed},
	{"receipt:/" + ids[0], `{"kind":"receipt","id":"/` + ids[0] + `"}`, ErrMalformed},
	{"receipt:texts/1", `{"kind":"receipt","id":"texts/1"}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `"}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `","receipt":{"state":"delivered"}}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `","receipt":{"provider_id":"eve@test.example","state":"sent"}}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `","receipt":{"notification_id":"eve@test.example","state":"bounced"}}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `","receipt":{"provider_id":"` + strings.Repeat("p", 256) + `","state":"bounced"}}`, ErrMalformed},
	{"receipt:texts/" + ids[0], `{"kind":"receipt","id":"texts/` + ids[0] + `","receipt":{"provider_id":"p","run":-2,"state":"bounced"}}`, ErrMalformed},
	{"suppress:default/email", `{"kind":"suppress","id":"default/email"}`, ErrMalformed},
	{"suppress:default/email/", `{"kind":"suppress","id":"default/email/"}`, ErrMalformed},
	{"suppress:/email/eve@test.example", `{"kind":"suppress","id":"/email/eve@test.example"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/+1500", `{"kind":"suppression","id":"default/sms/opted_out/+1500"}`, ErrMalformed},
	{"suppression:default/sms/Opted/*/+1500", `{"kind":"suppression","id":"default/sms/Opted/*/+1500"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/all/+1500", `{"kind":"suppression","id":"default/sms/opted_out/all/+1500"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/sender:/+1500", `{"kind":"suppression","id":"default/sms/opted_out/sender:/+1500"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/sender:%zz/+1500", `{"kind":"suppression","id":"default/sms/opted_out/sender:%zz/+1500"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/sender:%2B1/+1500", `{"kind":"suppression","id":"default/sms/opted_out/sender:%2B1/+1500"}`, ErrMalformed},
	{"suppression:default/sms/opted_out/*/", `{"kind":"suppression","id":"default/sms/opted_out/*/"}`, ErrMalformed},
	{"suppress:default/fax/eve@test.example", `{"kind":"suppress","id":"default/fax/eve@test.example"}`, ErrMalformed},
}

func TestDecode_ErrorsDoNotRepeatTheRecord(t *testing.T) {
	for _, f := range faulty {
		_, set, err := Decode([]byte(f.key), []byte(f.value), noon)
		require.ErrorIs(t, err, f.err, f.key+" "+f.value)
		require.False(t, set)
		require.NotContains(t, err.Error(), "eve@")
	}
	_, _, err := Decode(nil, nil, noon)
	require.ErrorIs(t, err, ErrUnknownKind)
}

func TestFingerprintKey_IsSharedAndShownNowhere(t *testing.T) {
	one, two := FingerprintKey(noon), FingerprintKey(noon)
	require.NotEqual(t, one.Key, two.Key)
	r := one.Record()
	require.Equal(t, "fingerprint-key:ledger", string(r.Key))
	back, set, err := Decode(r.Key, r.Value, noon)
	require.NoError(t, err)
	require.True(t, set)
	require.Equal(t, one, back)

	s := New()
	_, ok := s.FingerprintKey()
	require.False(t, ok)
	for _, e := range []Entry{one, two} {
		r := e.Record()
		s.Apply(r.Key, r.Value, noon)
		key, ok := s.FingerprintKey()
		require.True(t, ok)
		require.Equal(t, e.Key, key, "the last one counts")
	}
	for _, bad := range []string{`"key":""`, `"key":"00"`, `"key":"zz` + strings.Repeat("0", 30) + `"`, `"key":"` + strings.Repeat("0", 34) + `"`, `"key":7`, `"x":1`} {
		s.Apply(r.Key, []byte(`{"kind":"fingerprint-key","id":"ledger","at":"2030-01-02T12:00:00Z",`+bad+`}`), noon)
		key, _ := s.FingerprintKey()
		require.Equal(t, two.Key, key, bad)
	}
	_, malformed := s.Skipped()
	require.EqualValues(t, 6, malformed)
	require.Empty(t, s.List().Pauses)
	gone := one.Tombstone()
	s.Apply(gone.Key, gone.Value, noon)
	_, ok = s.FingerprintKey()
	require.False(t, ok)
}
