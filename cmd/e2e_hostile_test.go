package cmd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	unending = "Content-Length: 9999"

	hostile = 10_000
	planted = "zq9_do_not_repeat" // in whatever an attacker chooses, though it is no domain, which logs show; no log may hold it
)

// strike sends requests, each on a connection of its own, and counts the answers; 0 is none at all.
func strike(t *testing.T, address string, requests []string) map[int]int {
	var mu sync.Mutex
	statuses := map[int]int{}
	var next atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(requests); i = next.Add(1) - 1 {
				status, answer := exchangeRaw(address, requests[i])
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				if status >= 500 && status != http.StatusHTTPVersionNotSupported {
					t.Errorf("%.2000q\nis answered with %d\n%.2000s", requests[i], status, answer)
				}
			}
		})
	}
	all.Wait()
	return statuses
}

func exchangeRaw(address, request string) (status int, answer string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return http.StatusServiceUnavailable, err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, request) // fails when the answer comes before the request has ended
	if strings.Contains(request, unending) {
		_ = conn.(*net.TCPConn).CloseWrite() // what was announced does not come
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, fmt.Sprint(response.Header) + string(body)
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		key, line := newKey(t, "shop")
		p := boot(t, "all", "api:\n  keys:\n    "+line+"\n"+simulated(b))
		a := newAttacker(t, 1)
		requests := make([]string, hostile)
		for i := range requests {
			requests[i] = a.wire(key, a.body())
		}
		statuses := strike(t, strings.TrimPrefix(p.API, "http://"), requests)
		for _, status := range []int{202, 400, 401, 404, 413, 415, 422} {
			require.Positive(t, statuses[status], "the attack is too one-sided: %v", statuses)
		}
		require.Less(t, statuses[0], hostile/50, "answers are missing: %v", statuses)
		t.Log(statuses)

		b.awaitOutcomes(p, statuses[202], statuses[202]+statuses[0]) // what had no answer may have been accepted
		states := b.requireAccounts()
		t.Log(states)
		require.Positive(t, states[notify.StateScheduled], "the attack is too one-sided: %v", states)
		require.Greater(t, states[notify.StateSent], hostile/50, "the attack is too one-sided: %v", states)
		for _, topic := range channelTopics {
			b.noDeadLetters(topic) // what the API takes, a worker finds valid
		}
		require.Equal(t, http.StatusOK, statusOf(p.Admin+"/readyz"))
		for _, secret := range []string{planted, key[12:]} {
			require.NotContains(t, p.Log.String(), secret)
		}
	})
}
