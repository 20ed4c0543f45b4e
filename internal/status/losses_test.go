package status

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var (
	oldLog  = Log{jobs, kafka.TopicID{1}}
	anewLog = Log{jobs, kafka.TopicID{2}}
)

// shelf is Kafka as the reconciler looks at it: one partition of each topic.
type shelf struct {
	ids     map[string]kafka.TopicID
	bounds  map[string]kafka.Bounds
	done    map[string]int64            // the watermark of the topic's group
	records map[string]map[int64]string // the notification of each record
}

func (k *shelf) TopicIDs([]string) (map[string]kafka.TopicID, error) { return k.ids, nil }

func (k *shelf) Bounds(topic string) ([]kafka.Bounds, error) {
	return []kafka.Bounds{k.bounds[topic]}, nil
}

func (k *shelf) Positions(_, topic string) (map[int32]*kafka.Position, error) {
	return map[int32]*kafka.Position{0: kafka.ReadPosition(k.done[topic], "")}, nil
}

func (k *shelf) Scan(_ context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error {
	if id, there := k.records[topic][bounds[0].Oldest]; there {
		return visit(&kafka.Record{Topic: topic, Offset: bounds[0].Oldest, Value: []byte(id)})
	}
	return nil
}

func (k *shelf) Close() {}

// shelved has a log with offsets 100 to 199, whose group has come to 120.
func shelved() *shelf {
	return &shelf{
		ids:     map[string]kafka.TopicID{jobs: oldLog.ID},
		bounds:  map[string]kafka.Bounds{jobs: {Oldest: 100, Newest: 200}},
		done:    map[string]int64{jobs: 120},
		records: map[string]map[int64]string{jobs: {}},
	}
}

// looks lets a reconciler look at k for some minutes, and gives its log.
func looks(t *testing.T, s *late, k *shelf, minutes int) (*Reconciler, *observer.ObservedLogs) {
	core, logs := observer.New(zap.ErrorLevel)
	r := reconcile(t, s, minutes, func(c *ReconcilerConfig) {
		c.Topics = func() (Topics, error) { return k, nil }
		c.Groups = map[string]string{jobs: "workers"}
		c.Same = func(r *kafka.Record, id string) bool { return string(r.Value) == id }
		c.Log = zap.New(core)
	})
	return r, logs
}

// one is a notification in a state that expires in an hour, or has long expired.
func one(state notify.State, expired bool, at RecordPlace) *late {
	expires := time.Now().Add(time.Hour)
	if expired {
		expires = time.Now().Add(-time.Hour)
	}
	s := waits(1, state, expires)
	at.Run = 1 // as those of waits
	s.lives[0].Step = 0
	s.records = map[string]RecordPlace{s.lives[0].ID: at}
	return s
}

func TestReconciler_WhatIsLostAndWhatIsUnknown(t *testing.T) {
	gap := func(from, to int64, done ...byte) func(*late, *shelf) {
		return func(s *late, _ *shelf) { s.gaps = []Gap{{Log: oldLog, From: from, To: to, Done: done, At: time.Now()}} }
	}
	recreated := func(_ *late, k *shelf) { k.ids[jobs] = anewLog.ID }
	at := func(offset int64) RecordPlace { return RecordPlace{Log: oldLog, Offset: offset} }
	for name, c := range map[string]struct {
		state   notify.State
		expired bool
		record  RecordPlace
		change  func(*late, *shelf)
		want    string // the state or note that is told
	}{
		"in a gap":              {notify.StateQueued, false, at(70), gap(60, 100), "lost"},
		"in a gap, and expired": {notify.StateQueued, true, at(70), gap(60, 100), "lost"},
		"below a gap":           {notify.StateQueued, false, at(59), gap(60, 100), ""},
		"delivered, and the outcome is not recorded":   {notify.StateQueued, true, at(62), gap(60, 100, 0b100), "unknown"},
		"done, and nothing says what became of it":     {notify.StateQueued, true, at(110), nil, "unknown"},
		"the same, before it expires":                  {notify.StateQueued, false, at(110), nil, ""},
		"deleted, and no gap was published":            {notify.StateQueued, true, at(70), func(_ *late, k *shelf) { k.done[jobs] = -1 }, "unknown"},
		"on its lane":                                  {notify.StateQueued, true, at(150), nil, "stuck"},
		"on its lane, whose offsets were given again":  {notify.StateQueued, false, at(150), func(s *late, k *shelf) { gap(140, 200)(s, k); k.records[jobs][150] = s.lives[0].ID }, ""},
		"truncated, and another record has its offset": {notify.StateQueued, false, at(150), func(s *late, k *shelf) { gap(140, 200)(s, k); k.records[jobs][150] = "other" }, "lost"},
		"truncated, and nothing came after it":         {notify.StateQueued, false, at(250), gap(200, 300), "lost"},
		"its topic was created again":                  {notify.StateQueued, false, at(150), recreated, "lost"},
		"its topic was deleted":                        {notify.StateQueued, false, at(150), func(_ *late, k *shelf) { delete(k.ids, jobs) }, "lost"},
		"in the topic that was created again":          {notify.StateQueued, true, RecordPlace{Log: anewLog, Offset: 150}, recreated, "stuck"},
		"created again, and not read again yet": {notify.StateQueued, false, at(150), func(s *late, k *shelf) {
			recreated(s, k)
			s.positions = []Position{{Topic: jobs, Next: 160, TopicID: anewLog.ID}, {Topic: jobs, Partition: 1, Next: 160, TopicID: oldLog.ID}}
		}, ""},
		"created again, and read again": {notify.StateQueued, false, at(150), func(s *late, k *shelf) {
			recreated(s, k)
			s.positions = []Position{{Topic: jobs, Next: 160, TopicID: anewLog.ID}}
		}, "lost"},
		"a broker without topic ids":                 {notify.StateQueued, true, at(150), func(_ *late, k *shelf) { k.ids[jobs] = kafka.TopicID{} }, "stuck"},
		"a topic that is not configured any more":    {notify.StateQueued, true, RecordPlace{Log: Log{Topic: "fax_topic"}}, nil, "stuck"},
		"no record is known, as of older versions":   {notify.StateQueued, true, RecordPlace{}, gap(0, 100), "stuck"},
		"put off, and back on its lane":              {notify.StateRetrying, false, RecordPlace{Log: oldLog, Offset: 70, Step: 1}, gap(60, 100), "lost"},
		"put off, and only the step before is known": {notify.StateRetrying, true, at(70), gap(60, 100), "stuck"},
		"held for 31 days":                           {notify.StateHeld, true, at(70), func(s *late, k *shelf) { gap(60, 100)(s, k); recreated(s, k) }, ""},
		"sent":                                       {notify.StateSent, true, at(70), gap(60, 100), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := one(c.state, c.expired, c.record), shelved()
				if c.state == notify.StateHeld {
					time.Sleep(31 * 24 * time.Hour)
				}
				if c.change != nil {
					c.change(s, k)
				}
				r, logs := looks(t, s, k, 20)
				got := ""
				for _, e := range s.told {
					require.Empty(t, got, "it is told once")
					if got = e.Note; got == "" {
						got = string(e.State)
					}
				}
				require.Equal(t, c.want, got)
				counts := map[string]float64{"lost": testutil.ToFloat64(r.losses.lost), "unknown": testutil.ToFloat64(r.losses.unknown)}
				for what, n := range counts {
					require.Equal(t, what == c.want, n == 1, what)
				}
				if c.want != "lost" && c.want != "unknown" {
					require.Zero(t, logs.Len())
					return
				}
				require.EqualValues(t, 1, logs.All()[0].ContextMap()["count"])
			})
		})
	}
}

// A gap tells of a loss only once stuck_after has passed: until then a result may be on its way.
func TestReconciler_LostComesNoEarlierThanStuckAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := one(notify.StateRetrying, true, RecordPlace{Log: oldLog, Offset: 70, Step: 1}), shelved()
		s.gaps = []Gap{{Log: oldLog, From: 60, To: 100, At: time.Now()}}
		r, _ := looks(t, s, k, 4)
		require.Empty(t, s.told)
		r.cfg.Log = zap.NewNop()
		time.Sleep(2 * time.Minute)
		require.NoError(t, r.turn(t.Context(), time.Now()))
		require.Len(t, s.told, 1)
		e := s.told[0]
		require.Equal(t, []any{notify.StateLost, false, 1, 1, "", ""}, []any{e.State, e.Final, e.Run, e.Step, e.Gateway, e.ProviderID})
		require.Equal(t, notify.Origin{Topic: jobs, Offset: 70}, *e.Origin)
		sent := of(&s.lives[0], time.Now())
		sent.State = notify.StateSent
		require.Less(t, Place(&e), Place(&sent), "a late result replaces it")
		retrying := of(&s.lives[0], time.Now())
		retrying.State, retrying.Step = notify.StateRetrying, 7
		require.Greater(t, Place(&e), Place(&retrying))
	})
}

// A loss of any size is told of in looks of bounded size, each notification once.
func TestReconciler_ManyAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = mostLost + 2*pageSize + 7
		s, k := waits(n, notify.StateQueued, time.Now().Add(time.Hour)), shelved()
		s.records = map[string]RecordPlace{}
		for i := range s.lives {
			s.records[s.lives[i].ID] = RecordPlace{Log: oldLog, Offset: int64(i), Run: 1}
		}
		k.bounds[jobs] = kafka.Bounds{Oldest: n, Newest: n}
		s.gaps = []Gap{{Log: oldLog, To: n, At: time.Now().Add(-time.Hour)}}
		looks(t, s, k, 1)
		require.GreaterOrEqual(t, len(s.told), mostLost)
		require.Less(t, len(s.told), n)
		r, _ := looks(t, s, k, 3)
		require.Len(t, s.told, n)
		require.Nil(t, r.losses.pass)
		told := map[string]bool{}
		for _, e := range s.told {
			told[e.NotificationID] = true
		}
		require.Len(t, told, n)
	})
}

func TestGap_IsReadAsItIsWritten(t *testing.T) {
	g := Gap{Log: oldLog, Partition: 3, From: 100, To: 120, Done: []byte{0b101, 0, 0b1000}, At: time.UnixMilli(5).UTC()}
	r := &kafka.Record{Headers: g.Headers("workers"), Timestamp: g.At}
	got, ok := ReadGap(r)
	require.True(t, ok)
	require.Equal(t, g, got)
	require.EqualValues(t, 17, g.Missing())
	place := func(partition int32, offset int64) *RecordPlace {
		return &RecordPlace{Log: oldLog, Partition: partition, Offset: offset}
	}
	for offset, has := range map[int64]bool{99: false, 100: false, 101: true, 102: false, 118: true, 119: false, 120: false} {
		require.Equal(t, has, g.Has(place(3, offset)), offset)
		require.False(t, g.Has(place(2, offset)))
	}
	for i := range r.Headers {
		for _, bad := range []string{"", "x", "-1", strconv.Itoa(1 << 40)} {
			other := &kafka.Record{Headers: append([]kafka.Header(nil), r.Headers...)}
			other.Headers[i].Value = []byte(bad)
			g, ok := ReadGap(other)
			require.True(t, !ok || g.From < g.To && g.Partition >= 0 && g.Topic != "", "%s %q", other.Headers[i].Key, bad)
		}
	}
}
