package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// program is a role as a user runs it: the command line, a configuration file, and what it writes.
type program struct {
	t      *testing.T
	API    string // URL; empty for a role without the API
	Admin  string // URL
	Stdout *output
	Log    *output // stderr: one JSON object a line
	cancel context.CancelFunc
	ended  chan struct{}
	code   int
}

// boot runs a role ("all", "work --channel email") with the configuration and waits until it is ready. It stops at the
// end of the test, unless the test has stopped it.
func boot(t *testing.T, role, yaml string) *program {
	t.Helper()
	p := start(t, role, yaml)
	p.awaitReady()
	return p
}

// start is boot without the waiting. Both addresses are taken from port 0, unless the configuration says otherwise.
func start(t *testing.T, role, yaml string) *program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "laudspeaker.yaml")
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	args := append(strings.Fields(role), "--config", file)
	for key, value := range map[string]string{
		"api.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "kafka.embedded.listen": "127.0.0.1:0", "log.format": "json", "log.level": "debug",
		"data_dir": filepath.Join(t.TempDir(), "data"),
	} {
		if section, name, _ := strings.Cut(key, "."); !strings.Contains(yaml, section+":") || !strings.Contains(yaml, name+":") {
			args = append(args, "--set", key+"="+value)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, Stdout: &output{}, Log: &output{}, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.code = Execute(ctx, args, p.Stdout, p.Log)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", role, p.Stdout, p.Log)
		}
	})
	p.Admin = p.awaitLog("admin listens")["url"].(string)
	if !strings.HasPrefix(role, "work") {
		p.API = p.awaitLog("api listens")["url"].(string)
	}
	return p
}

// stop does what the first signal does, waits for the end and gives the exit code. Calling it twice is no error.
func (p *program) stop() int {
	p.cancel()
	return p.wait()
}

// wait gives the exit code of a role that ends by itself.
func (p *program) wait() int {
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("the role did not end; it wrote:\n%s%s", p.Stdout, p.Log)
	}
	return p.code
}

func (p *program) awaitReady() {
	p.t.Helper()
	if !assert.Eventually(p.t, func() bool {
		return !p.running() || statusOf(p.Admin+"/readyz") == http.StatusOK
	}, patience, 10*time.Millisecond) {
		require.Fail(p.t, "not ready", bodyOf(p.t, p.Admin+"/readyz"))
	}
	require.True(p.t, p.running(), "the role has ended")
}

func (p *program) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// awaitLog waits for a line of the log with that message.
func (p *program) awaitLog(msg string) map[string]any {
	p.t.Helper()
	var line map[string]any
	require.Eventually(p.t, func() bool {
		for text := range strings.Lines(p.Log.String()) {
			line = map[string]any{}
			if json.Unmarshal([]byte(text), &line) == nil && line["msg"] == msg {
				return true
			}
		}
		return !p.running()
	}, patience, 10*time.Millisecond, "no line %q", msg) // a gateway that refuses us is asked again after 30 s
	require.Equal(p.t, msg, line["msg"], "the role has ended")
	return line
}

// post submits a notification and gives its id. It repeats what a caller would repeat.
func (p *program) post(body string) string {
	p.t.Helper()
	var accepted struct{ ID string }
	require.Eventually(p.t, func() bool {
		response, err := http.Post(p.API+"/v1/notifications", "application/json", strings.NewReader(body))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		if response.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		require.Equal(p.t, http.StatusAccepted, response.StatusCode, "%s", content)
		require.NoError(p.t, json.Unmarshal(content, &accepted))
		return true
	}, patience, 10*time.Millisecond)
	return accepted.ID
}

// patience is how long tests wait for what must happen. It only bounds a hang: a busy machine is no failure.
const patience = 5 * time.Minute

// get decodes the JSON of a path of the API. It repeats what the API cannot answer yet (503), as a caller would.
func (p *program) get(path string, answer any) (code int) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var content []byte
		code, content = p.getOnce(path)
		if code == http.StatusServiceUnavailable {
			return false
		}
		require.NoError(p.t, json.Unmarshal(content, answer), "%s", content)
		return true
	}, patience, 20*time.Millisecond, path)
	return code
}

// getOnce returns the first response to a path of the API.
func (p *program) getOnce(path string) (code int, content []byte) {
	p.t.Helper()
	response, err := http.Get(p.API + path)
	require.NoError(p.t, err)
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, content
}

// sum adds up a figure of the metrics page over all its labels that match.
func (p *program) sum(name string, labels ...string) float64 { return figure(p.Admin, name, labels...) }

// figure is sum of any process; 0 while it does not answer.
func figure(admin, name string, labels ...string) (total float64) {
	response, err := http.Get(admin + "/metrics")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if of, _, _ := strings.Cut(series, "{"); of != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(series, l) }) {
			continue
		}
		n, _ := strconv.ParseFloat(value, 64)
		total += n
	}
	return total
}

func statusOf(url string) int {
	response, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func bodyOf(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(content)
}

// output keeps what is written, for readers on other goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// onEachKafka runs f with the section kafka of an embedded broker of its own and, when LAUDSPEAKER_TEST_BROKERS is set,
// with one of the real Kafka. Topics and groups are those of the test alone.
func onEachKafka(t *testing.T, f func(t *testing.T, section string)) {
	section := func(t *testing.T, brokers []string) string {
		return "kafka: {brokers: ['" + strings.Join(brokers, "','") + "'], partitions: 3, prefix: '" + prefixOf(t) + "'}\n"
	}
	t.Run("embedded", func(t *testing.T) { f(t, section(t, []string{kafkatest.Embedded(t).Addr()})) })
	t.Run("real", func(t *testing.T) {
		if os.Getenv("LAUDSPEAKER_TEST_BROKERS") == "" {
			t.Skip("set LAUDSPEAKER_TEST_BROKERS=host:port to run this on a real Kafka")
		}
		f(t, section(t, kafkatest.Brokers(t)))
	})
}

// prefixOf makes a prefix that no other test uses.
func prefixOf(t *testing.T) string {
	name := kafkatest.Name(t)
	return "e2e-" + name[strings.LastIndexByte(name, '.')+1:] + "."
}
