package main

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With this variable the test binary is the program itself.
const asProgram = "LAUDSPEAKER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is the program as a child of the test.
type process struct {
	*exec.Cmd
	ready  string // its Ready line
	stderr *bytes.Buffer
}

func launch(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], "all", "--data-dir", t.TempDir()), stderr: &bytes.Buffer{}}
	p.Env = append(os.Environ(), asProgram+"=1", "LAUDSPEAKER_API_LISTEN=127.0.0.1:0", "LAUDSPEAKER_ADMIN_LISTEN=127.0.0.1:0", "LAUDSPEAKER_KAFKA_EMBEDDED_LISTEN=127.0.0.1:0")
	p.Env = append(p.Env, env...)
	p.Stderr = p.stderr
	stdout, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "it ended before it was ready")
	p.ready = lines.Text()
	require.True(t, strings.HasPrefix(p.ready, "Ready. API http://"), p.ready)
	return p
}

// end waits for the end and gives the exit code, -1 for an end by a signal.
func (p *process) end(t *testing.T) int {
	t.Helper()
	hung := time.AfterFunc(time.Minute, func() { _ = p.Process.Kill() })
	err := p.Wait()
	require.True(t, hung.Stop(), "it did not end:\n%s", p.stderr)
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return p.ProcessState.ExitCode()
}

func TestTheFirstSignalDrainsAndExitsWithZero(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := launch(t)
		require.NoError(t, p.Process.Signal(s))
		require.Zero(t, p.end(t), p.stderr)
		require.Contains(t, p.stderr.String(), "laudspeaker ends")
	}
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	begun, release := make(chan struct{}, 1), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	provider := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	}))
	defer provider.Close()
	defer free()
	p := launch(t, "LAUDSPEAKER_SMS=twilio://AC00000000000000000000000000000000:token@?from=+14155550100&base_url="+provider.URL)
	api := strings.Fields(p.ready)[2]
	response, err := http.Post(api+"/v1/notifications", "application/json", strings.NewReader(`{"channel":"sms","recipient":"+14155550101","payload":{"body":"hi"}}`))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	<-begun // from here on the drain would take as long as the provider

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { // the drain has begun: the API is gone, the process is not
		response, err := http.Get(api + "/livez")
		if err == nil {
			response.Body.Close()
		}
		return err != nil
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NotZero(t, p.end(t))
	require.NotContains(t, p.stderr.String(), "laudspeaker ends")
}
