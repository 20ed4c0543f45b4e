package producer

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const toLook = "/v1/notifications/" + capturedID

// fakeLives knows one notification, and keeps what it was asked for.
type fakeLives struct {
	err   error
	block bool // until ctx ends
	life  func(*notify.Life)

	mu     sync.Mutex
	filter notify.LifeFilter
	cursor string
	limit  int
}

func (f *fakeLives) Get(ctx context.Context, id string) (*notify.Life, error) {
	if f.err == nil && id != capturedID {
		return nil, notify.ErrUnknownNotification
	}
	life := aLife()
	if f.life != nil {
		f.life(&life)
	}
	return &life, f.answer(ctx)
}

func (f *fakeLives) List(ctx context.Context, filter notify.LifeFilter, cursor string, limit int) (notify.Lives, error) {
	f.mu.Lock()
	f.filter, f.cursor, f.limit = filter, cursor, limit
	f.mu.Unlock()
	switch {
	case cursor == "" && limit > 1:
		return notify.Lives{}, f.answer(ctx)
	case cursor == "" || cursor == "the next":
		life := aLife()
		life.Payload, life.Timeline = nil, nil
		return notify.Lives{Data: []notify.Life{life}, Next: "the next"}, f.answer(ctx)
	default:
		return notify.Lives{}, notify.ErrBadCursor
	}
}

func (f *fakeLives) answer(ctx context.Context) error {
	if f.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func aLife() notify.Life {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	e := anEvent(1)
	e.Tries = []notify.Try{{Gateway: "mail", Verdict: "accepted", Code: "250", Millis: 12}}
	return notify.Life{
		ID: capturedID, Tenant: "default", Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Recipient: "eve@test.example",
		State: notify.StateSent, Final: true, Attempt: 1, AcceptedAt: at, UpdatedAt: at.Add(time.Second),
		Payload: json.RawMessage(`{"text":"<b>"}`), Timeline: []notify.Event{e.Event},
	}
}

func TestLook(t *testing.T) {
	s := newServer(t, Config{})
	for _, id := range []string{capturedID, strings.ToUpper(capturedID)} {
		answer, body := do(t, s, request(http.MethodGet, "/v1/notifications/"+id, ""))
		require.Equal(t, http.StatusOK, answer.StatusCode, body)
		require.JSONEq(t, `{"id":"`+capturedID+`","tenant":"default","channel":"email","lane":"normal","recipient":"eve@test.example","state":"sent","final":true,
			"run":0,"step":0,"attempt":1,"accepted_at":"2030-01-01T00:00:00Z","updated_at":"2030-01-01T00:00:01Z","payload":{"text":"<b>"},"timeline":[{
			"event_id":"`+anEvent(1).EventID+`","notification_id":"`+capturedID+`","run":0,"step":0,"attempt":0,"state":"sent","final":true,"at":"2030-01-01T00:00:01Z",
			"tenant":"default","channel":"email","lane":"normal","reference":"1","tries":[{"gateway":"mail","verdict":"accepted","code":"250","ms":12}]}]}`, body)
		require.Contains(t, body, "<b>", "not escaped")
	}
}

// What is nobody's business is not shown even if the store has kept it.
func TestNoPayloadOfWhatIsSensitiveOrExpunged(t *testing.T) {
	for _, change := range []func(*notify.Life){func(l *notify.Life) { l.Sensitive = true }, func(l *notify.Life) { l.Expunged = true }} {
		_, body := do(t, newServer(t, Config{Lives: &fakeLives{life: change}}), request(http.MethodGet, toLook, ""))
		require.NotContains(t, body, `"payload"`)
	}
}

func TestList(t *testing.T) {
	lives := &fakeLives{}
	s := newServer(t, Config{Lives: lives})
	_, body := do(t, s, request(http.MethodGet, "/v1/notifications", ""))
	require.JSONEq(t, `{"data":[],"next_cursor":null}`, body)
	require.Equal(t, notify.LifeFilter{}, lives.filter)
	require.Equal(t, 50, lives.limit)

	answer, body := do(t, s, request(http.MethodGet, "/v1/notifications?state=sent&state=held&state=sent&channel=email&lane=bulk&gateway=mail&reference=a%26b&tenant=a.b_c-1"+
		"&recipient=Eve+%3Ceve@TEST.example%3E&since=2026-01-31T09:30:00.5%2B01:00&until=2026-02-01T00:00:00Z&limit=1&cursor=the+next", ""))
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	require.Equal(t, notify.LifeFilter{
		States: []notify.State{notify.StateSent, notify.StateHeld}, Channel: notify.ChannelEmail, Lane: notify.LaneBulk, Gateway: "mail",
		Reference: "a&b", Tenant: "a.b_c-1", Recipient: "eve@test.example",
		Since: time.Date(2026, 1, 31, 8, 30, 0, 5e8, time.UTC), Until: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	}, lives.filter)
	require.Equal(t, "the next", lives.cursor)
	require.Equal(t, 1, lives.limit)
	require.Contains(t, body, `"next_cursor":"the next"`)
	require.Contains(t, body, `"id":"`+capturedID+`"`)
}

// A recipient is found in the spelling in which it is kept, whatever it was looked for in.
func TestRecipientsAreLookedForBare(t *testing.T) {
	lives := &fakeLives{}
	s := newServer(t, Config{Lives: lives})
	for query, want := range map[string]string{
		"recipient=ada@EXAMPLE.com":                  "ada@example.com",
		"recipient=%2B15550123456":                   "+15550123456",
		"recipient=+15550123456":                     "+15550123456",
		"recipient=news":                             "news",
		"channel=push&recipient=ada@EXAMPLE.com":     "ada@EXAMPLE.com",
		"channel=sms&recipient=nobody":               "nobody",
		"channel=email&recipient=a%40b%C3%BCro.test": "a@xn--bro-hoa.test",
	} {
		answer, body := do(t, s, request(http.MethodGet, "/v1/notifications?"+query, ""))
		require.Equal(t, http.StatusOK, answer.StatusCode, body)
		require.Equal(t, want, lives.filter.Recipient, query)
	}
}

// FuzzQuery: whatever is asked for, the answer is sound and repeats none of it.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"state=sent&limit=7", "state=" + secret, secret + "=1", "since=2026-01-31T09:30:00Z&until=" + secret, "%" + secret, "a;b=" + secret, "limit=+1", "limit=1e3",
		"reference=" + secret + "%00", "recipient=%ff" + secret, "tenant=" + secret + "%c3%bc", "cursor=" + secret, "id=" + secret, "after=99999999999999999999", "channel=", "&&&==",
	} {
		f.Add(query)
	}
	lives := &fakeLives{}
	s := newServer(f, Config{Lives: lives})
	f.Fuzz(func(t *testing.T, query string) {
		r := request(http.MethodGet, "/v1/notifications", "")
		r.URL = &url.URL{Path: r.URL.Path, RawQuery: query}
		answer, body := do(t, s, r)
		require.Contains(t, []int{200, 422}, answer.StatusCode)
		require.NotContains(t, body, secret)
		if answer.StatusCode == 200 {
			require.True(t, 1 <= lives.limit && lives.limit <= mostLives)
			for _, text := range []string{lives.filter.Reference, lives.filter.Gateway, lives.filter.Recipient, lives.cursor} {
				require.NotContains(t, text, "\x00")
				require.True(t, json.Valid([]byte(`"`+strings.NewReplacer(`"`, "", `\`, "").Replace(text)+`"`)))
			}
		}
		r = request(http.MethodGet, "/v1/stream", "")
		r.URL = &url.URL{Path: r.URL.Path, RawQuery: query}
		filter, after, err := streamQuery(r)
		require.True(t, err != nil || after >= -1 && filter.Recipient == "")
	})
}
