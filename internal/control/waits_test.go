package control

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestWaits_Mark(t *testing.T) {
	all := []int32{0, 1, 2, 3}
	mail := []RouteGateway{{Name: "mail"}}
	backed := []RouteGateway{{Name: "mail"}, {Name: "backup"}}
	devices := []RouteGateway{{Name: "apple", RecipientTypes: []string{"apns"}}, {Name: "google", RecipientTypes: []string{"fcm", "topic"}}}
	push := func(recipientType string) func(*notify.Life) {
		return func(l *notify.Life) { l.Channel, l.RecipientType = notify.ChannelPush, recipientType }
	}
	for name, c := range map[string]struct {
		route   []RouteGateway
		reports []func(now time.Time) Entry
		life    func(*notify.Life)
		waits   string // the gateway; empty: it does not wait
		code    string
		part    float64 // of the lane
		types   []string
	}{
		"nobody reports anything": {route: mail},
		"the one process":         {route: mail, reports: reports("mail", all), waits: "mail", part: 1},
		"retrying":                {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.State = notify.StateRetrying }, waits: "mail", part: 1},
		"scheduled":               {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.State = notify.StateScheduled }, part: 1},
		"sent":                    {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.State = notify.StateSent }, part: 1},
		"final":                   {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.Final = true }, part: 1},
		"held":                    {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.State = notify.StateHeld }, part: 1},
		"another lane":            {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.Lane = notify.LaneBulk }},
		"another channel":         {route: mail, reports: reports("mail", all), life: func(l *notify.Life) { l.Channel = notify.ChannelSMS }},
		"a gateway of no route":   {route: mail, reports: reports("old", all)},
		"a healthy backup":        {route: backed, reports: reports("mail", all)},
		"both refuse":             {route: backed, reports: append(reports("backup", all), reports("mail", all)...), waits: "mail", part: 1},
		"both, in two processes": {
			route: backed, reports: append(reports("backup", []int32{0, 1}, []int32{2, 3}), reports("mail", []int32{0, 1}, []int32{2, 3})...), waits: "mail", part: 1,
		},
		"one gateway in one process, the other in the other": {
			route: backed, reports: append(reports("mail", []int32{0, 1}), reports("backup", []int32{2, 3})...),
		},
		"the process of this partition": {route: mail, reports: reports("mail", []int32{0, 2}), waits: "mail", part: 0.5},
		"another process":               {route: mail, reports: reports("mail", []int32{0, 1}), part: 0.5},
		"a partition that is not known, and some wait": {
			route: mail, reports: reports("mail", []int32{0, 1, 2}), life: func(l *notify.Life) { l.Partition = nil }, part: 0.75,
		},
		"a partition that is not known, and all wait": {
			route: mail, reports: reports("mail", []int32{0, 1}, []int32{1, 2, 3}), life: func(l *notify.Life) { l.Partition = nil }, waits: "mail", part: 1,
		},
		"a process without partitions": {route: mail, reports: reports("mail", nil)},
		"paused by an operator":        {route: mail, reports: paused("mail"), waits: "mail", code: notify.CodePaused, part: 1},
		"one paused, one refuses":      {route: backed, reports: append(paused("mail"), reports("backup", all)...), waits: "backup", part: 1},
		"one paused, one healthy":      {route: backed, reports: paused("mail")},
		"one paused, one refuses elsewhere": {
			route: backed, reports: append(paused("mail"), reports("backup", []int32{0})...), part: 0.25,
		},
		"the gateway of this type of recipient": {route: devices, reports: reports("apple", all), life: push("apns"), waits: "apple", part: 1, types: []string{"apns"}},
		"the gateway of another type":           {route: devices, reports: reports("apple", all), life: push("fcm"), part: 1, types: []string{"apns"}},
		"a type that no gateway takes":          {route: devices, reports: reports("apple", all), life: push("webpush"), part: 1, types: []string{"apns"}},
		"both of push":                          {route: devices, reports: append(reports("apple", all), reports("google", all)...), life: push("topic"), waits: "google", part: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, now := New(), time.Now()
				for _, report := range c.reports {
					r := report(now).Record()
					s.Apply(r.Key, r.Value, now)
				}
				_, malformed := s.Skipped()
				require.Zero(t, malformed)
				partition := int32(2)
				l := notify.Life{Channel: notify.ChannelEmail, Lane: notify.LaneNormal, State: notify.StateQueued, Partition: &partition}
				if c.life != nil {
					c.life(&l)
				}
				w := Waits{s, map[notify.Channel][]RouteGateway{l.Channel: c.route}}
				lives := []notify.Life{l}
				w.Mark(lives)
				if c.waits == "" {
					require.Nil(t, lives[0].Waiting)
				} else {
					require.NotNil(t, lives[0].Waiting)
					require.Equal(t, c.waits, lives[0].Waiting.Gateway)
					require.Equal(t, orElse(c.code, "535"), lives[0].Waiting.Code)
				}
				lane := w.Lane(l.Channel, l.Lane)
				marked := []notify.ChannelStats{{Channel: l.Channel, Lanes: []notify.LaneDrain{{Lane: l.Lane}}}}
				w.MarkLanes(marked)
				require.Equal(t, lane, marked[0].Lanes[0].Waiting)
				if c.part == 0 {
					require.Nil(t, lane)
					return
				}
				require.InDelta(t, c.part, lane.Part, 1e-9)
				require.Equal(t, c.types, lane.RecipientTypes)
				if c.waits != "" && c.types == nil && c.route[0].RecipientTypes == nil {
					require.Equal(t, *lives[0].Waiting, lane.Waiting)
				}
				if c.reports != nil && c.code == "" {
					time.Sleep(ReportLasts)
					w.Mark(lives)
					for _, e := range s.List().Pauses { // an operator's pause has no end
						require.NotEmpty(t, e.Gateway)
						return
					}
					require.Nil(t, w.Lane(l.Channel, l.Lane), "its processes are gone")
					require.Empty(t, w.Gateways())
				}
			})
		})
	}
}

// Each gateway of the routes is listed once, with its longest refusal.
func TestWaits_Gateways(t *testing.T) {
	s, now := New(), time.Now().UTC()
	require.Equal(t, []notify.GatewayStatus{}, Waits{State: s}.Gateways())
	early := refusing("mail", "b", now, 1)
	early.State.Since, early.Code = now.Add(-time.Hour), "421"
	stop := PauseGateway("mail")
	stop.At = now
	for _, e := range []Entry{refusing("mail", "a", now, 0), early, refusing("mail", "c", now, 2), refusing("old", "a", now, 0), stop, PauseGateway("texts")} {
		r := e.Record()
		s.Apply(r.Key, r.Value, now)
	}
	route := []RouteGateway{{Name: "texts"}, {Name: "mail"}}
	w := Waits{s, map[notify.Channel][]RouteGateway{notify.ChannelEmail: route, notify.ChannelSMS: route}}
	require.Equal(t, []notify.GatewayStatus{
		{Waiting: notify.Waiting{Gateway: "mail", Code: "421", Reason: "mail refuses us", Since: now.Add(-time.Hour)}, Paused: true, Processes: 3},
		{Waiting: notify.Waiting{Gateway: "texts", Code: notify.CodePaused, Reason: "an operator has paused the gateway"}, Paused: true},
	}, w.Gateways())
}

func reports(gateway string, processes ...[]int32) (all []func(time.Time) Entry) {
	for i, partitions := range processes {
		all = append(all, func(now time.Time) Entry { return refusing(gateway, "host:"+string(rune('a'+i)), now, partitions...) })
	}
	return all
}

func paused(gateway string) []func(time.Time) Entry {
	return []func(time.Time) Entry{func(now time.Time) Entry {
		e := PauseGateway(gateway)
		e.At = now
		return e
	}}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
