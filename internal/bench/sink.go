package bench

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Profile is how a sink behaves.
type Profile struct {
	Latency time.Duration `json:"latency"`
	Faults  Faults        `json:"faults"`
}

// Faults are the shares of the requests that a sink does not accept.
type Faults struct {
	Transient float64 `json:"transient"` // 451, 503: the message is sent again
	Throttled float64 `json:"throttled"` // 421, 429: the sink asks to slow down
	Rejected  float64 `json:"rejected"`  // 554, 400: for good
}

// ParseFaults reads --sink-fail: a share, which is of transient faults, or kind=share separated by commas.
func ParseFaults(text string) (f Faults, err error) {
	if text == "" {
		return f, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		kind, share, ok := strings.Cut(part, "=")
		if !ok {
			kind, share = "transient", part
		}
		v, err := strconv.ParseFloat(share, 64)
		if err != nil || v < 0 || v >= 1 {
			return f, fmt.Errorf("--sink-fail: %q is no share from 0 to below 1, such as 0.01", share)
		}
		switch kind {
		case "transient":
			f.Transient = v
		case "throttled":
			f.Throttled = v
		case "rejected":
			f.Rejected = v
		default:
			return f, fmt.Errorf("--sink-fail knows transient, throttled and rejected, such as transient=0.01,rejected=0.001; %q is none of them", kind)
		}
	}
	if f.Transient+f.Throttled+f.Rejected >= 1 {
		return f, errors.New("--sink-fail: the shares together must stay below 1")
	}
	return f, nil
}

// verdict is what a sink makes of a request.
type verdict int

const (
	accepted verdict = iota
	transient
	throttled
	rejected
)

func (f Faults) draw() verdict {
	if f == (Faults{}) {
		return accepted
	}
	switch x := rand.Float64(); {
	case x < f.Transient:
		return transient
	case x < f.Transient+f.Throttled:
		return throttled
	case x < f.Transient+f.Throttled+f.Rejected:
		return rejected
	}
	return accepted
}

// Taken is what a sink knows of each message, by its number.
type Taken struct {
	First    []int64 // nanoseconds since 1970 at which it was first accepted; 0: it was not
	Times    []uint8 // how often it was accepted, 255 at most
	Rejected []bool
}

func (t *Taken) grow(n int) {
	for len(t.First) <= n {
		more := max(n+1-len(t.First), len(t.First), 1024)
		t.First = append(t.First, make([]int64, more)...)
		t.Times = append(t.Times, make([]uint8, more)...)
		t.Rejected = append(t.Rejected, make([]bool, more)...)
	}
}

// Counts is how far a sink has come.
type Counts struct {
	Ended  int   `json:"ended"`  // different messages that were accepted or rejected
	First  int64 `json:"first"`  // nanoseconds since 1970 of the first and the last message that ended
	Last   int64 `json:"last"`   //
	Faults int   `json:"faults"` // requests that were not accepted
}

// target takes messages in; it is what SMTP and HTTP of a sink share.
type target struct {
	Profile
	mu     sync.Mutex
	taken  Taken
	counts Counts
}

// take judges the message in content, after the latency of the sink.
func (t *target) take(content []byte) verdict {
	v := t.Faults.draw()
	if t.Latency > 0 {
		time.Sleep(t.Latency)
	}
	number := numberIn(content)
	if number < 0 {
		return rejected
	}
	now := time.Now().UnixNano()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken.grow(number)
	ended := t.taken.Times[number] == 0 && !t.taken.Rejected[number]
	switch v {
	case accepted:
		if t.taken.Times[number] == 0 {
			t.taken.First[number] = now
		}
		t.taken.Times[number] += min(1, 255-t.taken.Times[number])
	case rejected:
		t.taken.Rejected[number] = true
		t.counts.Faults++
	case transient, throttled:
		t.counts.Faults++
		return v
	}
	if ended {
		t.counts.Ended++
		t.counts.Last = now
		if t.counts.First == 0 {
			t.counts.First = now
		}
	}
	return v
}

// runSink serves an SMTP relay, Twilio's Messages API and FCM's HTTP v1 API, as far as the gateways use them.
func runSink(ctx context.Context, profile Profile, p *parent) error {
	t := &target{Profile: profile}
	var listeners [3]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		listeners[i] = l
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2010-04-01/Accounts/{account}/Messages.json", t.twilio)
	mux.HandleFunc("POST /v1/projects/{project}/{method}", t.fcm)
	questions := http.NewServeMux()
	questions.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		_ = json.NewEncoder(w).Encode(t.counts) // who asked has left
	})
	questions.HandleFunc("GET /taken", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		_ = gob.NewEncoder(w).Encode(t.taken) // who asked has left
	})
	for i, handler := range []http.Handler{mux, questions} {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listeners[i]) }() // it ends with the process
		defer server.Close()
	}
	go t.relay(listeners[2])
	address := func(i int) string { return listeners[i].Addr().String() }
	if err := p.tell(addresses{HTTP: address(0), Address: address(1), SMTP: address(2)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (t *target) twilio(w http.ResponseWriter, r *http.Request) {
	v, ok := t.request(w, r)
	if !ok {
		return
	}
	status, answer := http.StatusCreated, `{"sid":"SM00000000000000000000000000000001","status":"queued"}`
	switch v {
	case accepted:
	case transient:
		status, answer = http.StatusServiceUnavailable, `{"code":20500,"message":"try again","status":503}`
	case throttled:
		status, answer = http.StatusTooManyRequests, `{"code":20429,"message":"Too Many Requests","status":429}`
	case rejected:
		status, answer = http.StatusBadRequest, `{"code":21617,"message":"The message body is too long","status":400}`
	}
	reply(w, status, answer)
}

func (t *target) fcm(w http.ResponseWriter, r *http.Request) {
	v, ok := t.request(w, r)
	if !ok {
		return
	}
	status, answer := http.StatusOK, `{"name":"projects/bench/messages/1"}`
	switch v {
	case accepted:
	case transient:
		status, answer = http.StatusServiceUnavailable, `{"error":{"code":503,"message":"try again","status":"UNAVAILABLE"}}`
	case throttled:
		status, answer = http.StatusTooManyRequests, `{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}`
	case rejected:
		status, answer = http.StatusBadRequest, `{"error":{"code":400,"message":"The message is invalid","status":"INVALID_ARGUMENT"}}`
	}
	reply(w, status, answer)
}

func (t *target) request(w http.ResponseWriter, r *http.Request) (v verdict, ok bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return 0, false
	}
	return t.take(body), true
}

func reply(w http.ResponseWriter, status int, answer string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// sink is a sink process, as a run sees it.
type sink struct{ *process }

func (s *stage) newSink(ctx context.Context, profile Profile) (*sink, error) {
	p, err := s.helper(ctx, "sink", sinkHelper, profile)
	return &sink{p}, err
}

func (k *sink) counts(ctx context.Context) (c Counts, err error) {
	_, body, err := get(ctx, "http://"+k.at.Address+"/counts")
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(body, &c)
}

func (k *sink) takenAll(ctx context.Context) (t Taken, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.at.Address+"/taken", nil)
	if err != nil {
		return t, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return t, err
	}
	defer response.Body.Close()
	return t, gob.NewDecoder(response.Body).Decode(&t)
}

// judge compares what was accepted with what the sink has taken. acceptedAt is 0 for a number that was not accepted; a message
// that the sink has taken although it was not accepted counts as delivered only.
func (t *Taken) judge(acceptedAt []int64) (a Audit) {
	t.grow(len(acceptedAt))
	for number, at := range acceptedAt {
		if at != 0 {
			a.Accepted++
		}
		switch {
		case t.Times[number] > 0:
			a.Delivered++
			a.Duplicated += int(t.Times[number]) - 1
		case t.Rejected[number]:
			a.Rejected++
		case at != 0:
			a.Lost++
		}
	}
	return a
}
