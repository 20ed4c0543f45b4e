package cmd

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// statsPage is GET /v1/stats.
type statsPage struct {
	Channels []notify.ChannelStats
	Totals   struct{ Backlog, Waiting *int64 }
}

// lane waits until the figures of a lane of email are as wanted.
func (p *program) lane(lane notify.Lane, wanted func(notify.LaneDrain) bool) (found notify.LaneDrain) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var page statsPage
		require.Equal(p.t, http.StatusOK, p.get("/v1/stats", &page))
		for _, c := range page.Channels {
			for _, l := range c.Lanes {
				if c.Channel == notify.ChannelEmail && l.Lane == lane {
					found = l
				}
			}
		}
		return found.Lane != "" && wanted(found)
	}, patience, 100*time.Millisecond, "%+v", &found)
	return found
}

func (p *program) submit(path, body string, answer any) (status int, header http.Header) {
	p.t.Helper()
	response, err := http.Post(p.API+path, "application/json", strings.NewReader(body))
	require.NoError(p.t, err)
	defer response.Body.Close()
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(answer))
	return response.StatusCode, response.Header
}

// A campaign is measured while it drains; beyond the limit more of it is refused, one by one, and nothing else.
func TestBulkIsShedBeforeUrgentIsHurt(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "all", "api: {listen: '127.0.0.1:0', shed_bulk_after: 1m}\n"+
			yaml(b, map[string]string{"sim": "type: sim, latency: 0s, rate: 20/s"}, map[string]string{"email": "gateways: [sim]", "sms": "gateways: [sim]"}))
		p.post(hello)
		p.lane(notify.LaneBulk, func(l notify.LaneDrain) bool { return l.Backlog == 0 && l.DrainSeconds != nil })
		bulk := strings.Replace(hello, "{", `{"lane":"bulk",`, 1)
		campaign := `{"notifications":[` + strings.Repeat(bulk+",", 999) + bulk + "]}"
		var results struct {
			Results []struct {
				Status  int
				Problem struct{ Code string }
			}
		}
		for n := range 4 {
			status, _ := p.submit("/v1/notifications/batch", campaign, &results)
			require.Equal(t, http.StatusOK, status)
			if results.Results[0].Status == http.StatusTooManyRequests && n > 1 {
				break // so slow is the machine that the drain of the first two thousand has been measured
			}
			require.Equal(t, http.StatusAccepted, results.Results[0].Status)
		}
		l := p.lane(notify.LaneBulk, func(l notify.LaneDrain) bool { return l.Shedding })
		require.Greater(t, *l.DrainSeconds, 60.0)
		require.Greater(t, l.Rate, 0.0)
		require.NotNil(t, l.OldestSeconds)
		require.EqualValues(t, 1, p.sum("laudspeaker_shedding", `channel="email"`))

		var problem struct{ Code string }
		status, header := p.submit("/v1/notifications", bulk, &problem)
		require.Equal(t, http.StatusTooManyRequests, status)
		require.Equal(t, "shedding", problem.Code)
		wait, err := strconv.Atoi(header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, wait)
		status, _ = p.submit("/v1/notifications/batch", `{"notifications":[`+bulk+","+hello+"]}", &results)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, []int{429, 202}, []int{results.Results[0].Status, results.Results[1].Status})

		var accepted struct{ Drain *notify.Drain }
		status, _ = p.submit("/v1/notifications", strings.Replace(hello, "{", `{"lane":"urgent",`, 1), &accepted)
		require.Equal(t, http.StatusAccepted, status)
		require.NotNil(t, accepted.Drain)
		var sms struct{ ID string }
		status, _ = p.submit("/v1/notifications", `{"lane":"bulk","channel":"sms","recipient":"+14155550100","payload":{"body":"Hello"}}`, &sms)
		require.Equal(t, http.StatusAccepted, status, "another channel's bulk")
	})
}
