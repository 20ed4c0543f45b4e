package producer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

const batchPath = "/v1/notifications/batch"

func batch(items ...string) string { return `{"notifications":[` + strings.Join(items, ",") + `]}` }

// answered is one result as a caller reads it.
type answered struct {
	Status    int
	ID        string
	Channel   string
	State     string
	Reference string
	Duplicate bool
	Problem   *problem
}

// post submits items as a batch and gives what became of each.
func post(t *testing.T, s *Server, items ...string) []answered {
	t.Helper()
	answer, body := do(t, s, request(http.MethodPost, batchPath, batch(items...)))
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	var got struct{ Results []answered }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Results, len(items))
	for _, r := range got.Results {
		if r.Problem != nil {
			require.Equal(t, r.Status, r.Problem.Status)
			require.Equal(t, "request-1", r.Problem.RequestID)
			require.Empty(t, r.ID)
		} else {
			require.Equal(t, http.StatusAccepted, r.Status)
			require.NotEmpty(t, r.ID)
		}
	}
	return got.Results
}

func keyedItem(key, more string) string {
	return fmt.Sprintf(`{"idempotency_key":%q,%s%s`, key, more, keyless[1:])
}

// One bad item sinks no other, and each is answered in its place.
func TestBatch(t *testing.T) {
	bus, log := &fakeBus{}, &journal{}
	s := newServer(t, Config{Dispatcher: bus, Log: log.logger(), MaxBody: 1000})
	got := post(t, s,
		`{"reference":"first",`+keyless[1:],
		strings.Replace(keyless, `"subject":"A subject"`, `"subject":7`, 1),
		"[]", "null",
		`{"expires_at":"2020-01-01T00:00:00Z",`+keyless[1:],
		`{"payload":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+"}",
		`{"reference":"`+strings.Repeat("x", 1000)+`"}`,
		`{"idempotency_key":"a b",`+keyless[1:],
		`{"template":{"id":"welcome"},`+keyless[1:],
		`{"reference":"last",`+keyless[1:],
		"{\"reference\":\"\xff\"}",
	)
	statuses := []int{202, 422, 422, 422, 422, 400, 413, 422, 422, 202, 400}
	pointers := map[int]string{
		1: "#/notifications/1/payload/subject", 2: "#/notifications/2", 3: "#/notifications/3", 4: "#/notifications/4/expires_at",
		7: "#/notifications/7/idempotency_key", 8: "#/notifications/8/template",
	}
	for i, r := range got {
		require.Equal(t, statuses[i], r.Status, i)
		if pointers[i] != "" {
			require.Len(t, r.Problem.Errors, 1, i)
			require.Equal(t, pointers[i], r.Problem.Errors[0].Pointer)
		}
	}
	require.Equal(t, codeNotSupportedYet, got[8].Problem.Code)
	require.Equal(t, "first", got[0].Reference)
	require.Equal(t, []string{"first", "last"}, []string{bus.got[0].Reference, bus.got[1].Reference})
	require.Equal(t, got[9].ID, bus.got[1].ID)
	require.Equal(t, 1, strings.Count(log.text(), "\n"))
	require.Contains(t, log.text(), `"notifications":11,"accepted":2`)
}

func TestABatchIsDispatchedAtOnceAndInOrder(t *testing.T) {
	bus := &fakeBus{}
	s := newServer(t, Config{Dispatcher: bus})
	var items []string
	for i := range validate.MaxBatch {
		items = append(items, fmt.Sprintf(`{"reference":"%d",%s`, i, keyless[1:]))
	}
	got := post(t, s, items...)
	require.Equal(t, 1, bus.calls)
	for i, r := range got {
		require.Equal(t, fmt.Sprint(i), r.Reference)
		require.Equal(t, r.ID, bus.got[i].ID)
	}
}

func TestABatchWithKeys(t *testing.T) {
	bus, keys := &fakeBus{}, &fakeKeys{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: keys})
	first := post(t, s, keyedItem("a", ""), keyedItem("b", ""), keyless, keyless)
	require.Len(t, keys.claimed, 1, "one transaction for all")
	require.Len(t, bus.got, 4)
	again := post(t, s, keyedItem("b", ""), keyedItem("a", `"lane":"bulk",`), keyless, keyedItem("c", ""), keyedItem("a", `"tenant":"shop",`))
	require.Equal(t, first[1].ID, again[0].ID)
	require.True(t, again[0].Duplicate)
	require.Equal(t, codeIdempotencyMismatch, again[1].Problem.Code)
	for _, r := range again[2:] {
		require.False(t, r.Duplicate)
	}
	require.Len(t, bus.got, 7)

	answer, body := do(t, s, withKey("a", keyless))
	require.Equal(t, "true", answer.Header.Get("Idempotency-Replayed"), "a key is the same wherever it is given")
	require.Equal(t, first[0].ID, idOf(t, body))
}

// Of several items under one key the first one counts.
func TestAKeyTwiceInABatch(t *testing.T) {
	bus, keys := &fakeBus{}, &fakeKeys{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: keys})
	got := post(t, s, keyedItem("a", ""), keyedItem("a", ""), keyedItem("a", `"lane":"bulk",`), keyedItem("a", ""))
	require.Equal(t, []bool{false, true, false, true}, []bool{got[0].Duplicate, got[1].Duplicate, got[2].Duplicate, got[3].Duplicate})
	require.Equal(t, []string{got[0].ID, got[0].ID}, []string{got[1].ID, got[3].ID})
	require.Equal(t, codeIdempotencyMismatch, got[2].Problem.Code)
	require.Len(t, bus.got, 1)
	require.Len(t, keys.claimed[0], 1)

	bus.err = notify.ErrBusUnavailable
	for _, r := range post(t, s, keyedItem("b", ""), keyedItem("b", "")) {
		require.Equal(t, codeBusUnavailable, r.Problem.Code)
	}
}

func TestABatchWhileTheStoreIsDown(t *testing.T) {
	bus := &fakeBus{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: &fakeKeys{claimErr: errors.New("the cause")}})
	got := post(t, s, keyedItem("a", ""), keyless, keyedItem("a", ""))
	require.Equal(t, []int{503, 202, 503}, []int{got[0].Status, got[1].Status, got[2].Status})
	require.Equal(t, codeStatusUnavailable, got[0].Problem.Code)
	require.Equal(t, codeStatusUnavailable, got[2].Problem.Code)
	require.Len(t, bus.got, 1)
}

// The body of a batch may be larger than that of one, and an item may be as large as one.
func TestABatchMayBeLarger(t *testing.T) {
	s := newServer(t, Config{MaxBody: int64(len(keyless))})
	for _, r := range post(t, s, keyless, keyless, keyless) {
		require.Equal(t, http.StatusAccepted, r.Status)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, post(t, s, " "+keyless, keyless[:len(keyless)-1]+" }")[1].Status)
}
