package producer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const keyless = `{"channel":"email","recipient":"eve@test.example","payload":{"subject":"A subject","text":"Some text"}}`

func withKey(key, body string) *http.Request {
	r := request(http.MethodPost, "/v1/notifications", body)
	r.Header.Set("Idempotency-Key", key)
	return r
}

func idOf(t *testing.T, body string) string {
	t.Helper()
	var a struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	require.NotEmpty(t, a.ID)
	return a.ID
}

func requireCode(t *testing.T, want code, body string) {
	t.Helper()
	var p problem
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	require.Equal(t, want, p.Code, body)
}

// The claim is there before the bus is asked, and the bus is asked for its id.
func TestAKeyedRequestIsAcceptedOnce(t *testing.T) {
	bus, keys := &fakeBus{}, &fakeKeys{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: keys})
	first, body := do(t, s, withKey("order-4711", keyless))
	require.Equal(t, http.StatusAccepted, first.StatusCode, body)
	require.Empty(t, first.Header.Get("Idempotency-Replayed"))
	require.Len(t, keys.claimed, 1)
	c := keys.claimed[0][0]
	require.Equal(t, []string{"default", keyName("order-4711"), idOf(t, body)}, []string{c.Tenant, c.Key, c.ID})
	require.Equal(t, byte('7'), c.ID[14], "UUIDv7")
	require.Equal(t, 8500*time.Millisecond, c.Until.Sub(c.At))

	again, repeated := do(t, s, withKey("order-4711", keyless))
	require.Equal(t, http.StatusAccepted, again.StatusCode)
	require.Equal(t, body, repeated, "the first answer again")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
	require.Len(t, bus.got, 1)

	_, other := do(t, s, withKey("order-4712", keyless))
	require.NotEqual(t, idOf(t, body), idOf(t, other))
	_, other = do(t, s, withKey("order-4711", `{"tenant":"shop",`+keyless[1:]))
	require.NotEqual(t, idOf(t, body), idOf(t, other), "each tenant has keys of its own")
	require.Len(t, bus.got, 3)
}

func TestAnotherBodyUnderTheSameKey(t *testing.T) {
	bus := &fakeBus{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: &fakeKeys{}})
	do(t, s, withKey("k", keyless))
	for _, body := range []string{
		strings.Replace(keyless, "Some text", "Some other text", 1),
		strings.Replace(keyless, "eve@", "ada@", 1),
		`{"lane":"urgent",` + keyless[1:],
		`{"expires_at":"2039-01-01T00:00:00Z",` + keyless[1:],
		sound, // an id of the caller's own
	} {
		answer, got := do(t, s, withKey("k", body))
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
		requireCode(t, codeIdempotencyMismatch, got)
	}
	require.Len(t, bus.got, 1)
}

// The caller's own id is that of the key, for as long as the key stands.
func TestAnIDOfTheCallersUnderAKey(t *testing.T) {
	bus, keys := &fakeBus{err: notify.ErrBusUnavailable}, &fakeKeys{}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: keys})
	do(t, s, withKey("k", sound))
	bus.err = nil
	_, body := do(t, s, withKey("k", strings.Replace(sound, "0190163d-8694-739b-aea5", "0190163D-8694-739B-AEA5", 1)))
	require.Equal(t, "0190163d-8694-739b-aea5-966c26f8ad92", idOf(t, body))
	_, body = do(t, s, withKey("k", strings.Replace(sound, "ad92", "ad93", 1)))
	requireCode(t, codeIdempotencyMismatch, body)
}

// After an answer that leaves it open whether the job is on the log, a repetition publishes under the same id, and is the
// one that is answered from then on.
func TestWhatIsUnclearIsRepeatedUnderTheSameID(t *testing.T) {
	for name, bus := range map[string]*fakeBus{
		"refused": {err: notify.ErrBusUnavailable}, "frozen": {block: true}, "broken": {err: errors.New("the cause")},
	} {
		t.Run(name, func(t *testing.T) {
			keys := &fakeKeys{}
			s := newServer(t, Config{Dispatcher: bus, Idempotency: keys, Timeouts: Timeouts{Dispatch: time.Millisecond}})
			answer, _ := do(t, s, withKey("k", keyless))
			require.GreaterOrEqual(t, answer.StatusCode, 500)
			id := keys.claimed[0][0].ID
			*bus = fakeBus{err: notify.ErrTooLarge}
			do(t, s, withKey("k", keyless)) // refused now, but what went before may be on the log
			*bus = fakeBus{}
			s.cfg.Timeouts.Dispatch = time.Minute
			_, body := do(t, s, withKey("k", keyless))
			require.Equal(t, id, idOf(t, body))
			_, again := do(t, s, withKey("k", keyless))
			require.Equal(t, body, again)
			require.Len(t, bus.got, 1)
		})
	}
}

func TestARefusalFreesTheKey(t *testing.T) {
	late := `{"expires_at":"2020-01-01T00:00:00Z",` + keyless[1:]
	for name, c := range map[string]struct {
		bus  *fakeBus
		body string
	}{
		"faults":       {&fakeBus{}, late},
		"form":         {&fakeBus{}, `{"recipient":7,` + keyless[1:]},
		"too large":    {&fakeBus{err: notify.ErrTooLarge}, keyless},
		"channel off":  {&fakeBus{err: notify.ErrChannelNotConfigured}, keyless},
		"bad tenant":   {&fakeBus{}, `{"tenant":"` + strings.Repeat("t", 5000) + `",` + keyless[1:]},
		"bad and late": {&fakeBus{}, `{"lane":"x",` + late[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			keys := &fakeKeys{}
			s := newServer(t, Config{Dispatcher: c.bus, Idempotency: keys})
			answer, body := do(t, s, withKey("k", c.body))
			require.Contains(t, []int{http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge}, answer.StatusCode, body)
			require.Empty(t, keys.rows)
			c.bus.err = nil
			answer, body = do(t, s, withKey("k", `{"reference":"mended",`+keyless[1:]))
			require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
		})
	}
}

// A request that is answered is answered for good, even when it would be too late by now.
func TestARepetitionIsNotCheckedAnew(t *testing.T) {
	keys := &fakeKeys{}
	s := newServer(t, Config{Idempotency: keys})
	until := func(d time.Duration) string {
		return `{"expires_at":"` + time.Now().Add(d).UTC().Format(time.RFC3339) + `",` + keyless[1:]
	}
	_, body := do(t, s, withKey("k", until(time.Hour)))
	row := keys.rows[[2]string{"default", keyName("k")}]
	past := until(-time.Hour)
	row.Fingerprint = printOf(t, past) // as if two hours had passed
	answer, again := do(t, s, withKey("k", past))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, again)
	require.Equal(t, body, again)
}

func TestAKeyInFlight(t *testing.T) {
	keys := &fakeKeys{}
	bus := &gate{entered: make(chan struct{}), leave: make(chan struct{})}
	s := newServer(t, Config{Dispatcher: bus, Idempotency: keys})
	answered := make(chan int)
	go func() {
		w := &discard{header: http.Header{}}
		s.ServeHTTP(w, withKey("k", sound))
		answered <- w.status
	}()
	<-bus.entered
	answer, body := do(t, s, withKey("k", sound))
	require.Equal(t, http.StatusConflict, answer.StatusCode)
	require.Equal(t, "1", answer.Header.Get("Retry-After"))
	requireCode(t, codeIdempotencyInFlight, body)
	close(bus.leave)
	require.Equal(t, http.StatusAccepted, <-answered)
}

func TestTheStoreIsDown(t *testing.T) {
	for name, keys := range map[string]*fakeKeys{
		"refuses": {claimErr: fmt.Errorf("claim: %w: the cause", notify.ErrStatusUnavailable)}, "hangs": {block: true},
	} {
		t.Run(name, func(t *testing.T) {
			bus := &fakeBus{}
			s := newServer(t, Config{Dispatcher: bus, Idempotency: keys, Timeouts: Timeouts{Claim: time.Millisecond}})
			answer, body := do(t, s, withKey("k", keyless))
			require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
			require.Equal(t, "5", answer.Header.Get("Retry-After"))
			requireCode(t, codeStatusUnavailable, body)
			require.Empty(t, bus.got)
			answer, _ = do(t, s, request(http.MethodPost, "/v1/notifications", keyless))
			require.Equal(t, http.StatusAccepted, answer.StatusCode, "without a key nobody asks the store")
		})
	}
}

func TestThereIsNoStore(t *testing.T) {
	s := newServer(t, Config{})
	s.cfg.Idempotency = nil
	_, body := do(t, s, withKey("k", keyless))
	requireCode(t, codeStatusUnavailable, body)
}

// What is durable is answered so, whatever the store says afterwards.
func TestTheStoreGoesDownBetween(t *testing.T) {
	keys, log := &fakeKeys{settleErr: errors.New("the cause")}, &journal{}
	s := newServer(t, Config{Idempotency: keys, Log: log.logger()})
	answer, _ := do(t, s, withKey("k", keyless))
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	require.Contains(t, log.text(), `"unsettled":"the cause"`)
}

func TestWhatAKeyMayBe(t *testing.T) {
	s := newServer(t, Config{})
	for key, ok := range map[string]bool{
		"a": true, strings.Repeat("~", 255): true, `"8e03978e-40d5-43dd-bc93-6894a57f9324"`: true,
		"": false, strings.Repeat("a", 256): false, "a b": false, "ü": false, "a\tb": false,
	} {
		answer, body := do(t, s, withKey(key, keyless))
		require.Equal(t, ok, answer.StatusCode == http.StatusAccepted, "%q: %s", key, body)
	}
	r := withKey("a", keyless)
	r.Header.Add("Idempotency-Key", "a")
	answer, _ := do(t, s, r)
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
}
