package producer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const toRedrive = "/v1/dead-letters/redrive"

// fakeLetters keeps what it was asked, and has one letter and one that it skips.
type fakeLetters struct {
	err   error
	block bool // until ctx ends
	empty bool

	filters []notify.LetterFilter
	asked   []string // cursor and limit
	redrive []notify.Redrive
}

func (f *fakeLetters) List(ctx context.Context, filter notify.LetterFilter, cursor string, limit int) (page notify.Letters, err error) {
	f.filters, f.asked = append(f.filters, filter), append(f.asked, fmt.Sprint(cursor, "/", limit))
	switch {
	case f.block:
		<-ctx.Done()
		return page, ctx.Err()
	case f.err != nil || f.empty:
		return page, f.err
	}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return notify.Letters{Next: "abc", Data: []notify.Letter{{
		ID: capturedID, Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Run: 1, State: notify.StateDead, Reason: "attempts_used_up", Code: "451",
		Gateway: "mail", DiedAt: at, ExpiresAt: &at, Recipient: "e***@test.example", Bytes: 5,
		Letter: notify.Origin{Topic: "email_topic.dlq", Offset: 7}, Origin: &notify.Origin{Topic: "email_topic", Partition: 3, Offset: 9}, Sent: true,
	}}}, nil
}

func (f *fakeLetters) Redrive(ctx context.Context, q notify.Redrive) (done notify.Redriven, err error) {
	f.redrive = append(f.redrive, q)
	if f.block {
		<-ctx.Done()
		return done, ctx.Err()
	}
	if f.err != nil || f.empty {
		return done, f.err
	}
	return notify.Redriven{Redriven: 2, Next: "abc", Skipped: []notify.SkippedLetter{
		{ID: capturedID, Letter: notify.Origin{Topic: "email_topic.dlq", Offset: 7}, Why: notify.SkipSent},
	}}, nil
}

func TestDeadLettersAreListed(t *testing.T) {
	letters := &fakeLetters{}
	s := newServer(t, Config{DeadLetters: letters})
	answer, body := do(t, s, request(http.MethodGet, "/v1/dead-letters", ""))
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	require.Contains(t, body, `"next_cursor":"abc"`)
	require.Contains(t, body, `"letter":{"topic":"email_topic.dlq","partition":0,"offset":7}`)
	_, body = do(t, s, request(http.MethodGet, "/v1/dead-letters?id="+strings.ToUpper(capturedID)+"&id="+capturedID+
		"&channel=email&channel=sms&lane=bulk&reason=used&code=451&gateway=mail&recipient=+14155550100&since=2030-01-01T00:00:00Z&until=2030-01-02T00:00:00Z"+
		"&partition=2&from_offset=0&to_offset=9&cursor=abc&limit=500", ""))
	require.Contains(t, body, `"next_cursor"`)
	require.Equal(t, []string{"/50", "abc/500"}, letters.asked)
	require.Equal(t, notify.LetterFilter{}, letters.filters[0])
	wide := letters.filters[1]
	require.Equal(t, wanted(), wide)

	letters.empty = true
	_, body = do(t, s, request(http.MethodGet, "/v1/dead-letters", ""))
	require.JSONEq(t, `{"data":[],"next_cursor":null}`, body)
}

// wanted is a filter with all that there is.
func wanted() notify.LetterFilter {
	partition, from, to := int32(2), int64(0), int64(9)
	return notify.LetterFilter{
		IDs: []string{capturedID}, Channels: []notify.Channel{notify.ChannelEmail, notify.ChannelSMS}, Lane: notify.LaneBulk, Reason: "used", Code: "451",
		Gateway: "mail", Recipient: "+14155550100", Since: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC),
		Partition: &partition, From: &from, To: &to,
	}
}

// A redrive is asked for by the very names of a list.
func TestDeadLettersAreRedriven(t *testing.T) {
	letters, log := &fakeLetters{}, &journal{}
	s := newServer(t, Config{DeadLetters: letters, Log: log.logger()})
	answer, body := do(t, s, request(http.MethodPost, toRedrive, `{"id":["`+capturedID+`"],"channel":["email","sms"],"lane":"bulk","reason":"used","code":451,`+
		`"gateway":"mail","recipient":"+14155550100","since":"2030-01-01T00:00:00Z","until":"2030-01-02T00:00:00Z","partition":2,"from_offset":0,"to_offset":9,`+
		`"cursor":"abc","limit":1000,"dry_run":true,"expires_in":"24h","all":null}`))
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	require.JSONEq(t, `{"redriven":2,"dry_run":true,"next_cursor":"abc","skipped":[
		{"id":"`+capturedID+`","letter":{"topic":"email_topic.dlq","partition":0,"offset":7},"why":"sent"}]}`, body)
	require.Equal(t, notify.Redrive{LetterFilter: wanted(), DryRun: true, ExpiresIn: 24 * time.Hour, Limit: 1000, Cursor: "abc"}, letters.redrive[0])
	require.Contains(t, log.text(), `"redriven":2,"skipped":1,"dry_run":true`)
	require.NotContains(t, log.text(), "4155550100")

	letters.empty = true
	_, body = do(t, s, request(http.MethodPost, toRedrive, `{"all":true}`))
	require.JSONEq(t, `{"redriven":0,"dry_run":false,"skipped":[],"next_cursor":null}`, body)
	require.Equal(t, notify.Redrive{Limit: 100}, letters.redrive[1])
	_, body = do(t, s, request(http.MethodPost, toRedrive, `{"channel":"email","all":true}`))
	require.Contains(t, body, `"redriven":0`)
	require.Len(t, letters.redrive, 3)
}

// What every letter would be chosen by has to be meant.
func TestARedriveOfEverythingIsAskedForByName(t *testing.T) {
	letters := &fakeLetters{}
	s := newServer(t, Config{DeadLetters: letters})
	for _, body := range []string{`{}`, `{"all":false}`, `{"channel":["email"]}`, `{"limit":5}`, `{"dry_run":true}`} {
		answer, said := do(t, s, request(http.MethodPost, toRedrive, body))
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, body)
		require.Contains(t, said, "all: true", body)
	}
	require.Empty(t, letters.redrive)
}

// letterProblemCases are those of who asks about dead letters, and of what is shed.
func letterProblemCases(sendKey, readKey string, keys []Key) []problemCase {
	const get = http.MethodGet
	bearer := func(key string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) }
	}
	keyed := Config{Keys: keys}
	letters := func(err error) Config { return Config{DeadLetters: &fakeLetters{err: err}} }
	frozen := Config{DeadLetters: &fakeLetters{block: true}, Timeouts: Timeouts{Letters: time.Millisecond}}
	bus, store := fmt.Errorf("%w: the cause", notify.ErrBusUnavailable), fmt.Errorf("%w: the cause", notify.ErrStatusUnavailable)
	nobody := notify.Faults{{Pointer: "#/recipient", Code: notify.FaultInvalid, Detail: "no such recipient can be on the channel"}}
	all := `{"all":true}`
	return []problemCase{
		{name: "wrong-scope-to-see-stats", status: 403, code: codeForbidden, cfg: keyed, method: get, path: "/v1/stats", change: bearer(sendKey)},
		{name: "stats-with-parameter", status: 422, code: codeInvalidParameter, method: get, path: "/v1/stats?channel=eve@test.example"},
		{name: "shedding", status: 429, code: codeShedding, cfg: Config{Dispatcher: &fakeBus{err: &notify.Shedding{RetryAfter: 40 * time.Second}}}, body: `{"lane":"bulk",` + sound[1:], headers: map[string]string{"Retry-After": "40"}},
		{name: "wrong-scope-to-list-letters", status: 403, code: codeForbidden, cfg: keyed, method: get, path: "/v1/dead-letters", change: bearer(sendKey)},
		{name: "wrong-scope-to-redrive", status: 403, code: codeForbidden, cfg: keyed, path: toRedrive, body: all, change: bearer(readKey)},
		{name: "redrive-form", status: 415, code: codeUnsupportedMedia, path: toRedrive, body: all, change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{name: "redrive-no-json", status: 400, code: codeMalformed, path: toRedrive, body: "eve@test.example"},
		{name: "redrive-two-objects", status: 400, code: codeMalformed, path: toRedrive, body: all + all},
		{name: "redrive-null", status: 400, code: codeMalformed, path: toRedrive, body: "null"},
		{name: "redrive-too-large", status: 413, code: codeTooLarge, path: toRedrive, body: `{"reason":"` + strings.Repeat("x", maxRedriveBody) + `"}`, headers: map[string]string{"Connection": "close"}},
		{name: "redrive-nothing-chosen", status: 422, code: codeInvalidParameter, path: toRedrive, body: "{}"},
		{name: "redrive-objects", status: 422, code: codeInvalidParameter, path: toRedrive, body: `{"recipient":{"eve@test.example":1}}`},
		{name: "redrive-with-parameter", status: 422, code: codeInvalidParameter, path: toRedrive + "?recipient=eve@test.example", body: all},
		{name: "redrive-all-faults", status: 422, code: codeInvalidParameter, path: toRedrive, body: `{"id":["eve@test.example"],"channel":"fax","lane":["bulk","bulk"],"since":7,"from_offset":5,` +
			`"limit":1001,"dry_run":"yes","expires_in":"eve@test.example","eve@test.example":true}`},
		{name: "list-letters-all-faults", status: 422, code: codeInvalidParameter, method: get, path: "/v1/dead-letters?id=eve@test.example&channel=eve@test.example&recipient=&partition=-1&to_offset=x&limit=501&all=true"},
		{name: "list-letters-to-nobody", status: 422, code: codeInvalidParameter, cfg: letters(nobody), method: get, path: "/v1/dead-letters?recipient=eve@test.example"},
		{name: "list-letters-bad-cursor", status: 422, code: codeInvalidParameter, cfg: letters(notify.ErrBadCursor), method: get, path: "/v1/dead-letters?cursor=eve@test.example"},
		{name: "list-letters-internal", status: 500, code: codeInternal, cfg: letters(errors.New("the cause")), method: get, path: "/v1/dead-letters"},
		{name: "redrive-internal", status: 500, code: codeInternal, cfg: letters(errors.New("the cause")), path: toRedrive, body: all},
		{name: "list-letters-bus-unavailable", status: 503, code: codeBusUnavailable, cfg: letters(bus), method: get, path: "/v1/dead-letters", headers: map[string]string{"Retry-After": "5"}},
		{name: "list-letters-frozen", status: 503, code: codeBusUnavailable, cfg: frozen, method: get, path: "/v1/dead-letters", headers: map[string]string{"Retry-After": "5"}},
		{name: "redrive-frozen", status: 503, code: codeBusUnavailable, cfg: frozen, path: toRedrive, body: all, headers: map[string]string{"Retry-After": "5"}},
		{name: "redrive-status-unavailable", status: 503, code: codeStatusUnavailable, cfg: letters(store), path: toRedrive, body: all, headers: map[string]string{"Retry-After": "1"}},
	}
}
