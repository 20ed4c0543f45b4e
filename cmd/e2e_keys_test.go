package cmd

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// keyed submits body to path, under a key unless that is empty, and decodes the answer.
func (p *program) keyed(path, key, body string, answer any) *http.Response {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.API+path, strings.NewReader(body))
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(p.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	require.NoError(p.t, json.Unmarshal(content, answer), "%s", content)
	return response
}

// What is submitted twice under one key is sent once, over a restart too, alone and in a batch.
func TestAKeyedNotificationIsSentOnce(t *testing.T) {
	t.Parallel()
	section := "data_dir: " + filepath.Join(t.TempDir(), "data") + "\n"
	p := boot(t, "all", section)
	type answer struct {
		ID        string
		Status    int
		Duplicate bool
		Problem   struct{ Code string }
	}
	var first, again answer
	require.Equal(t, http.StatusAccepted, p.keyed("/v1/notifications", "order-7", hello, &first).StatusCode)
	p.awaitState(first.ID, notify.StateSent)
	require.Zero(t, p.stop())
	p = boot(t, "all", section)
	spelt := strings.NewReplacer(`:{`, " : {\n", `"Hello"`, `"\u0048ello"`).Replace(hello)
	require.Equal(t, "true", p.keyed("/v1/notifications", "order-7", spelt, &again).Header.Get("Idempotency-Replayed"))
	require.Equal(t, first.ID, again.ID)

	var batch struct{ Results []answer }
	response := p.keyed("/v1/notifications/batch", "", `{"notifications":[`+strings.Join([]string{
		`{"idempotency_key":"order-7",` + hello[1:], `{"idempotency_key":"order-8",` + hello[1:], `{"idempotency_key":"order-8",` + hello[1:],
		`{"idempotency_key":"order-7","lane":"bulk",` + hello[1:], hello, `{}`,
	}, ",")+`]}`, &batch)
	require.Equal(t, http.StatusOK, response.StatusCode)
	r := batch.Results
	require.Equal(t, []int{202, 202, 202, 422, 202, 422}, []int{r[0].Status, r[1].Status, r[2].Status, r[3].Status, r[4].Status, r[5].Status})
	require.Equal(t, []bool{true, false, true, false}, []bool{r[0].Duplicate, r[1].Duplicate, r[2].Duplicate, r[4].Duplicate})
	require.Equal(t, []string{first.ID, r[1].ID}, []string{r[0].ID, r[2].ID})
	require.Equal(t, "idempotency-mismatch", r[3].Problem.Code)
	for _, id := range []string{r[1].ID, r[4].ID} {
		p.awaitState(id, notify.StateSent)
	}
	var captured struct{ Data []notify.Captured }
	require.Equal(t, http.StatusOK, p.get("/v1/outbox", &captured))
	require.Len(t, captured.Data, 3)
}

// Without its store the API refuses what has a key, and nothing else.
func TestKeysWithoutTheStore(t *testing.T) {
	t.Parallel()
	onEachKafka(t, func(t *testing.T, section string) {
		p := start(t, "serve-api", section+"status: {dsn: 'postgres://u:p@127.0.0.1:1/x'}\ngateways: {drill: {type: sim}}\nchannels: {email: {gateways: [drill]}}\n")
		p.awaitLog("topics are there")
		mail := strings.Replace(hello, `{"subject"`, `{"from":"a@example.com","subject"`, 1)
		p.post(mail)
		var problem struct{ Code string }
		response := p.keyed("/v1/notifications", "order-7", mail, &problem)
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		require.Equal(t, "5", response.Header.Get("Retry-After"))
		require.Equal(t, "status-unavailable", problem.Code)
	})
}
