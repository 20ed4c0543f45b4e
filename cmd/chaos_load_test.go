package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// post is a load of letters: many callers, each with recipients of its own and one letter under way at a time.
type post struct {
	url    string
	seed   uint64
	plain  bool // nothing but letters to be sent at once
	events *events
	most   atomic.Int64 // so many acknowledged that have not ended: the callers wait

	number  atomic.Int64
	mu      sync.Mutex
	letters map[int]*letter
	acked   int
	refused map[string]int // answers other than 202, by what they say
}

const (
	postCallers = 32
	postKeys    = 480
)

func newPost(url string, seed uint64, e *events) *post {
	return &post{url: url, seed: seed, events: e, letters: map[int]*letter{}, refused: map[string]int{}}
}

// run posts until ctx ends.
func (p *post) run(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: postCallers}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var callers sync.WaitGroup
	for caller := range postCallers {
		callers.Go(func() {
			for p.room(ctx) {
				p.write(client, p.draw(caller))
			}
		})
	}
	callers.Wait()
}

func (p *post) room(ctx context.Context) bool {
	for p.waiting() >= int(p.most.Load()) && ctx.Err() == nil {
		during(10 * time.Millisecond)
	}
	return ctx.Err() == nil
}

// waiting is how many have been acknowledged and have not ended.
func (p *post) waiting() int { return p.count() - p.events.ended() }

func (p *post) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// write posts a letter, and cancels it if that is its fate. Nothing is repeated.
func (p *post) write(client *http.Client, l *letter) {
	p.mu.Lock()
	l.posted = time.Now()
	p.letters[l.number] = l
	p.mu.Unlock()
	_, status := p.call(client, "", l.body())
	ack := time.Now()
	if l.twice {
		_, again := p.call(client, "", l.body())
		status = min(status, again) // one 202 is a promise
	}
	if status != http.StatusAccepted {
		during(100 * time.Millisecond)
		return
	}
	p.mu.Lock()
	l.acked = ack
	p.acked++
	p.mu.Unlock()
	if l.cancel {
		if answer, status := p.call(client, "/"+l.id+"/cancel", nil); status == http.StatusOK {
			p.mu.Lock()
			l.effective = answer.EffectiveAt
			p.mu.Unlock()
		}
	}
}

type postAnswer struct {
	Code        string
	EffectiveAt time.Time `json:"effective_at"`
}

// unanswered is the status of what has no answer.
const unanswered = 999

func (p *post) call(client *http.Client, path string, body []byte) (answer postAnswer, status int) {
	response, err := client.Post(p.url+"/v1/notifications"+path, "application/json", bytes.NewReader(body))
	if err == nil {
		defer response.Body.Close()
		var content []byte
		if content, err = io.ReadAll(response.Body); err == nil && json.Unmarshal(content, &answer) == nil && response.StatusCode < 300 {
			return answer, response.StatusCode
		}
		status, answer.Code = response.StatusCode, fmt.Sprintf("%d %s", response.StatusCode, answer.Code)
	}
	if err != nil {
		status, answer.Code = unanswered, "no answer"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[answer.Code]++
	return answer, status
}

// background runs the load until the function it gives is called, which waits for its end.
func (p *post) background(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (p *post) await(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return p.waiting() >= n }, 10*time.Minute, 20*time.Millisecond, "no backlog")
}
