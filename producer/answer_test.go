package producer

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Answers are what encoding/json would make of them, to the byte.
func TestAnswersAreWrittenAsTheLibraryWouldWriteThem(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Just(""), rapid.Just(`<a href="x">&\`+"\n\x00\x7f\u2028é😀\xff"))
	float := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 12.5, 1e-6, 9e-7, 1e21, 9e20, math.NaN(), math.Inf(1)}))
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		zone := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 5400), time.FixedZone("", 24*3600)}).Draw(t, "zone")
		return time.Unix(rapid.Int64Range(-7e10, 3e11).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).In(zone)
	})
	drain := rapid.Custom(func(t *rapid.T) *notify.Drain {
		return &notify.Drain{
			Backlog: rapid.Int64().Draw(t, "backlog"), Rate: float.Draw(t, "rate"), OldestSeconds: rapid.Ptr(float, true).Draw(t, "oldest"),
			DrainSeconds: rapid.Ptr(float, true).Draw(t, "drain"),
		}
	})
	answer := rapid.Custom(func(t *rapid.T) *accepted {
		return &accepted{
			ID: text.Draw(t, "id"), Channel: notify.Channel(text.Draw(t, "channel")), State: notify.State(text.Draw(t, "state")),
			Lane: notify.Lane(text.Draw(t, "lane")), AcceptedAt: moment.Draw(t, "accepted"), ExpiresAt: rapid.Ptr(moment, true).Draw(t, "expires"),
			Reference: text.Draw(t, "reference"), Warnings: rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(text, 0, 3)).Draw(t, "warnings"),
			Drain: rapid.OneOf(rapid.Just((*notify.Drain)(nil)), drain).Draw(t, "drain"),
		}
	})
	one := rapid.Custom(func(t *rapid.T) result {
		r := result{Status: rapid.Int().Draw(t, "status"), Duplicate: rapid.Bool().Draw(t, "duplicate")}
		if rapid.Bool().Draw(t, "refused") {
			r.Problem = refuse(codeInvalid, text.Draw(t, "detail")).about(notify.Faults{{Pointer: "#/<a>", Code: "b", Detail: text.Draw(t, "fault")}})
		} else {
			r.accepted = answer.Draw(t, "answer")
		}
		return r
	})
	check := func(t *rapid.T, v handwritten) {
		got, ok := v.appendJSON([]byte("before"))
		want, err := encodeJSON(v)
		if ok {
			require.NoError(t, err)
			require.Equal(t, "before"+string(want), string(got))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, answer.Draw(t, "answer"))
		check(t, results{Results: rapid.SliceOfN(one, 0, 4).Draw(t, "results")})
	})
}

// What is usual is written by hand.
func TestAnswersUsuallyNeedNoLibrary(t *testing.T) {
	seconds, expires := 1.5, time.Now().UTC()
	a := &accepted{Warnings: []string{"a"}, ExpiresAt: &expires, Drain: &notify.Drain{Rate: 2.25, OldestSeconds: &seconds}}
	_, ok := a.appendJSON(nil)
	require.True(t, ok)
	_, ok = results{Results: []result{{Status: 202, accepted: a}, {Status: 422, Problem: refuse(codeInvalid, "")}}}.appendJSON(nil)
	require.True(t, ok)
}

// A buffer that is used again shows nothing of the answer before, nor does one that had to be given up.
func TestAnswersShareNothing(t *testing.T) {
	long := &accepted{Reference: strings.Repeat("long ", 100), Warnings: []string{}}
	odd := &accepted{Reference: "odd", Warnings: []string{}, Drain: &notify.Drain{Rate: 1e-9}}
	for _, a := range []*accepted{long, odd, {Reference: "short", Warnings: []string{}}, long, odd} {
		recorder := httptest.NewRecorder()
		x := &exchange{w: recorder}
		require.NoError(t, x.json(http.StatusAccepted, a))
		want, err := encodeJSON(a)
		require.NoError(t, err)
		require.Equal(t, string(want), recorder.Body.String())
	}
}
