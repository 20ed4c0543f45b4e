package producer

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeDrains knows the normal lane of e-mail.
type fakeDrains struct{ stats notify.Stats }

func (f *fakeDrains) Of(ch notify.Channel, lane notify.Lane) (d notify.Drain, ok bool) {
	if ch != notify.ChannelEmail || lane != notify.LaneNormal {
		return d, false
	}
	return aDrain(), true
}

func aDrain() notify.Drain {
	oldest, drain := 1.5, 40.0
	return notify.Drain{Backlog: 1000, Rate: 25, OldestSeconds: &oldest, DrainSeconds: &drain}
}

func (f *fakeDrains) Stats() notify.Stats { return f.stats }

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDrains{stats: notify.Stats{Stale: true}}
		s := newServer(t, Config{Drains: f})
		ask := func() string {
			answer, body := do(t, s, request(http.MethodGet, "/v1/stats", ""))
			require.Equal(t, http.StatusOK, answer.StatusCode, body)
			return body
		}
		require.JSONEq(t, `{"channels":null,"totals":{"backlog":null,"rate":null,"waiting":null},"gateways":[],"measured_at":null,"age_seconds":null}`, ask())
		f.stats = notify.Stats{
			At: time.Now(), Backlog: 1000, Rate: 25, Waiting: 7,
			Channels: []notify.ChannelStats{{
				Channel: notify.ChannelEmail, Waiting: []notify.TierWait{{Tier: "30s", Jobs: 7}},
				Lanes: []notify.LaneDrain{{Lane: notify.LaneNormal, Drain: aDrain()}, {Lane: notify.LaneBulk, Paused: true, Shedding: true}},
			}},
		}
		time.Sleep(2 * time.Second)
		require.JSONEq(t, `{"measured_at":"2000-01-01T00:00:00Z","age_seconds":2,"totals":{"backlog":1000,"rate":25,"waiting":7},"gateways":[],"channels":[
			{"channel":"email","waiting":[{"tier":"30s","jobs":7}],"lanes":[
				{"lane":"normal","paused":false,"shedding":false,"backlog":1000,"rate":25,"oldest_seconds":1.5,"drain_seconds":40},
				{"lane":"bulk","paused":true,"shedding":true,"backlog":0,"rate":0,"oldest_seconds":null,"drain_seconds":null}]}]}`, ask())
		f.stats.Stale = true
		time.Sleep(time.Minute)
		require.JSONEq(t, `{"channels":null,"totals":{"backlog":null,"rate":null,"waiting":null},"gateways":[],"measured_at":"2000-01-01T00:00:00Z","age_seconds":62}`, ask())
	})
}

// fakeWaits finds that e-mail waits.
type fakeWaits struct{}

func aWaiting() notify.Waiting {
	return notify.Waiting{Gateway: "mail", Code: "535", Reason: "authentication refused", Since: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (fakeWaits) Mark(lives []notify.Life) {
	for i := range lives {
		if w := aWaiting(); !lives[i].Final {
			lives[i].Waiting = &w
		}
	}
}

func (fakeWaits) MarkLanes(channels []notify.ChannelStats) {
	channels[0].Lanes[0].Waiting = &notify.LaneWaiting{Waiting: aWaiting(), Part: 0.5, RecipientTypes: []string{"apns"}}
}

func (fakeWaits) Gateways() []notify.GatewayStatus {
	return []notify.GatewayStatus{{Waiting: aWaiting(), Paused: true, Processes: 2}}
}

// A gateway that refuses calls is shown by the stats, and with what waits for it.
func TestWaiting(t *testing.T) {
	const wanted = `"waiting":{"gateway":"mail","code":"535","reason":"authentication refused","since":"2030-01-01T00:00:00Z"}`
	lives := &fakeLives{life: func(l *notify.Life) { l.State, l.Final = notify.StateQueued, false }}
	drains := &fakeDrains{stats: notify.Stats{At: time.Now(), Channels: []notify.ChannelStats{{
		Channel: notify.ChannelPush, Lanes: []notify.LaneDrain{{Lane: notify.LaneNormal}},
	}}}}
	s := newServer(t, Config{Lives: lives, Waits: fakeWaits{}, Drains: drains})
	_, body := do(t, s, request(http.MethodGet, toLook, ""))
	require.Contains(t, body, wanted)
	_, body = do(t, s, request(http.MethodGet, "/v1/stats", ""))
	require.Contains(t, body, `"gateways":[{"gateway":"mail","code":"535","reason":"authentication refused","since":"2030-01-01T00:00:00Z","paused":true,"processes":2}]`)
	require.Contains(t, body, strings.TrimSuffix(wanted, "}")+`,"part":0.5,"recipient_types":["apns"]}`)
	lives.life = nil
	_, body = do(t, s, request(http.MethodGet, toLook, ""))
	require.NotContains(t, body, "waiting")
}

// A 202 says how its lane empties, if that is known.
func TestA202SaysHowItsLaneEmpties(t *testing.T) {
	s := newServer(t, Config{Drains: &fakeDrains{}})
	_, body := do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	var got struct{ Drain json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.JSONEq(t, `{"backlog":1000,"rate":25,"oldest_seconds":1.5,"drain_seconds":40}`, string(got.Drain))
	_, body = do(t, s, request(http.MethodPost, "/v1/notifications", `{"lane":"bulk",`+sound[1:]))
	require.NotContains(t, body, "drain")
}

// Shed notifications are refused one by one, with when to come again, and leave their idempotency keys free.
func TestShedding(t *testing.T) {
	shed := &fakeBus{err: &notify.Shedding{RetryAfter: 40 * time.Second}}
	keys := &fakeKeys{}
	s := newServer(t, Config{Dispatcher: shed, Idempotency: keys})
	got := post(t, s, `{"lane":"bulk",`+keyless[1:], keyedItem("k", `"lane":"bulk",`))
	for _, r := range got {
		require.Equal(t, http.StatusTooManyRequests, r.Status)
		require.Equal(t, codeShedding, r.Problem.Code)
		require.True(t, strings.HasPrefix(r.Problem.Detail, "repeat it after 40 s: lane bulk of channel email"), r.Problem.Detail)
	}
	shed.err = nil
	require.Equal(t, http.StatusAccepted, post(t, s, keyedItem("k", ``))[0].Status, "the key is free for whatever comes")
}
