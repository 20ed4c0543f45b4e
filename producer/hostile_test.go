package producer

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	hostileRequests = 10_000
	secret          = "zq9-do-not-repeat" // in every value that an attacker chooses; it is no name of a field
)

// TestHostileRequests: whatever is sent, the server is not at fault and neither its answer nor its log repeats any of it.
func TestHostileRequests(t *testing.T) {
	key, held := GenerateKey("shop", ScopeSend)
	log := &journal{}
	s := newServer(t, Config{Keys: []Key{held}, Log: log.logger(), Outbox: fakeOutbox{}, MaxBody: 64 << 10})
	a := &attacker{Rand: rand.New(rand.NewPCG(1, 2)), key: key, bases: bases(t)}
	statuses := map[int]int{}
	for i := range hostileRequests {
		r := a.request()
		sent, _ := json.Marshal(map[string]any{"n": i, "method": r.Method, "url": r.URL.String(), "headers": r.Header})
		answer, body := do(t, s, r)
		statuses[answer.StatusCode]++
		require.Less(t, answer.StatusCode, 500, "%s\n%s", sent, body)
		body = reference.ReplaceAllString(body, "") // the one thing that an answer repeats
		head := fmt.Sprint(answer.Header)
		for _, text := range []string{body, head} {
			require.NotContains(t, text, secret, "%s", sent)
			require.NotContains(t, text, key[10:], "%s", sent)
			require.NotContains(t, text, "@test.example", "%s", sent)
		}
	}
	for _, s := range []string{secret, key[10:], "@test.example", "+1555765"} {
		require.NotContains(t, log.text(), s)
	}
	require.Equal(t, hostileRequests, strings.Count(log.text(), "\n"))
	for _, status := range []int{200, 202, 400, 401, 404, 405, 413, 415, 422} {
		require.Greater(t, statuses[status], 20, "%d: the attack is too one-sided: %v", status, statuses)
	}
}

var reference = regexp.MustCompile(`"reference":"(\\.|[^"\\])*"`)

// bases are notifications of every kind, right and wrong.
func bases(t *testing.T) (all [][]byte) {
	for _, dir := range []string{"valid", "mistakes"} {
		files, err := filepath.Glob("../internal/validate/testdata/" + dir + "/*.json")
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var fixture struct{ Submitted json.RawMessage }
			if require.NoError(t, json.Unmarshal(raw, &fixture)); fixture.Submitted != nil {
				raw = fixture.Submitted
			}
			all = append(all, raw)
		}
	}
	return all
}

type attacker struct {
	*rand.Rand
	key   string
	bases [][]byte
}

func (a *attacker) one(of ...string) string { return of[a.IntN(len(of))] }

func (a *attacker) request() *http.Request {
	method, target := http.MethodPost, "/v1/notifications"
	if a.IntN(20) == 0 {
		method = a.one("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", secret)
	}
	if a.IntN(20) == 0 {
		target = a.one("/v1/outbox/"+secret, "/v1/outbox?limit="+secret, "/v1/"+secret, "/v1/notifications/"+secret, "/v1/outbox?"+secret+"=1",
			"/v1/notifications?"+secret, "/v1/outbox/..%2f"+secret, "/%00"+secret, "//v1/notifications", "/v1/notifications/", "/v1/outbox/"+capturedID,
			"/v1/notifications/"+secret+"/cancel", toCancel, toCancel+"?"+secret, "/v1/receipts/"+secret, toReceive, "/v1/inbound/"+secret, toBring, "/v1/notifications?state="+secret, "/v1/notifications?cursor="+secret,
			"/v1/notifications?recipient="+secret+"&reference="+secret, toLook, toLook+"?"+secret, "/v1/stream?id="+secret)
	}
	body := a.body()
	if a.IntN(4) == 0 {
		target, body = batchPath, a.batch()
	}
	u, err := url.Parse(target)
	if err != nil {
		u = &url.URL{Path: target}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Method, r.URL = method, u
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+a.key)
	if a.IntN(10) == 0 {
		a.headers(r)
	}
	if a.IntN(10) == 0 {
		r.ContentLength = -1
	}
	return r
}

func (a *attacker) headers(r *http.Request) {
	name := a.one("Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-Id", "Host", "Origin", "Accept", "Cookie", "X-Forwarded-For", "Traceparent")
	r.Header.Set(name, a.one(secret+" @", secret+"\r\nX-Injected: "+secret, "Bearer "+secret+"!", "Bearer ls_"+a.key[3:11]+"_"+secret, "", strings.Repeat(secret, 500), "application/json; x="+secret, "\x00"+secret))
	if a.IntN(3) == 0 {
		r.Header.Add(name, secret+" again")
	}
	r.Host = a.one(secret+".test", "localhost", "", "["+secret)
}

func (a *attacker) body() string {
	raw := a.bases[a.IntN(len(a.bases))]
	switch a.IntN(10) {
	case 0:
		return a.mangled(string(raw))
	case 1:
		return a.one("", "null", `"`+secret+`"`, secret, "[]", "["+strings.Repeat("[", a.IntN(20_000)), strings.Repeat(`{"a":`, a.IntN(20_000)),
			`{"`+secret+`@":1}`, `{"payload":"`+strings.Repeat(secret, 5_000)+`"}`, strings.Repeat(" ", 70_000), "\xff\xfe"+secret, `<?xml?>`+secret)
	case 2:
		return string(raw)
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return string(raw)
	}
	for range 1 + a.IntN(3) {
		tree = a.mutated(tree, 0)
	}
	changed, err := json.Marshal(tree)
	if err != nil {
		return string(raw)
	}
	return strings.ReplaceAll(string(changed), `"number!"`, a.one("1e999999", "-0", "99999999999999999999999999", "0.1e-400", "1E+5"))
}

// batch is some bodies, one of them perhaps under a key.
func (a *attacker) batch() string {
	items := make([]string, a.IntN(5))
	for i := range items {
		items[i] = a.body()
		if a.IntN(3) == 0 && len(items[i]) > 2 {
			items[i] = `{"idempotency_key":` + a.one(`"k"`, `"`+secret+`"`, `"`+secret+` @"`, "7", "null", `""`, `"\u0000"`) + "," + items[i][1:]
		}
	}
	return a.one(batch(items...), batch(items...), batch(items...)+secret, `{"x@`+secret+`":[],"notifications":[]}`, `{"notifications":{"`+secret+`":1}}`)
}

// mutated gives tree with something in it exchanged for something else.
func (a *attacker) mutated(tree any, depth int) any {
	if depth > 1 && a.IntN(4) == 0 {
		return a.value()
	}
	switch v := tree.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v)) // in order, so that a run can be repeated
		if len(names) == 0 || a.IntN(8) == 0 {
			v[a.one("extra", "Recipient", "__proto__", "payload", "a/b~c", "x@"+secret, strings.Repeat(secret, 5), "\r\n"+secret, "cc", "headers", "data", "from")] = a.value()
			return v
		}
		name := names[a.IntN(len(names))]
		if a.IntN(8) == 0 {
			delete(v, name)
			return v
		}
		v[name] = a.mutated(v[name], depth+1)
		return v
	case []any:
		if len(v) == 0 || a.IntN(4) == 0 {
			return append(v, a.value())
		}
		i := a.IntN(len(v))
		v[i] = a.mutated(v[i], depth+1)
		return v
	case string:
		return v + a.one(secret, "\r\nBcc: "+secret+"@test.example", "\x00"+secret, "\u202e"+secret, strings.Repeat(secret, 100), "<"+secret+">", "@"+secret, "; "+secret)
	default:
		return a.value()
	}
}

func (a *attacker) value() any {
	deep := any(secret)
	for range a.IntN(50) {
		deep = []any{deep}
	}
	return []any{
		nil, true, false, 0, -1, 1.5, "number!", secret, secret + "\r\n", "", "\x00", "👩‍👩‍👧‍👦" + secret, strings.Repeat(secret, 1000),
		[]any{},
		[]any{secret, nil, 1},
		map[string]any{},
		map[string]any{"k": secret},
		map[string]any{"": map[string]any{"": nil}},
		deep, "{{ " + secret + " }}", "'; DROP TABLE " + secret, "${jndi:" + secret + "}",
		"=?utf-8?q?" + secret + "=0D=0A?= <eve@test.example>", secret + "@test.example", "https://" + secret + "/", "+1555765" + secret,
	}[a.IntN(26)]
}

// mangled changes bytes, as a broken client or a fuzzer does.
func (a *attacker) mangled(s string) string {
	b := []byte(s)
	for range 1 + a.IntN(4) {
		i := a.IntN(len(b))
		switch a.IntN(4) {
		case 0:
			b[i] = byte(a.IntN(256))
		case 1:
			b = append(b[:i], b[min(len(b), i+1+a.IntN(20)):]...)
		case 2:
			b = append(b[:i:i], append([]byte(a.one(`"`, `\`, `\u0000`, `\ud800`, "{", "]", ",", "@"+secret, "\x00", "\xc3")), b[i:]...)...)
		case 3:
			b = append(b, b[i:]...)
		}
		if len(b) == 0 {
			return secret
		}
	}
	return string(b)
}
