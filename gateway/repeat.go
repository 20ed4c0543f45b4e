package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxRewinds bounds how often one request's body may be begun anew; a repeat does so once or twice. Without it, a server that
// ends every connection by a GOAWAY would be dialled as fast as it answers until the attempt's time is over.
const maxRewinds = 6

// errUnprocessed: the provider has refused to look at a request so often that we stop.
var errUnprocessed = errors.New("the provider ends connections before it looks at the request")

// watchRepeats lets unprocessed know when the transport begins req anew, which it does on its own with what the server says
// it has not looked at: a stream above the last one of a GOAWAY (RFC 9113 §6.8), a stream refused (§8.7). It also repeats one
// that was reset with PROTOCOL_ERROR, which promises less; that is Go's choice (golang.org/issue/47635) and cannot be told
// apart here.
func watchRepeats(req *http.Request, unprocessed func()) {
	get, rewinds := req.GetBody, 0
	if get == nil {
		return
	}
	req.GetBody = func() (io.ReadCloser, error) { // called by the goroutine of RoundTrip
		unprocessed()
		if rewinds++; rewinds > maxRewinds {
			return nil, errUnprocessed
		}
		return get()
	}
}

// goneAway reports whether err is that of a connection's first stream that a GOAWAY with an error has left out. It is the
// one such stream that the transport does not repeat, and its error has no type.
func goneAway(err error) bool {
	return strings.HasPrefix(err.Error(), "http2: Transport received GOAWAY from server ErrCode:")
}
