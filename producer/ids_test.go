package producer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeIDs keeps claims of ids as a store does, and fails on cue.
type fakeIDs struct {
	err   error
	block bool // until ctx ends

	mu    sync.Mutex
	calls int
	rows  map[string]*fakeIDRow
}

type fakeIDRow struct {
	print  notify.Fingerprint
	claims int
}

func (f *fakeIDs) ClaimIDs(ctx context.Context, claims []notify.IDClaim) ([]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	taken := make([]bool, len(claims))
	for i, c := range claims {
		if f.rows == nil {
			f.rows = map[string]*fakeIDRow{}
		}
		row := f.rows[c.ID]
		if row == nil {
			row = &fakeIDRow{print: c.Content.Exact}
			f.rows[c.ID] = row
		}
		if taken[i] = row.print != c.Content.Exact; !taken[i] {
			row.claims++
		}
	}
	return taken, nil
}

func (f *fakeIDs) ReleaseIDs(_ context.Context, claims []notify.IDClaim) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range claims {
		if f.rows[c.ID].claims--; f.rows[c.ID].claims == 0 {
			delete(f.rows, c.ID)
		}
	}
	return nil
}

// other is sound with a change.
func other(was, is string) string { return strings.Replace(sound, was, is, 1) }

func TestIDs_AnIDStandsForOneNotification(t *testing.T) {
	bus, ids := &fakeBus{}, &fakeIDs{}
	s := newServer(t, Config{Dispatcher: bus, IDs: ids})
	send := func(body string) (int, string, string) {
		answer, got := do(t, s, request(http.MethodPost, "/v1/notifications", body))
		return answer.StatusCode, answer.Header.Get("Retry-After"), got
	}
	status, _, _ := send(sound)
	require.Equal(t, http.StatusAccepted, status)
	for name, same := range map[string]string{
		"to the byte": sound,
		"an order":    other(`"subject":"A subject","text":"Some text"`, `"text":"\u0053ome text", "subject":"A subject"`),
		"a spelling":  other(`ad92"`, `AD92"`),
		"a default":   other(`{`, `{"lane":"normal","tenant":"default",`),
	} {
		status, _, got := send(same)
		require.Equal(t, http.StatusAccepted, status, name+got)
	}
	accepted := len(bus.got)
	var conflict string
	for name, different := range map[string]string{
		"a tenant":     other(`{`, `{"tenant":"shop",`),
		"a recipient":  other("eve@", "bob@"),
		"a payload":    other("Some text", "Other text"),
		"a lane":       other(`{`, `{"lane":"urgent",`),
		"a reference":  other("order 4711", "order 4712"),
		"an expiry":    other(`{`, `{"expires_at":"2040-01-01T00:00:00Z",`),
		"a schedule":   other(`{`, `{"send_at":"2020-01-01T00:00:00Z",`),
		"metadata":     other(`{`, `{"metadata":{"a":"1"},`),
		"sensitive":    other(`{`, `{"sensitive":true,`),
		"on_ambiguous": other(`{`, `{"on_ambiguous":"hold",`),
		"an own key":   other(`{`, `{"ordering_key":"x",`),
		"a channel":    `{"id":"0190163d-8694-739b-aea5-966c26f8ad92","channel":"sms","recipient":"+14155550100","payload":{"body":"hi"}}`,
	} {
		status, retry, got := send(different)
		require.Equal(t, http.StatusConflict, status, name)
		require.Empty(t, retry, "to repeat it is no use")
		requireCode(t, codeIDConflict, got)
		if conflict == "" {
			conflict = got
		}
		require.Equal(t, conflict, got, "%s: whatever differs, the answer is the same", name)
	}
	require.Len(t, bus.got, accepted, "nothing of these was published")
}

func TestIDs_ABatchIsAnsweredItemByItem(t *testing.T) {
	bus := &fakeBus{}
	s := newServer(t, Config{Dispatcher: bus, IDs: &fakeIDs{}})
	free := strings.Replace(sound, "ad92", "ad93", 1)
	got := post(t, s, sound, other("Some text", "Other text"), keyless, free, sound)
	require.Equal(t, []int{202, 409, 202, 202, 202}, []int{got[0].Status, got[1].Status, got[2].Status, got[3].Status, got[4].Status})
	require.Equal(t, codeIDConflict, got[1].Problem.Code)
	require.Empty(t, got[1].Problem.Errors)
	require.Len(t, bus.got, 4)
}

// A caller that leaves ids to the server pays nothing for those of others.
func TestIDs_WithoutAnOwnIDNothingIsAsked(t *testing.T) {
	ids := &fakeIDs{err: errors.New("not to be asked")}
	s := newServer(t, Config{IDs: ids})
	answer, body := do(t, s, request(http.MethodPost, "/v1/notifications", keyless))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
	answer, body = do(t, s, withKey("k", keyless))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
	post(t, s, keyless, keyedItem("k2", ""))
	require.Zero(t, ids.calls)
	do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	require.Equal(t, 1, ids.calls)
}

// What was refused has not taken its id: the caller corrects it and sends it again.
func TestIDs_ARefusedNotificationLeavesItsIDFree(t *testing.T) {
	for name, err := range map[string]error{
		"too large": fmt.Errorf("publish: %w", notify.ErrTooLarge), "no channel": fmt.Errorf("dispatch: %w", notify.ErrChannelNotConfigured),
		"shedding": &notify.Shedding{}, "invalid": notify.Faults{{Pointer: "#/payload", Code: notify.FaultInvalid}},
	} {
		bus, ids := &fakeBus{err: err}, &fakeIDs{}
		s := newServer(t, Config{Dispatcher: bus, IDs: ids})
		do(t, s, request(http.MethodPost, "/v1/notifications", sound))
		require.Empty(t, ids.rows, name)
		bus.err = nil
		answer, _ := do(t, s, request(http.MethodPost, "/v1/notifications", other("Some text", "Other text")))
		require.Equal(t, http.StatusAccepted, answer.StatusCode, name)
	}
	bus := &fakeBus{err: fmt.Errorf("publish: %w", notify.ErrBusUnavailable)}
	s := newServer(t, Config{Dispatcher: bus, IDs: &fakeIDs{}})
	do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	bus.err = nil
	answer, body := do(t, s, request(http.MethodPost, "/v1/notifications", other("Some text", "Other text")))
	require.Equal(t, http.StatusConflict, answer.StatusCode, "after a 503 it may be on the log")
	requireCode(t, codeIDConflict, body)
	answer, _ = do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, "to repeat it is right")
}

// An idempotency key whose request had somebody else's id is free again.
func TestIDs_AConflictFreesTheIdempotencyKey(t *testing.T) {
	s := newServer(t, Config{Dispatcher: &fakeBus{}, IDs: &fakeIDs{}})
	do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	answer, body := do(t, s, withKey("k", other("Some text", "Other text")))
	require.Equal(t, http.StatusConflict, answer.StatusCode)
	requireCode(t, codeIDConflict, body)
	answer, body = do(t, s, withKey("k", strings.Replace(sound, "ad92", "ad93", 1)))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
}

// A store that is away stops nobody: what comes twice is then told by an event.
func TestIDs_WithoutAStoreAllAreAccepted(t *testing.T) {
	for name, ids := range map[string]*fakeIDs{"down": {err: errors.New("away")}, "frozen": {block: true}} {
		log := &journal{}
		s := newServer(t, Config{Dispatcher: &fakeBus{}, IDs: ids, Log: log.logger(), Timeouts: Timeouts{Claim: time.Millisecond}})
		for _, body := range []string{sound, other("Some text", "Other text")} {
			answer, got := do(t, s, request(http.MethodPost, "/v1/notifications", body))
			require.Equal(t, http.StatusAccepted, answer.StatusCode, name+got)
		}
		require.Contains(t, log.text(), "ids_unchecked")
	}
}
