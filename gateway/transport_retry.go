package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxTransportRetries bounds how often the transport may read the body of one request again; one retry does so once or twice.
// Without the bound, a server that ends every connection with a GOAWAY would be dialled without a pause until the attempt's
// deadline.
const maxTransportRetries = 6

// errUnprocessed is the error after maxTransportRetries.
var errUnprocessed = errors.New("the provider ends connections before it looks at the request")

// watchTransportRetries calls unprocessed whenever the transport retries req. The transport does so by itself for a stream that the
// server has not processed: one above the last stream of a GOAWAY (RFC 9113 §6.8), or a refused stream (§8.7). It also retries a
// stream that was reset with PROTOCOL_ERROR, which the server may have processed. That is Go's choice (golang.org/issue/47635), and
// the cases cannot be distinguished here.
func watchTransportRetries(req *http.Request, unprocessed func()) {
	get, retries := req.GetBody, 0
	if get == nil {
		return
	}
	req.GetBody = func() (io.ReadCloser, error) { // called by the goroutine of RoundTrip
		unprocessed()
		retries++
		if retries > maxTransportRetries {
			return nil, errUnprocessed
		}
		return get()
	}
}

// isGoAway reports whether err is the error of the first stream of a connection that a GOAWAY with an error code left unprocessed.
// It is the only such stream that the transport does not retry, and its error has no type.
func isGoAway(err error) bool {
	return strings.HasPrefix(err.Error(), "http2: Transport received GOAWAY from server ErrCode:")
}
