package producer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScopes(t *testing.T) {
	sendKey, send := GenerateKey("shop", ScopeSend)
	bothKey, both := GenerateKey("shop", ScopeSend, ScopeRead)
	adminKey, admin := GenerateKey("ops", ScopeAdmin)
	log := &journal{}
	s := newServer(t, Config{Keys: []Key{send, both, admin}, Outbox: fakeOutbox{}, Log: log.logger()})
	for key, want := range map[string][2]int{sendKey: {202, 403}, bothKey: {202, 200}, adminKey: {202, 200}, "": {401, 401}} {
		for i, r := range []*http.Request{request(http.MethodPost, "/v1/notifications", sound), request(http.MethodGet, "/v1/outbox", "")} {
			r.Host = "api.test.example" // with keys, any name and any page will do
			r.Header.Set("Origin", "https://page.test.example")
			r.Header.Set("Authorization", "bearer  "+key)
			answer, _ := do(t, s, r)
			require.Equal(t, want[i], answer.StatusCode)
			require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"))
		}
	}
	require.Contains(t, log.text(), `"key":"`+send.ID+`"`)
	require.NotContains(t, log.text(), sendKey)
	require.NotContains(t, log.text(), send.SHA256)
}

func TestOnlyOneWholeKeyIsTaken(t *testing.T) {
	key, held := GenerateKey("shop", ScopeSend)
	s := newServer(t, Config{Keys: []Key{held}})
	upper := strings.ToUpper(key)
	for _, authorizations := range [][]string{
		{},
		{""},
		{"Bearer"},
		{"Bearer "},
		{key},
		{"Bearer " + key, "Bearer " + key},
		{"Bearer " + key[:len(key)-1]},
		{"Bearer " + upper},
		{"Bearer ls_" + held.ID},
		{"Bearer ls_" + held.ID + "_"},
		{"Bearer ls__"},
		{"Bearer _"},
		{"Bearer " + key + " "},
		{"Bearer sk" + key[2:]},
		{"Token " + key},
		{"Bearer " + held.SHA256},
		{"Bearer ls_" + held.ID + "_" + held.SHA256},
	} {
		r := request(http.MethodPost, "/v1/notifications", sound)
		r.Header["Authorization"] = authorizations
		answer, _ := do(t, s, r)
		require.Equal(t, http.StatusUnauthorized, answer.StatusCode, authorizations)
	}
}

func TestKeylessServesThisHostOnly(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		behindProxy  bool
		status       int
	}{
		{"localhost", "", false, 202},
		{"localhost:8080", "http://localhost:3000", false, 202},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", false, 202},
		{"[::1]:8080", "http://[::1]:8080", false, 202},
		{"[::1]", "", false, 202},
		{"", "", false, 403},
		{"rebound.test.example", "", false, 403},
		{"rebound.test.example:8080", "http://rebound.test.example:8080", false, 403},
		{"localhost.test.example", "", false, 403},
		{"192.0.2.7:8080", "", false, 403},
		{"localhost", "https://page.test.example", false, 403},
		{"localhost", "null", false, 403},
		{"localhost", "http://localhost.test.example", false, 403},
		{"localhost", "%zz", false, 403},
		{"api.test.example", "", true, 202},
		{"api.test.example", "https://api.test.example", true, 202},
		{"api.test.example", "https://page.test.example", true, 403},
		{"api.test.example", "null", true, 403},
	} {
		s := newServer(t, Config{AllowAnonymous: c.behindProxy})
		r := request(http.MethodPost, "/v1/notifications", sound)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		answer, _ := do(t, s, r)
		require.Equal(t, c.status, answer.StatusCode, "%+v", c)
	}
	s := newServer(t, Config{})
	r := request(http.MethodGet, "/openapi.json", "")
	r.Host = "rebound.test.example"
	answer, _ := do(t, s, r)
	require.Equal(t, http.StatusForbidden, answer.StatusCode, "every route is guarded")
}

func TestCheckListen(t *testing.T) {
	for _, c := range []struct {
		address         string
		keys, anonymous bool
		ok              bool
	}{
		{"127.0.0.1:8080", false, false, true},
		{"localhost:8080", false, false, true},
		{"[::1]:8080", false, false, true},
		{"0.0.0.0:8080", false, false, false},
		{":8080", false, false, false},
		{"[::]:8080", false, false, false},
		{"192.0.2.7:8080", false, false, false},
		{"api.test.example:8080", false, false, false},
		{"0.0.0.0:8080", true, false, true},
		{"0.0.0.0:8080", false, true, true},
		{"8080", true, true, false},
	} {
		err := CheckListen(c.address, c.keys, c.anonymous)
		require.Equal(t, c.ok, err == nil, c.address)
	}
	require.EqualError(t, CheckListen("0.0.0.0:8080", false, false),
		"api.listen 0.0.0.0:8080 can be reached from other hosts and there are no API keys: "+
			"add one to api.keys (laudspeaker keys generate NAME), or set api.allow_anonymous: true behind a proxy of your own")
	require.ErrorContains(t, CheckListen("8080", true, true), "missing port in address")
}

func TestGenerateKey(t *testing.T) {
	key, held := GenerateKey("shop", ScopeSend, ScopeRead)
	require.Regexp(t, `^ls_[a-z2-7]{8}_[a-z2-7]{59}$`, key)
	require.Equal(t, strings.Split(key, "_")[1], held.ID)
	require.Equal(t, "shop", held.Name)
	require.Equal(t, []Scope{ScopeSend, ScopeRead}, held.Scopes)
	require.Len(t, held.SHA256, 64)
	require.NotContains(t, key, held.SHA256)
	other, _ := GenerateKey("shop", ScopeSend)
	require.NotEqual(t, key, other)

	require.True(t, Whole(key))
	for _, damaged := range []string{"", "ls_", key[1:], key[:len(key)-1], key + "a", strings.Replace(key, "_", "-", 1), key[:20] + string(key[20]^1) + key[21:]} {
		require.False(t, Whole(damaged), damaged)
	}
}

// TestKeyFaults: the server does not start with keys that it could not hold to.
func TestKeyFaults(t *testing.T) {
	_, sound := GenerateKey("shop", ScopeSend)
	for want, change := range map[string]func(*Key){
		"id must be":         func(k *Key) { k.ID = "" },
		"first two under":    func(k *Key) { k.ID = "a_b" },
		"64 hex digits":      func(k *Key) { k.SHA256 = k.SHA256[2:] },
		"64 hex digits, as ": func(k *Key) { k.SHA256 += "00" },
		"sha256 must be":     func(k *Key) { k.SHA256 = strings.Repeat("x", 64) },
		"scopes must name":   func(k *Key) { k.Scopes = nil },
		"scopes are send":    func(k *Key) { k.Scopes = []Scope{ScopeSend, "write"} },
		"the same id":        func(*Key) {},
	} {
		key := sound
		change(&key)
		_, err := New(Config{Keys: []Key{{ID: sound.ID, SHA256: sound.SHA256, Scopes: sound.Scopes}, key}})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "api.keys, entry 2")
		require.NotContains(t, err.Error(), sound.SHA256)
	}
}
