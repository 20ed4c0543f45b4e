package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lettersPage is a page of GET /v1/dead-letters.
type lettersPage struct {
	Data       []notify.Letter `json:"data"`
	NextCursor *string         `json:"next_cursor"`
}

// redriveAnswer is that of POST /v1/dead-letters/redrive.
type redriveAnswer struct {
	Redriven int                    `json:"redriven"`
	Skipped  []notify.SkippedLetter `json:"skipped"`
}

// What a relay refused is found, sent again over HTTP once it would take it, and after that left alone.
func TestDeadLettersOverHTTP(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := largeRelay(t)
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		id := p.post(fmt.Sprintf(`{"channel":"email",%s`, fmt.Sprintf(policy, "")[1:]))
		p.awaitState(id, notify.StateRejected)
		var page lettersPage
		require.Equal(t, http.StatusOK, p.get("/v1/dead-letters?code=554&recipient=policy@example.com", &page))
		require.Len(t, page.Data, 1)
		require.Equal(t, []any{id, "p***@Example.COM", 0, false}, []any{page.Data[0].ID, page.Data[0].Recipient, page.Data[0].Run, page.Data[0].Sent})
		require.Nil(t, page.NextCursor)

		r.says(func(string, int, bool) error { return nil })
		redrive := func() (answer redriveAnswer) {
			response, err := http.Post(p.API+"/v1/dead-letters/redrive", "application/json", strings.NewReader(`{"code":"554"}`))
			require.NoError(t, err)
			defer response.Body.Close()
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
			return answer
		}
		require.Equal(t, 1, redrive().Redriven)
		require.Equal(t, 1, p.awaitState(id, notify.StateSent).Run)
		answer := redrive()
		require.Zero(t, answer.Redriven)
		require.Len(t, answer.Skipped, 1)
		require.Equal(t, []string{id, notify.SkipSent}, []string{answer.Skipped[0].ID, answer.Skipped[0].Why})
		require.Len(t, r.taken("policy@example.com"), 1)
		b.requireBatchLeftAlone(p)
	})
}

// requireBatchLeftAlone redrives the letter of a batch that cannot be decoded: the answer says why it is left alone.
func (b *bus) requireBatchLeftAlone(p *program) {
	t := b.t
	desk := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: b.prefix, Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
	b.publish(desk.Undecodable(&kafka.UndecodableBatch{Record: &kafka.Record{Topic: b.prefix + "email_topic", Offset: 1 << 40, Value: []byte("\x00\x01")}, LastOffset: 1 << 40}))
	response, err := http.Post(p.API+"/v1/dead-letters/redrive", "application/json", strings.NewReader(`{"reason":"undecodable_batch"}`))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var answer redriveAnswer
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Zero(t, answer.Redriven)
	require.Len(t, answer.Skipped, 1)
	require.Equal(t, notify.SkipBatch, answer.Skipped[0].Why)
}
