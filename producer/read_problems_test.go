package producer

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// readProblemCases are those of who asks what became of notifications.
func readProblemCases(sendKey string, keys []Key) []problemCase {
	const get = http.MethodGet
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	keyed := Config{Keys: keys}
	lives := func(err error) Config { return Config{Lives: &fakeLives{err: err}} }
	feed := func(err error) Config { return Config{Feed: &fakeFeed{err: err}} }
	away := fmt.Errorf("ask: %w: the cause", notify.ErrStatusUnavailable)
	soon := map[string]string{"Retry-After": "1"}
	return []problemCase{
		{name: "wrong-scope-to-look", status: 403, code: codeForbidden, cfg: keyed, method: get, path: toLook, change: set("Authorization", "Bearer "+sendKey)},
		{name: "wrong-scope-to-list", status: 403, code: codeForbidden, cfg: keyed, method: get, change: set("Authorization", "Bearer "+sendKey)},
		{name: "wrong-scope-to-stream", status: 403, code: codeForbidden, cfg: keyed, method: get, path: "/v1/stream", change: set("Authorization", "Bearer "+sendKey)},
		{name: "look-no-uuid", status: 404, code: codeNotFound, method: get, path: "/v1/notifications/eve@test.example"},
		{name: "unknown-notification", status: 404, code: codeNotFound, method: get, path: "/v1/notifications/0190163d-8694-739b-aea5-966c26f8ad99"},
		{name: "look-with-parameter", status: 422, code: codeInvalidParameter, method: get, path: toLook + "?recipient=eve@test.example"},
		{name: "list-bad-cursor", status: 422, code: codeInvalidParameter, method: get, path: "/v1/notifications?cursor=eve@test.example"},
		{name: "list-unknown-parameter", status: 422, code: codeInvalidParameter, method: get, path: "/v1/notifications?eve@test.example=1"},
		{name: "list-broken-query", status: 422, code: codeInvalidParameter, method: get, path: "/v1/notifications?state=%zz"},
		{name: "list-all-faults", status: 422, code: codeInvalidParameter, method: get, path: "/v1/notifications?state=sent&state=eve@test.example&channel=fax&lane=eve@test.example" +
			"&tenant=eve@test.example&reference=eve@test.example%0A&reference=&gateway=&recipient=%FF&since=yesterday&until=2026-01-31&limit=201&cursor=a&cursor=b"},
		{name: "stream-all-faults", status: 422, code: codeInvalidParameter, method: get, path: "/v1/stream?id=eve@test.example&after=-1&recipient=eve@test.example", change: set("Last-Event-ID", "eve@test.example")},
		{name: "look-internal", status: 500, code: codeInternal, cfg: lives(errors.New("the cause")), method: get, path: toLook},
		{name: "list-internal", status: 500, code: codeInternal, cfg: lives(errors.New("the cause")), method: get},
		{name: "stream-internal", status: 500, code: codeInternal, cfg: feed(errors.New("the cause")), method: get, path: "/v1/stream"},
		{name: "look-status-unavailable", status: 503, code: codeStatusUnavailable, cfg: lives(away), method: get, path: toLook, headers: soon},
		{name: "list-status-frozen", status: 503, code: codeStatusUnavailable, cfg: Config{Lives: &fakeLives{block: true}, Timeouts: Timeouts{Status: time.Millisecond}}, method: get, headers: soon},
		{name: "stream-status-unavailable", status: 503, code: codeStatusUnavailable, cfg: feed(away), method: get, path: "/v1/stream", headers: soon},
	}
}
