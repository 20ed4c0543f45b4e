package cmd

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const unknownID = "0190163d-8694-739b-aea5-966c26f8ad91"

// awaitState waits until a notification is in that state.
func (p *program) awaitState(id string, state notify.State) (life notify.Life) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		life = notify.Life{}
		return p.get("/v1/notifications/"+id, &life) == http.StatusOK && life.State == state
	}, patience, 20*time.Millisecond, "not %s", state)
	return life
}

// What was accepted is found at once, and its fate soon; so it is after a restart, and what there is not is said at once.
func TestAllKeepsWhatBecameOfNotifications(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	section := "data_dir: " + dir + "\n"
	p := boot(t, "all", section)
	var life notify.Life
	id := p.post(hello)
	began := time.Now()
	require.Equal(t, http.StatusOK, p.get("/v1/notifications/"+id, &life), "read your own write")
	t.Logf("found after %s", time.Since(began))
	life = p.awaitState(id, notify.StateSent)
	require.True(t, life.Final && life.Simulated)
	require.NotEmpty(t, life.Recipient)
	require.NotEmpty(t, life.Payload)
	require.Len(t, life.Timeline, 2)
	require.Equal(t, http.StatusNotFound, p.get("/v1/notifications/"+unknownID, &struct{}{}))
	require.EqualValues(t, 1, p.sum("laudspeaker_recorder_active"))
	require.EqualValues(t, 1, p.sum("laudspeaker_recorder_records_total", `kind="job"`))
	require.EqualValues(t, 1, p.sum("laudspeaker_recorder_records_total", `kind="event"`))

	info, err := os.Stat(filepath.Join(dir, "status.db"))
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "it is nobody else's business")
	require.Zero(t, p.stop())
	p = boot(t, "all", section)
	again := p.awaitState(id, notify.StateSent)
	require.Equal(t, life, again)
	require.Equal(t, http.StatusOK, p.get("/v1/notifications/"+p.post(hello), &life))
}

// A store that cannot be opened stops nothing but those who ask it.
func TestServeAPITakesNotificationsWithoutItsStore(t *testing.T) {
	t.Parallel()
	onEachKafka(t, func(t *testing.T, section string) {
		p := start(t, "serve-api", section+"status: {dsn: 'postgres://u:hunter2@127.0.0.1:1/x'}\n"+
			"gateways: {drill: {type: sim}}\nchannels: {email: {gateways: [drill]}}\n")
		p.awaitLog("topics are there")
		id := p.post(`{"channel":"email","recipient":"ada@example.com","payload":{"from":"a@example.com","subject":"Hello","text":"It works."}}`)
		p.awaitLog("the status store cannot be opened yet; waiting. Notifications are taken and delivered meanwhile")
		code, content := p.getOnce("/v1/notifications/" + id)
		require.Equal(t, http.StatusServiceUnavailable, code)
		require.Contains(t, string(content), `"code":"status-unavailable"`)
		require.Equal(t, http.StatusOK, statusOf(p.Admin+"/livez"))
		require.Contains(t, bodyOf(t, p.Admin+"/readyz"), "status store")
		require.NotContains(t, p.Log.String(), "hunter2")
		require.Zero(t, p.stop())
	})
}

// Two processes of the API on one store: one of them records, the other takes over, and both tell what they took.
func TestAnotherServeAPITakesOverTheRecording(t *testing.T) {
	t.Parallel()
	onEachKafka(t, func(t *testing.T, section string) {
		section += "data_dir: " + filepath.Join(t.TempDir(), "data") + "\ngateways: {drill: {type: sim}}\nchannels: {email: {gateways: [drill]}}\n"
		const mail = `{"channel":"email","recipient":"ada@example.com","payload":{"from":"a@example.com","subject":"Hello","text":"It works."}}`
		one := boot(t, "serve-api", section)
		require.Eventually(t, func() bool { return one.sum("laudspeaker_recorder_active") == 1 }, patience, 10*time.Millisecond)
		two := boot(t, "serve-api", section)
		boot(t, "work --channel email", section)
		first := two.post(mail)
		two.awaitState(first, notify.StateSent)
		require.Zero(t, two.sum("laudspeaker_recorder_active"))
		require.Zero(t, one.stop())
		second := two.post(mail)
		two.awaitState(second, notify.StateSent)
		require.EqualValues(t, 1, two.sum("laudspeaker_recorder_active"))
		two.awaitState(first, notify.StateSent)
	})
}

func TestStatusRebuildFillsTheStoreFromTheTopics(t *testing.T) {
	t.Parallel()
	onEachKafka(t, func(t *testing.T, section string) {
		section += "data_dir: " + filepath.Join(t.TempDir(), "data") + "\n"
		file := filepath.Join(t.TempDir(), "laudspeaker.yaml")
		require.NoError(t, os.WriteFile(file, []byte(section), 0o600))
		rebuild := func(more ...string) (code int, text string) {
			var out bytes.Buffer
			code = Execute(context.Background(), append([]string{"status", "rebuild", "--config", file}, more...), &out, &out)
			return code, out.String()
		}
		p := boot(t, "all", section)
		ids := []string{p.post(hello), p.post(hello), p.post(hello)}
		var before []notify.Life
		for _, id := range ids {
			before = append(before, p.awaitState(id, notify.StateSent))
		}
		code, text := rebuild()
		require.Equal(t, 1, code)
		require.Contains(t, text, "--yes")
		code, text = rebuild("--yes")
		require.Zero(t, code, text)
		require.Contains(t, text, "6 records were read: the status store holds what the topics held")
		for i, id := range ids {
			var life notify.Life
			require.Equal(t, http.StatusOK, p.get("/v1/notifications/"+id, &life))
			require.Equal(t, before[i], life)
		}
		require.Zero(t, p.stop())
		code, text = rebuild("--yes") // nobody is there to fill it
		require.Zero(t, code, text)
		require.Contains(t, text, "0 of 6 records were read")
		p = boot(t, "all", section)
		require.Equal(t, before[2], p.awaitState(ids[2], notify.StateSent))
	})
}
