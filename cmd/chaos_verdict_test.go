package cmd

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The judge finds what there is to find, and nothing in a sound run.
func TestTheJudgeOfTheChaosSuite(t *testing.T) {
	zero := time.Now()
	at := func(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }
	ask := func(begun float64, did manner) request {
		return request{message: 1, worker: "w1", begun: at(begun), ended: at(begun + 0.05), did: did, wait: time.Second}
	}
	sent := ending{state: notify.StateSent, event: "a", at: at(1), seen: at(1)}
	kill := fault{kind: "kill", workers: []string{"w1"}, from: at(1), until: at(1.01)}
	for name, c := range map[string]struct {
		letter   letter
		requests []request
		endings  []ending
		all      []written
		faults   []fault
		overdue  int
		wrong    []string
	}{
		"sound":                         {requests: []request{ask(1, takes)}, endings: []ending{sent}},
		"lost":                          {wrong: []string{"lost"}},
		"no end":                        {requests: []request{ask(1, takes)}, wrong: []string{"taken, and no event says how it ended"}},
		"a lie":                         {requests: []request{ask(1, busy)}, endings: []ending{sent}, wrong: []string{"said to be sent, and nobody took it"}},
		"two ends":                      {requests: []request{ask(1, takes)}, endings: []ending{sent, {state: notify.StateDead, event: "b"}}, wrong: []string{"more than one end"}},
		"repeated after a lost word":    {requests: []request{ask(1, loses), ask(2, takes)}, endings: []ending{sent}},
		"repeated, its answer not read": {requests: []request{ask(1, takes), ask(5, takes)}, endings: []ending{sent}, overdue: 1},
		"the time ran out as it hung": {
			requests: []request{ask(1, hangs), ask(5, takes), ask(6, takes)}, endings: []ending{sent}, overdue: 1, wrong: []string{"repeated, and no fault explains it"},
		},
		"repeated for nothing":           {requests: []request{ask(1, takes), ask(2, takes)}, endings: []ending{sent}, wrong: []string{"repeated, and no fault explains it"}},
		"repeated, its outcome too late": {requests: []request{ask(0.2, takes), ask(2, takes)}, endings: []ending{sent}, faults: []fault{kill}},
		"repeated after a kill":          {requests: []request{ask(0.99, takes), ask(2, takes)}, endings: []ending{sent}, faults: []fault{kill}},
		"repeated, its outcome known":    {requests: []request{ask(0.2, takes), ask(2, takes)}, endings: []ending{sent}, all: []written{{at(0.3), at(0.4)}}, faults: []fault{kill}, wrong: []string{"repeated, and no fault explains it"}},
		"repeated twice for one":         {requests: []request{ask(0.99, takes), ask(2, takes), ask(3, takes)}, endings: []ending{sent}, faults: []fault{kill}, wrong: []string{"repeated, and no fault explains it"}},
		"the fault of another": {
			requests: []request{ask(0.99, takes), ask(2, takes)}, endings: []ending{sent},
			faults: []fault{{workers: []string{"w2"}, from: at(1), until: at(1.01)}}, wrong: []string{"repeated, and no fault explains it"},
		},
		"held and repeated": {
			letter: letter{hold: true}, requests: []request{ask(0.99, takes), ask(2, takes)}, endings: []ending{sent}, faults: []fault{kill},
			wrong: []string{"held, and taken more than once"},
		},
		"early":           {letter: letter{sendAt: at(2)}, requests: []request{ask(1, takes)}, endings: []ending{sent}, wrong: []string{"before send_at"}},
		"impatient":       {requests: []request{ask(1, throttles), ask(1.5, takes)}, endings: []ending{sent}, wrong: []string{"before the provider wished"}},
		"after expiry":    {letter: letter{expiresAt: at(2)}, requests: []request{ask(4, takes)}, endings: []ending{sent}, wrong: []string{"after it had expired"}},
		"after cancel":    {letter: letter{effective: at(2)}, requests: []request{ask(6, takes)}, endings: []ending{sent}, wrong: []string{"after it was cancelled"}},
		"before a cancel": {letter: letter{effective: at(2)}, requests: []request{ask(1, takes)}, endings: []ending{sent}},
	} {
		t.Run(name, func(t *testing.T) {
			c.letter.number = 1
			if c.letter.acked.IsZero() {
				c.letter.acked = at(0)
			}
			e := &events{endings: map[int][]ending{1: c.endings}, all: map[int][]written{1: c.all}, overdue: map[int]int{1: c.overdue}}
			v := judge(map[int]*letter{1: &c.letter}, map[int][]request{1: c.requests}, e, c.faults)
			require.ElementsMatch(t, c.wrong, slices.Collect(maps.Keys(v.wrong)), "%v", v.wrong)
		})
	}
	letters := map[int]*letter{1: {number: 1, key: "a", acked: at(0)}, 2: {number: 2, key: "a", acked: at(0)}}
	v := judge(letters, map[int][]request{1: {ask(2, takes)}, 2: {ask(1, takes)}}, &events{endings: map[int][]ending{1: {sent}, 2: {sent}}}, nil)
	require.Equal(t, 1, v.disorder)
	v = judge(letters, map[int][]request{1: {ask(0.5, busy), ask(2, takes)}, 2: {ask(1, takes)}}, &events{endings: map[int][]ending{1: {sent}, 2: {sent}}}, nil)
	require.Zero(t, v.disorder)
}
