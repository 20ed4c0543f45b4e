package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// bus keeps what is published and fails on cue.
type bus struct {
	got []kafka.Message
	err error
}

func (b *bus) PublishAll(_ context.Context, ms []kafka.Message) []error {
	b.got = append(b.got, ms...)
	return slices.Repeat([]error{b.err}, len(ms))
}

// one dispatches n alone.
func one(t *testing.T, d *Dispatcher, n *notify.Notification) (*notify.Notification, error) {
	t.Helper()
	accepted, errs := d.Dispatch(t.Context(), time.Now(), []*notify.Notification{n})
	require.Len(t, accepted, 1)
	require.Len(t, errs, 1)
	return accepted[0], errs[0]
}

func dispatcherOn(b *bus) *Dispatcher {
	return New(Config{
		Topics: topics(), Publisher: b,
		Rules: validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}},
	})
}

func mail() *notify.Notification {
	return &notify.Notification{
		Channel: notify.ChannelEmail, Recipient: "Ada <Ada@Example.COM>",
		Payload: json.RawMessage(`{"subject":"Hi <you>","text":"Good morning"}`), Reference: "order 7",
	}
}

func TestDispatchPublishesTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := &bus{}, mail()
		got, err := one(t, dispatcherOn(b), n)
		require.NoError(t, err)
		require.Equal(t, mail(), n, "the caller's notification is left as it is")

		_, isID := notify.ParseID(got.ID)
		require.True(t, isID)
		require.Equal(t, byte('7'), got.ID[14], "UUIDv7")
		require.Equal(t, notify.DefaultTenant, got.Tenant)
		require.Equal(t, notify.LaneNormal, got.Lane)
		require.Equal(t, time.Now().Add(24*time.Hour).UTC(), *got.ExpiresAt)

		require.Len(t, b.got, 1)
		m := b.got[0]
		require.Equal(t, "acme.email_topic", m.Topic)
		require.Equal(t, kafka.Hashed, m.Partition)
		require.Equal(t, "Ada@example.com", string(m.Key))
		require.Equal(t, map[string]string{
			"ls-schema": "1", "ls-id": got.ID, "ls-lane": "normal", "ls-accepted-at": "2000-01-01T00:00:00Z",
		}, headers(t, m.Headers))
		onBus, warnings, faults := validate.Decode(m.Value, true)
		require.Empty(t, warnings)
		require.Empty(t, faults)
		require.Equal(t, got, onBus)
		require.Contains(t, string(m.Value), "<you>", "no HTML escaping")
	})
}

// Who repeats a notification under its id is known by what it was submitted as, whatever expiry it was given since.
func TestDispatch_AnOwnIDBringsTheFingerprintOfWhatWasSubmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{}
		d := dispatcherOn(b)
		submit := func(change func(n *notify.Notification)) string {
			n := mail()
			n.ID = "0190163D-8694-739b-aea5-966c26f8ad91"
			change(n)
			_, err := one(t, d, n)
			require.NoError(t, err)
			return headers(t, b.got[len(b.got)-1].Headers)["ls-fingerprint"]
		}
		first := submit(func(*notify.Notification) {})
		content, err := notify.ContentOf(mail())
		require.NoError(t, err)
		require.Equal(t, content.Exact.String(), first)
		time.Sleep(time.Hour)
		require.Equal(t, first, submit(func(n *notify.Notification) { n.Lane = notify.LaneNormal }))
		at := time.Now().Add(time.Hour)
		require.NotEqual(t, first, submit(func(n *notify.Notification) { n.ExpiresAt = &at }))
		require.NotEqual(t, first, submit(func(n *notify.Notification) { n.Reference = "order 8" }))
	})
}

func TestDispatchKeepsWhatTheCallerChose(t *testing.T) {
	b, n := &bus{}, mail()
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	n.ID, n.Tenant, n.OrderingKey, n.ExpiresAt = "018F4E9A-0000-7000-8000-00000000ABCD", "shop", "order-7", &later
	got, err := one(t, dispatcherOn(b), n)
	require.NoError(t, err)
	require.Equal(t, "018f4e9a-0000-7000-8000-00000000abcd", got.ID)
	require.Equal(t, "shop", got.Tenant)
	require.Equal(t, later, *got.ExpiresAt)
	require.Equal(t, "order-7", string(b.got[0].Key))
}

func TestDispatchNamesEveryFault(t *testing.T) {
	later, far := time.Now().Add(time.Hour), time.Now().Add(notify.MaxDelay+time.Hour)
	past, beyond := time.Now().Add(-time.Second), time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -8*3600))
	for name, c := range map[string]struct {
		spoil    func(*notify.Notification)
		pointers []string
	}{
		"recipient":  {func(n *notify.Notification) { n.Recipient = "nobody" }, []string{"#/recipient"}},
		"id":         {func(n *notify.Notification) { n.ID = "7" }, []string{"#/id"}},
		"past":       {func(n *notify.Notification) { n.ExpiresAt = &past }, []string{"#/expires_at"}},
		"year 10000": {func(n *notify.Notification) { n.ExpiresAt = &beyond }, []string{"#/expires_at"}},
		"two":        {func(n *notify.Notification) { n.ID, n.ExpiresAt = "7", &past }, []string{"#/id", "#/expires_at"}},
		"webhook":    {func(n *notify.Notification) { n.Channel = notify.ChannelWebhook }, []string{"#/channel"}},
		"lane":       {func(n *notify.Notification) { n.Lane = "express" }, []string{"#/lane"}},
		"schedule":   {func(n *notify.Notification) { n.SendAt = &far }, []string{"#/send_at"}},
		"no life":    {func(n *notify.Notification) { n.SendAt, n.ExpiresAt = &later, &later }, []string{"#/expires_at"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, n := &bus{}, mail()
			c.spoil(n)
			got, err := one(t, dispatcherOn(b), n)
			require.Nil(t, got)
			require.Empty(t, b.got)
			var faults notify.Faults
			require.ErrorAs(t, err, &faults)
			var pointers []string
			for _, f := range faults {
				pointers = append(pointers, f.Pointer)
			}
			require.Equal(t, c.pointers, pointers)
		})
	}
}

// Each lane has a topic and a lifetime of its own, counted from when the notification is to be sent.
func TestDispatchByLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{}
		d := dispatcherOn(b)
		d.cfg.ExpiresAfter = Lifetimes{notify.LaneBulk: time.Hour}
		later := time.Now().Add(48 * time.Hour)
		for i, c := range []struct {
			lane  notify.Lane
			topic string
			lives time.Duration
		}{
			{notify.LaneUrgent, "acme.email_topic.urgent", time.Hour},
			{notify.LaneNormal, "acme.email_topic", 24 * time.Hour},
			{notify.LaneBulk, "acme.email_topic.bulk", time.Hour},
		} {
			n := mail()
			n.Lane = c.lane
			got, err := one(t, d, n)
			require.NoError(t, err)
			require.Equal(t, c.topic, b.got[2*i].Topic)
			require.Equal(t, string(c.lane), headers(t, b.got[2*i].Headers)["ls-lane"])
			require.Equal(t, c.lives, time.Until(*got.ExpiresAt))

			n.SendAt = &later
			got, err = one(t, d, n)
			require.NoError(t, err)
			require.Equal(t, c.topic, b.got[2*i+1].Topic, "it is seen on its lane first")
			require.Equal(t, 48*time.Hour+c.lives, time.Until(*got.ExpiresAt))
		}
	})
	require.Equal(t, 72*time.Hour, Lifetimes(nil).Of(notify.LaneBulk))
}

func TestDispatchToAChannelThatIsOff(t *testing.T) {
	b := &bus{}
	// A fault that only a configured gateway could mend: it must not hide that there is none.
	_, err := one(t, dispatcherOn(b), &notify.Notification{
		Channel: notify.ChannelSMS, Recipient: "+14155550123", Payload: json.RawMessage(`{"body":"hi"}`),
	})
	require.ErrorIs(t, err, notify.ErrChannelNotConfigured)
	require.Empty(t, b.got)
}

func TestDispatchMeasuresTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the record holds times, and is as long as they are
		b, n := &bus{}, mail()
		d := dispatcherOn(b)
		_, err := one(t, d, n)
		require.NoError(t, err)

		fits := size(b.got[0]) + Headroom
		d.SetLimit(fits)
		_, err = one(t, d, n)
		require.NoError(t, err)

		d.SetLimit(fits - 1)
		_, err = one(t, d, n)
		require.ErrorIs(t, err, notify.ErrTooLarge)
		require.Len(t, b.got, 2)
	})
}

func TestDispatchErrorsOfTheBus(t *testing.T) {
	cause := errors.New("dial tcp: connection refused")
	b := &bus{err: cause}
	_, err := one(t, dispatcherOn(b), mail())
	require.ErrorIs(t, err, notify.ErrBusUnavailable)
	require.ErrorIs(t, err, cause)
	require.NotContains(t, strings.ToLower(err.Error()), "example.com", "no recipient in errors")

	b.err = kafka.ErrTooLarge
	_, err = one(t, dispatcherOn(b), mail())
	require.ErrorIs(t, err, notify.ErrTooLarge)
	require.NotErrorIs(t, err, notify.ErrBusUnavailable)
}

// Of several, each is accepted or refused by itself, and they keep their order.
func TestDispatchOfMany(t *testing.T) {
	b := &bus{}
	ns := []*notify.Notification{mail(), mail(), mail(), mail()}
	ns[0].Reference, ns[2].Reference, ns[3].Reference = "first", "second", "third"
	ns[1].Channel = notify.ChannelSMS
	got, errs := dispatcherOn(b).Dispatch(t.Context(), time.Now(), ns)
	require.ErrorIs(t, errs[1], notify.ErrChannelNotConfigured)
	require.Nil(t, got[1])
	require.Len(t, b.got, 3)
	for j, i := range []int{0, 2, 3} {
		require.NoError(t, errs[i])
		require.Equal(t, ns[i].Reference, got[i].Reference)
		require.Contains(t, string(b.got[j].Value), got[i].ID)
	}

	b.err = errors.New("frozen")
	ns[0].Lane = "express"
	got, errs = dispatcherOn(b).Dispatch(t.Context(), time.Now(), ns)
	var faults notify.Faults
	require.ErrorAs(t, errs[0], &faults)
	require.ErrorIs(t, errs[1], notify.ErrChannelNotConfigured)
	for i := range ns {
		require.Nil(t, got[i])
		require.Equal(t, i > 1, errors.Is(errs[i], notify.ErrBusUnavailable))
	}
}
