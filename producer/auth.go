package producer

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// admit lets a request through that carries a key with the scope, or that needs none. A proxy may keep the public name: what
// only a signature lets in is let in under that name, and nothing else is.
func (s *Server) admit(x *exchange, rt route) error {
	scope := rt.scope
	if rt.signed && s.cfg.PublicHost != "" && strings.EqualFold(x.r.Host, s.cfg.PublicHost) {
		return nil
	}
	if len(s.cfg.Keys) == 0 {
		return s.admitKeyless(x.r)
	}
	if scope == "" {
		return nil
	}
	key, ok := s.keys.find(bearer(x.r.Header))
	if !ok {
		return refuse(codeUnauthorized, "send Authorization: Bearer and a key: laudspeaker keys generate NAME makes one").
			with("WWW-Authenticate", `Bearer realm="laudspeaker"`)
	}
	x.key = key.ID
	x.log(zap.String("key", key.ID))
	if !key.may(scope) {
		return refuse(codeForbidden, "use a key with the scope "+string(scope))
	}
	return nil
}

func bearer(h http.Header) string {
	if len(h.Values("Authorization")) != 1 {
		return ""
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(key, " ")
}

// admitKeyless keeps web pages out: without keys whoever reaches the port may send, and a page that the user of this
// host opens can reach it, under the name of its own host if that name is made to lead here (DNS rebinding).
//
// Behind a proxy (AllowAnonymous) the host's name is the proxy's business; a page must still come from that host.
func (s *Server) admitKeyless(r *http.Request) error {
	if !s.cfg.AllowAnonymous && !validate.Loopback(hostname(r.Host)) {
		return refuse(codeForbidden, "call this server as localhost: it has no API keys and serves this host only")
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || !validate.Loopback(u.Hostname()) && (!s.cfg.AllowAnonymous || u.Host != r.Host) {
			return refuse(codeForbidden, "call this server from a program: it has no API keys and takes nothing from pages of other hosts")
		}
	}
	return nil
}

// hostname takes the port off.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// CheckListen refuses to serve other hosts without keys, in one sentence with both remedies.
func CheckListen(address string, keys, allowAnonymous bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("api.listen must be host:port, such as 127.0.0.1:8080: %w", err)
	}
	if keys || allowAnonymous || validate.Loopback(host) {
		return nil
	}
	return fmt.Errorf("api.listen %s can be reached from other hosts and there are no API keys: "+
		"add one to api.keys (laudspeaker keys generate NAME), or set api.allow_anonymous: true behind a proxy of your own", address)
}
