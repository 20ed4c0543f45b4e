package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// moody is a Twilio that refuses our account for as long as it is told to.
type moody struct {
	*httptest.Server
	refuses atomic.Bool
}

func newMoody(t *testing.T) *moody {
	m := &moody{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if m.refuses.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"code":20003,"message":"Authenticate: ` + r.Header.Get("Authorization") + ` to ` + r.PostFormValue("To") + `","status":401}`))
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid":"SM00000000000000000000000000000001","status":"queued"}`))
	}))
	t.Cleanup(m.Close)
	return m
}

type waitingStats struct {
	Channels []notify.ChannelStats  `json:"channels"`
	Gateways []notify.GatewayStatus `json:"gateways"`
}

// waiting is what the API says of one notification.
func (p *program) waiting(id string) *notify.Waiting {
	var life notify.Life
	if p.get("/v1/notifications/"+id, &life) != http.StatusOK {
		return nil
	}
	return life.Waiting
}

func (p *program) stats() (s waitingStats) {
	p.t.Helper()
	require.Equal(p.t, http.StatusOK, p.get("/v1/stats", &s))
	return s
}

// reports are the records about gateways on the control topic.
func (b *bus) reports() (all []*kafka.Record) {
	b.t.Helper()
	for _, r := range b.all("control_topic") {
		if strings.HasPrefix(string(r.Key), "gateway:") {
			all = append(all, r)
		}
	}
	return all
}

// While a gateway refuses our calls, everybody who asks sees which one, why and since when; and no longer once it serves us, its
// workers have ended, or were killed.
func TestWaiting_IsShownWhileAGatewayRefuses(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		m := newMoody(t)
		m.refuses.Store(true)
		settings := yaml(b, map[string]string{"texts": texts(m.URL)}, map[string]string{"sms": "gateways: [texts]"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel sms", settings)
		file := write(t, settings)
		require.Empty(t, api.stats().Gateways)
		began := time.Now().Add(-time.Second)

		var ids []string
		for i := range 30 {
			ids = append(ids, api.post(smsTo(fmt.Sprintf("+1415555%04d", i), "hello")))
		}
		becomes(t, func() bool { return api.waiting(ids[0]) != nil }, "the notification says that it waits")
		w := api.waiting(ids[0])
		require.Equal(t, "texts", w.Gateway)
		require.Equal(t, "20003", w.Code)
		require.NotEmpty(t, w.Reason)
		require.True(t, w.Since.After(began) && w.Since.Before(time.Now().Add(time.Second)))
		for _, id := range ids {
			becomes(t, func() bool { return api.waiting(id) != nil }, "each says so")
		}
		var page struct{ Data []notify.Life }
		api.get("/v1/notifications?limit=200&state=queued", &page)
		require.Len(t, page.Data, len(ids))
		for _, l := range page.Data {
			require.Equal(t, w, l.Waiting)
		}
		require.Equal(t, []notify.GatewayStatus{{Waiting: *w, Processes: 1}}, api.stats().Gateways)
		becomes(t, func() bool { return api.sum("laudspeaker_lane_without_gateway", `channel="sms"`) == 3 }, "all partitions of three lanes")
		var s waitingStats
		becomes(t, func() bool { s = api.stats(); return len(s.Channels) > 0 }, "measured")
		for _, l := range s.Channels[0].Lanes {
			require.Equal(t, &notify.LaneWaiting{Waiting: *w, Part: 1}, l.Waiting, l.Lane)
		}

		code, out, errs := run(t, "status", ids[0], "--server", api.API)
		require.Zero(t, code, errs)
		require.Regexp(t, `(?m)^  waiting     for texts since .*, 20003`, out)
		_, out, _ = run(t, "status", "--limit", "1", "--server", api.API)
		require.Regexp(t, `  queued  .*  waiting for texts since .*, 20003`, out)
		code, out, errs = run(t, "gateways", "status", "--config", file)
		require.Zero(t, code, errs)
		require.Regexp(t, `^texts  .*  20003.*  by \S+:\d+, which works on sms/bulk \S+ of \d+, sms \S+ of \d+, sms/urgent \S+ of \d+\n$`, out)
		_, out, _ = run(t, "gateways", "status", "--json", "--config", file)
		require.Equal(t, "texts", strings.Split(jsonLine(t, out)["id"].(string), "/")[0])

		for _, r := range b.reports() {
			for _, secret := range []string{"Basic ", "+1415555"} {
				require.NotContains(t, string(r.Value), secret)
			}
		}
		require.LessOrEqual(t, len(b.reports()), 1+int(time.Since(began)/reportGap), "a few records, however many wait")
		for _, id := range ids {
			require.Empty(t, b.events(id), "and no event about any of them")
		}

		m.refuses.Store(false)
		for _, id := range ids {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
		}
		becomes(t, func() bool { return len(api.stats().Gateways) == 0 }, "it serves us again")
		require.Nil(t, api.waiting(ids[0]))
		require.Zero(t, api.sum("laudspeaker_lane_without_gateway"))

		m.refuses.Store(true)
		last := api.post(smsTo("+14155559999", "hello"))
		becomes(t, func() bool { return api.waiting(last) != nil }, "it refuses us again")
		require.Zero(t, worker.stop())
		becomes(t, func() bool { return api.waiting(last) == nil }, "a worker that ends takes its reports back")
		_, out, _ = run(t, "gateways", "status", "--config", file)
		require.Equal(t, "No gateway is paused, and no worker reports a gateway that it cannot call.\n", out)

		var held []int32
		for i := range int32(100) {
			held = append(held, i)
		}
		killed := control.ReportGateway("texts", "gone:9100", time.Now(), control.GatewayState{
			Circuit: "open", Since: began, Lanes: []control.LanePartitions{{Channel: notify.ChannelSMS, Lane: notify.LaneNormal, Partitions: control.NewPartitions(held), Of: 100}},
		})
		killed.ExpiresAt = time.Now().Add(5 * time.Second)
		b.publish(onControl(b.prefix+"control_topic", killed.Record()))
		becomes(t, func() bool { return api.waiting(last) != nil }, "what a worker that was killed has reported")
		becomes(t, func() bool { return api.waiting(last) == nil }, "ends by itself")

		m.refuses.Store(false)
		boot(t, "work --channel sms", settings)
		require.Equal(t, notify.StateSent, b.outcome(last).State)
	})
}

// With a healthy backup nothing waits; the gateway that refuses is shown all the same.
func TestWaiting_NotWithAHealthyBackup(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		m, backup := newMoody(t), newMoody(t)
		m.refuses.Store(true)
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts(m.URL), "backup": texts(backup.URL)}, map[string]string{"sms": "gateways: [texts, backup]"}))
		id := p.post(smsTo("+14155550100", "hello"))
		require.Equal(t, notify.StateSent, b.outcome(id).State)
		becomes(t, func() bool { return len(p.stats().Gateways) == 1 }, "the one that refuses")
		s := p.stats()
		require.Equal(t, "texts", s.Gateways[0].Gateway)
		becomes(t, func() bool { s = p.stats(); return len(s.Channels) > 0 }, "measured")
		for _, l := range s.Channels[0].Lanes {
			require.Nil(t, l.Waiting)
		}
		backup.refuses.Store(true)
		waits := p.post(smsTo("+14155550101", "hello"))
		becomes(t, func() bool { return p.waiting(waits) != nil }, "both refuse")
		require.Equal(t, "texts", p.waiting(waits).Gateway, "the first of the route")
		backup.refuses.Store(false)
		require.Equal(t, notify.StateSent, b.outcome(waits).State)
		becomes(t, func() bool { return p.waiting(waits) == nil }, "sent")
	})
}

// Whatever is written to the control topic under this kind, the API and the workers go on.
func TestWaiting_HostileReports(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "all", yaml(b, map[string]string{"texts": "type: sim"}, map[string]string{"sms": "gateways: [texts]"}))
		say := func(key, value string) {
			b.publish(kafka.Message{Topic: b.prefix + "control_topic", Key: []byte(key), Value: []byte(value)})
		}
		say("gateway:", "{}")
		say("gateway:texts/host", `{"kind":"gateway","id":"texts/host"`)
		say("gateway:texts/host", `{"kind":"gateway","id":"texts/host","circuit":"open","since":"`+strings.Repeat("9", 200_000)+`"}`)
		say("gateway:texts/host", `{"kind":"gateway","id":"texts/host","circuit":"open","since":"2026-01-01T00:00:00Z","lanes":[{"channel":"sms","lane":"normal","partitions":"0-2147483646","of":2147483647}]}`)
		say("gateway:texts/"+strings.Repeat("x", 5000), `{}`)
		for i := range 300 {
			say(fmt.Sprintf("gateway:other%d/nobody", i), fmt.Sprintf(`{"kind":"gateway","id":"other%d/nobody","circuit":"open","since":"2026-01-01T00:00:00Z","expires_at":"2999-01-01T00:00:00Z","lanes":[]}`, i))
		}
		say("pause:sms/bulk", `{"kind":"pause","id":"sms/bulk","at":"2026-01-01T00:00:00Z"}`)
		becomes(t, func() bool {
			s := p.stats()
			return len(s.Channels) > 0 && s.Channels[0].Lanes[2].Paused
		}, "all of it was read")
		require.Empty(t, p.stats().Gateways)
		id := p.post(smsTo("+14155550100", "hello"))
		require.Nil(t, p.waiting(id))
		require.Equal(t, notify.StateSent, b.outcome(id).State)
	})
}

func jsonLine(t *testing.T, line string) (object map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(line), &object))
	return object
}
