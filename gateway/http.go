package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxWait bounds the time in a Retry-After header: a longer time is a mistake of the provider.
const maxWait = 24 * time.Hour

// NewTransport returns a transport for the connections of one gateway to its provider. CloseIdleConnections closes them.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// The default of 2 opens a connection for almost every message when many are in flight.
		MaxIdleConnsPerHost: 256,
		// Shorter than the idle timeout of common load balancers (60 s): if a load balancer closes a connection during a write,
		// the message becomes ambiguous without need.
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// BaseURL parses the address of an API from the configuration. Credentials go there, so it must be https unless on loopback. The
// errors do not quote raw, which may contain a password.
func BaseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("is not an address such as https://api.example.com")
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password; set the credentials in their own fields")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must end with the path, without ? or #")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("must begin with https://; http:// is only for an address on loopback")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// RetryAfter returns how long a provider asks to wait, in seconds or as a date (RFC 9110 §10.2.3); 0 without a valid header.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxWait)
}
