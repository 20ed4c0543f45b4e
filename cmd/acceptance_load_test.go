package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load posts notifications to the API from many callers at once and remembers what was acknowledged. A caller has
// recipients of its own and posts to each one message after the other, so that their order is known.
type load struct {
	url  string
	body func(key, number int) (body, id string) // id is how the sink will know it
	sink *sink
	most int // so many acknowledged and not delivered: the callers wait

	mu      sync.Mutex
	acked   map[string]string // sink's id → notification's id
	refused []refusal
	broken  int // no answer at all: the API was killed
	slowest time.Duration
}

// refusal is an answer other than 202.
type refusal struct {
	status            int
	kind, retry, code string
	took              time.Duration
}

func newLoad(s *sink, url string, body func(key, number int) (string, string)) *load {
	return &load{url: url, body: body, sink: s, most: min(2000*scale(), 8000), acked: map[string]string{}}
}

// sms and email are the messages that a load posts.
func sms(key, number int) (body, id string) {
	to := fmt.Sprintf("+1415555%04d", key)
	return fmt.Sprintf(`{"channel":"sms","recipient":"%s","payload":{"body":"%d"}}`, to, number), fmt.Sprintf("%s/%d", to, number)
}

func email(key, number int) (body, id string) {
	to := fmt.Sprintf("k%d@example.com", key)
	return fmt.Sprintf(`{"channel":"email","recipient":"%s","payload":{"from":"a@example.com","subject":"%d","text":"Hello"}}`, to, number), fmt.Sprintf("%s/%d", to, number)
}

const (
	callers = 48
	keys    = 480
)

// run posts until ctx ends, or until each key has so many (0: without end).
func (l *load) run(ctx context.Context, each int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for number := 1; each == 0 || number <= each; number++ {
				for key := caller; key < keys; key += callers {
					if !l.room(ctx) {
						return
					}
					if !l.post(client, key, number) {
						during(20 * time.Millisecond)
					}
				}
			}
		})
	}
	wg.Wait()
}

// room waits until the backlog is small enough, and gives false when ctx has ended.
func (l *load) room(ctx context.Context) bool {
	for ctx.Err() == nil {
		if l.backlog() < l.most {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

func (l *load) backlog() int {
	distinct, _ := l.sink.counts()
	return l.count() - distinct
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// post submits one and says whether it was acknowledged. It is not repeated: a repetition is another notification.
func (l *load) post(client *http.Client, key, number int) bool {
	body, id := l.body(key, number)
	began := time.Now()
	response, err := client.Post(l.url+"/v1/notifications", "application/json", bytes.NewReader([]byte(body)))
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.broken++
		return false
	}
	defer response.Body.Close()
	var answer struct{ ID, Code string }
	content, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(content, &answer)
	}
	if response.StatusCode == http.StatusAccepted && err == nil {
		l.acked[id] = answer.ID
		return true
	}
	l.refused = append(l.refused, refusal{response.StatusCode, response.Header.Get("Content-Type"), response.Header.Get("Retry-After"), answer.Code, took})
	return false
}

func (l *load) refusals() []refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]refusal(nil), l.refused...)
}

// background runs the load until the function it gives is called, which waits for its end.
func (l *load) background(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, 0) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// awaitBacklog waits until n acknowledged messages have not been delivered. The sink is slow meanwhile.
func (l *load) awaitBacklog(t testing.TB, n int) {
	t.Helper()
	l.sink.slow.Store(true)
	defer l.sink.slow.Store(false)
	require.Eventually(t, func() bool { return l.backlog() >= n }, patience, 20*time.Millisecond, "no backlog")
}

// missing are acknowledged messages that have not been delivered.
func (l *load) missing() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, notification := range l.acked {
		if !l.sink.has(id) {
			out = append(out, id+" "+notification)
		}
	}
	return out
}

func (l *load) awaitDelivery(t testing.TB) {
	t.Helper()
	if !eventually(patience, func() bool { return len(l.missing()) == 0 }) {
		lost := l.missing()
		t.Fatalf("%d acknowledged messages are not delivered, such as %v", len(lost), lost[:min(len(lost), 10)])
	}
}

func eventually(limit time.Duration, is func() bool) bool {
	for over := time.Now().Add(limit); time.Now().Before(over); <-time.After(100 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}
