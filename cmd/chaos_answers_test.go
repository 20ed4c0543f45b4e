package cmd

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// manner is what a provider does with one request.
type manner string

const (
	takes     manner = "takes it"                      // 201
	busy      manner = "is unavailable"                // 503
	rejects   manner = "finds it too long"             // 400, for good
	throttles manner = "asks to wait"                  // 429
	refusesUs manner = "does not know the password"    // 401
	hangs     manner = "hangs"                         // says nothing until the client gives up
	swallows  manner = "takes it and hangs"            // the same, and has it
	resets    manner = "resets before it has read"     // the connection is gone, and nothing was taken
	loses     manner = "takes it and resets"           // the answer is lost
	cuts      manner = "takes it and cuts its answer"  // half a body, then a reset
	babbles   manner = "takes it and answers nonsense" // 200 and a page of HTML
	drips     manner = "takes it and answers slowly"   // byte after byte
)

// taken says that the provider has the message.
func (m manner) taken() bool {
	switch m {
	case takes, swallows, loses, cuts, babbles, drips:
		return true
	default:
		return false
	}
}

// clear says that the client knows afterwards whether it was taken.
func (m manner) clear() bool {
	switch m {
	case takes, busy, rejects, throttles, refusesUs, drips:
		return true
	default:
		return false
	}
}

// mix is how often a provider does what, in per mille of its requests; what is left over it takes.
type mix map[manner]int

// badDay is the provider of the task: 30 % transient, 10 % throttled, 1 % hangs, 2 % lost, and a little of everything else.
func badDay() mix {
	return mix{busy: 300, throttles: 100, hangs: 5, swallows: 5, loses: 20, resets: 5, cuts: 5, babbles: 5, drips: 10}
}

// order is the order in which a mix is read: a map has none, and a seed has to give the same run again.
var order = []manner{busy, throttles, hangs, swallows, loses, resets, cuts, babbles, drips, rejects}

// draw decides about the nth request of a message. It depends on nothing else, so that a message meets the same fate in
// every run of a seed.
func (m mix) draw(seed uint64, message, nth int) manner {
	n := rand.New(rand.NewPCG(seed, uint64(message)<<16|uint64(nth))).IntN(1000)
	for _, of := range order {
		if n -= m[of]; n < 0 {
			return of
		}
	}
	return takes
}

// answer does what m says. It has read the request: what matters is what the client sees of it.
func (m manner) answer(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	switch m {
	case hangs, swallows:
		<-r.Context().Done()
	case resets, loses:
		reset(w, "")
	case cuts:
		reset(w, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 70\r\n\r\n{\"sid\":\"SM000")
	case babbles:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><body>Welcome to the guest network</body></html>")
	case drips:
		drip(w)
	case busy:
		refuse(w, http.StatusServiceUnavailable, 20503)
	case rejects:
		refuse(w, http.StatusBadRequest, 21617)
	case throttles:
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
		refuse(w, http.StatusTooManyRequests, 20429)
	case refusesUs:
		refuse(w, http.StatusUnauthorized, 20003)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, created)
	}
}

const created = `{"sid":"SM00000000000000000000000000000001","status":"queued"}`

func refuse(w http.ResponseWriter, status, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": "no", "status": status})
}

// reset writes what is given and then tears the connection down.
func reset(w http.ResponseWriter, first string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, first)
	if tcp, ok := conn.(*net.TCPConn); ok && first == "" {
		_ = tcp.SetLinger(0) // RST; after a first part it would take that back
	}
	_ = conn.Close()
}

func drip(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	for i := range created {
		_, _ = io.WriteString(w, created[i:i+1])
		if i%8 == 0 {
			_ = http.NewResponseController(w).Flush()
			during(20 * time.Millisecond)
		}
	}
}
