package cmd

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const hello = `{"channel":"email","recipient":"ada@example.com","payload":{"subject":"Hello","text":"It works."}}`

type outboxPage struct {
	Data []notify.Captured `json:"data"`
}

// captured waits until the outbox holds n messages.
func (p *program) captured(n int) []notify.Captured {
	p.t.Helper()
	var page outboxPage
	require.Eventually(p.t, func() bool {
		page = outboxPage{}
		p.get("/v1/outbox?limit=500", &page)
		return len(page.Data) >= n
	}, patience, 20*time.Millisecond, "captured: %d of %d", len(page.Data), n)
	require.Len(p.t, page.Data, n)
	return page.Data
}

// Without any setting: one command, a message, and it is seen.
func TestAllWithoutSettingsCaptures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := boot(t, "all", "data_dir: "+dir)
	require.Eventually(t, func() bool { return p.Stdout.String() != "" }, patience, 10*time.Millisecond)
	ready := p.Stdout.String()
	require.Equal(t, 1, strings.Count(ready, "\n"), ready)
	require.True(t, strings.HasPrefix(ready, "Ready. API "+p.API+" · data "+dir+" · Kafka 127.0.0.1:"), ready)
	require.Contains(t, ready, "(embedded, single host) · no gateway configured: messages are captured, NOT sent · see them: laudspeaker outbox --follow --server "+p.API)
	require.Contains(t, ready, "try: curl -sS "+p.API+"/v1/notifications")
	first, _, _ := strings.Cut(p.Log.String(), "\n")
	require.Contains(t, first, `"data_dir":"`+dir+`"`, "the first line of the log")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	// what the Ready line proposes
	_, body, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(ready), "'"), " -d '")
	id := p.post(body)
	sms := p.post(samples["sms"])
	push := p.post(samples["push"])
	all := p.captured(3)
	require.ElementsMatch(t, []string{id, sms, push}, []string{all[0].ID, all[1].ID, all[2].ID})

	code, out, errs := run(t, "outbox", id, "--server", p.API)
	require.Zero(t, code, errs)
	require.Contains(t, out, "Subject: Hello")
	require.Contains(t, out, "It works.")
	becomes(t, func() bool {
		return strings.Contains(bodyOf(t, p.Admin+"/metrics"), `laudspeaker_attempts_total{channel="email",gateway="capture",verdict="accepted"} 1`)
	}, "counted once it is kept")
	require.NotContains(t, p.Log.String(), "ada@example.com", "recipients are masked in the log")
	require.NotContains(t, p.Log.String(), "It works.", "payloads are never logged")

	require.Zero(t, p.stop())
	require.True(t, embedded.Exists(filepath.Join(dir, "kafka")))
	again := boot(t, "all", "data_dir: "+dir)
	again.captured(3) // kept over a restart, and nothing is sent twice
	again.post(hello)
	again.captured(4)
}

func TestRolesStartInAnyOrder(t *testing.T) {
	onEachKafka(t, func(t *testing.T, section string) {
		outbox := t.TempDir()
		yaml := section + "gateways: {kept: {type: capture, dir: '" + outbox + "'}}\nchannels: {email: {gateways: [kept]}}\n"
		api := boot(t, "serve-api", yaml)
		before := api.post(hello) // no worker has ever run
		worker := boot(t, "work --channel email", yaml)
		require.Equal(t, before, api.captured(1)[0].ID)
		for i := range 50 {
			api.post(fmt.Sprintf(`{"channel":"email","recipient":"ada%d@example.com","payload":{"subject":"Hello","text":"It works."}}`, i))
		}
		api.captured(51)

		require.Zero(t, worker.stop())
		api.post(hello)
		second := boot(t, "work --channel=email", yaml)
		api.captured(52)
		response, err := http.Post(api.API+"/v1/notifications", "application/json", strings.NewReader(samples["sms"]))
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode, "a channel without a gateway is off")
		require.Zero(t, second.stop())
		require.Zero(t, api.stop())
	})
}

func TestKafkaMayComeLater(t *testing.T) {
	t.Parallel()
	address, dir := freeAddress("127.0.0.1"), t.TempDir() // which is removed after the broker, that writes to it when it is closed
	var broker *embedded.Broker
	t.Cleanup(func() { // after the roles, which without it would wait for their outcomes
		if broker != nil {
			broker.Close()
		}
	})
	yaml := "kafka: {brokers: ['" + address + "']}\ngateways: {kept: {type: capture, dir: '" + t.TempDir() + "'}}\nchannels: {email: {gateways: [kept]}}\n"
	api, worker := start(t, "serve-api", yaml), start(t, "work --channel email", yaml)
	for _, p := range []*program{api, worker} {
		require.Equal(t, http.StatusOK, statusOf(p.Admin+"/livez"))
		require.Equal(t, http.StatusServiceUnavailable, statusOf(p.Admin+"/readyz"))
		require.Contains(t, bodyOf(t, p.Admin+"/readyz"), "topics: waiting for Kafka")
		p.awaitLog("the topics are not there yet; waiting")
	}
	require.Equal(t, http.StatusServiceUnavailable, statusOf(api.API+"/readyz"), "the same page on the API")
	response, err := http.Post(api.API+"/v1/notifications", "application/json", strings.NewReader(hello))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NotEmpty(t, response.Header.Get("Retry-After"))

	broker, err = embedded.Open(embedded.Config{Dir: dir, Listen: address})
	require.NoError(t, err)
	api.awaitReady()
	worker.awaitReady()
	api.post(hello)
	api.captured(1)
}

// A shutdown finishes what has been given to a gateway; what has not is left for the next start.
func TestAShutdownDrains(t *testing.T) {
	t.Parallel()
	onEachKafka(t, func(t *testing.T, section string) {
		provider := newSlowProvider(t)
		yaml := section + "gateways: {texts: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: t, from: '+14155550100', base_url: '" + provider.URL + "'}}\nchannels: {sms: {gateways: [texts], concurrency: 1}}\n"
		p := boot(t, "all", yaml)
		p.post(samples["sms"])
		<-provider.begun
		p.post(samples["sms"]) // of the same recipient: it waits for the first
		p.cancel()
		p.awaitLog("shutting down; a second signal ends the process at once")
		require.Eventually(t, func() bool { return statusOf(p.API+"/v1/outbox") == 0 }, patience, 10*time.Millisecond, "the API ends first")
		require.Equal(t, "shutting down\n", bodyOf(t, p.Admin+"/readyz"))
		require.Eventually(t, func() bool { return strings.Contains(p.Log.String(), `"in_flight":1`) }, patience, 10*time.Millisecond, "then the lane")
		require.True(t, p.running())
		provider.release()
		require.Zero(t, p.wait())
		require.Equal(t, int32(1), provider.calls.Load())

		again := boot(t, "all", yaml)
		<-provider.begun
		again.awaitLog("attempt")
		require.Zero(t, again.stop())
		require.Equal(t, int32(2), provider.calls.Load(), "the first one is not repeated")
	})
}

// slowProvider takes messages as Twilio does, and answers once it is released.
type slowProvider struct {
	*httptest.Server
	begun   chan struct{}
	release func()
	calls   atomic.Int32
}

func newSlowProvider(t *testing.T) *slowProvider {
	released := make(chan struct{})
	s := &slowProvider{begun: make(chan struct{}, 10), release: sync.OnceFunc(func() { close(released) })}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.calls.Add(1)
		s.begun <- struct{}{}
		<-released
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid":"SM00000000000000000000000000000001","status":"queued"}`))
	}))
	t.Cleanup(func() { s.release(); s.Close() })
	return s
}

func TestAFailingRoleEndsTheProcessByName(t *testing.T) {
	yaml := "gateways: {mail: {type: fcm, credentials_file: /nowhere.json}}\nchannels: {push: {gateways: [mail]}}\n"
	code, _, errs := run(t, "all", "--data-dir", t.TempDir(), "--set", "kafka.embedded.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0",
		"--set", "admin.listen=127.0.0.1:0", "--set", "log.format=json", "--config", write(t, yaml))
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^laudspeaker: work: .*mail`, errs)
}

func write(t *testing.T, yaml string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "laudspeaker.yaml")
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	return file
}

func TestTakenPorts(t *testing.T) {
	p := boot(t, "all", "")
	broker := p.Stdout.String()
	require.Eventually(t, func() bool { broker = p.Stdout.String(); return broker != "" }, patience, 10*time.Millisecond)
	_, broker, _ = strings.Cut(broker, "· Kafka ")
	broker, _, _ = strings.Cut(broker, " ")
	free := []string{"--set", "kafka.embedded.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0", "--set", "log.format=json"}
	for key, address := range map[string]string{
		"api.listen": strings.TrimPrefix(p.API, "http://"), "admin.listen": strings.TrimPrefix(p.Admin, "http://"), "kafka.embedded.listen": broker,
	} {
		code, _, errs := run(t, append(append([]string{"all", "--data-dir", t.TempDir()}, free...), "--set", key+"="+address)...)
		require.Equal(t, 1, code)
		require.Regexp(t, `(?m)^laudspeaker: port \d+ is in use: end what listens on `+address+`, or set another address, such as --set `+key+`=127\.0\.0\.1:\d+$`, errs)
	}
}

func TestASecondProcessOnTheSameFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	boot(t, "all", "data_dir: "+dir)
	code, _, errs := run(t, "all", "--data-dir", dir, "--set", "kafka.embedded.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is in use by")
	require.Contains(t, errs, dir)
}

func TestALogLeftBehindIsNamed(t *testing.T) {
	dir := t.TempDir()
	require.Zero(t, boot(t, "all", "data_dir: "+dir).stop())
	other, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { other.Close() })
	p := boot(t, "all", "data_dir: "+dir+"\nkafka: {brokers: ['"+other.Addr()+"']}")
	require.Contains(t, p.Log.String(), "holds the log of an embedded broker")
	require.Contains(t, p.Log.String(), filepath.Join(dir, "kafka"))
}

func TestKeys(t *testing.T) {
	_, out, _ := run(t, "keys", "generate", "shop", "--scopes", "send")
	key := strings.Fields(out[strings.Index(out, "  ls_"):])[0]
	line := strings.TrimSpace(out[strings.Index(out, "- {"):])
	p := boot(t, "all", "api:\n  listen: 0.0.0.0:0\n  keys:\n    "+line)
	send := []string{"send", "sms", "--to", "+14155550100", "--body", "hi", "--server", p.API}
	_, _, errs := run(t, send...)
	require.Contains(t, errs, "the server answers 401")
	_, _, errs = run(t, append(send, "--key", key[:len(key)-1]+"x")...)
	require.Contains(t, errs, "the server answers 401")
	t.Setenv("LAUDSPEAKER_API_KEY", key)
	code, _, errs := run(t, send...)
	require.Zero(t, code, errs)
	_, _, errs = run(t, "outbox", "--server", p.API)
	require.Contains(t, errs, "the server answers 403", "the key may not read")
	require.NotContains(t, p.Log.String(), key)
}

// A topic that somebody made too small lowers what the API takes, and is named.
func TestATopicThatTakesLessLowersTheLimit(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Embedded(t).Addr()
	specs := []kafka.TopicSpec{{Name: "email_topic", Partitions: 1, MaxMessageBytes: 50_000}}
	_, err := kafka.Ensure(t.Context(), kafka.Config{Brokers: []string{broker}}, specs, true)
	require.NoError(t, err)
	p := boot(t, "all", "kafka: {brokers: ['"+broker+"']}")
	require.Contains(t, p.Log.String(), "topic email_topic: max.message.bytes is 50000")
	post := func(size int) (status int, problem string) {
		body := strings.Replace(hello, "It works.", strings.Repeat("x", size), 1)
		response, err := http.Post(p.API+"/v1/notifications", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(content)
	}
	require.Eventually(t, func() bool {
		status, problem := post(100_000)
		return status == http.StatusRequestEntityTooLarge && strings.Contains(problem, fmt.Sprintf("within %d bytes", 50_000-dispatcher.Headroom))
	}, patience, 10*time.Millisecond, "the body is not even read")
	status, problem := post(30_000)
	require.Equal(t, http.StatusAccepted, status, problem)
	p.captured(1)
}

func TestWithoutLeaveToMakeTopicsTheyAreListed(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Embedded(t).Addr()
	p := start(t, "all", "kafka: {brokers: ['"+broker+"'], create_topics: false, prefix: 'x.'}")
	missing := fmt.Sprint(p.awaitLog("the topics are not there yet; waiting"))
	for _, name := range []string{"email_topic", "email_topic.urgent", "sms_topic.bulk", "push_topic.delay.3m", "push_topic.dlq", "status_topic", "control_topic"} {
		require.Regexp(t, `[ :]x\.`+regexp.QuoteMeta(name)+`[,;]`, missing)
	}
	require.Equal(t, http.StatusServiceUnavailable, statusOf(p.Admin+"/readyz"))
	code, out, errs := run(t, "topics", "--create", "--brokers", broker, "--set", "kafka.prefix=x.")
	require.Zero(t, code, errs)
	require.Contains(t, out, "created x.email_topic\n")
	p.awaitReady()
}
