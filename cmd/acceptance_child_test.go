package cmd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// child is a process of the fleet.
type child struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan error
	log  string // the file of its log
}

// launch starts the program. The sink knows it by its name.
func launch(t testing.TB, dir, name string, args ...string) *child {
	t.Helper()
	binary := os.Getenv(programEnv)
	if binary == "" {
		binary = os.Args[0]
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), asProgramEnv+"=1")
	log, err := os.Create(filepath.Join(dir, name+".log"))
	require.NoError(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	c := &child{t, name, cmd, make(chan error, 1), log.Name()}
	go func() { c.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if t.Failed() {
			c.showLog()
		}
	})
	return c
}

// showLog tells what the process complained of.
func (c *child) showLog() {
	content, _ := os.ReadFile(c.log)
	var lines []string
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, `"level":"info"`) {
			lines = append(lines, line)
		}
	}
	c.t.Logf("%s:\n%s", c.name, strings.Join(lines[max(0, len(lines)-10):], ""))
}

// awaitLine waits for a line of the log that holds the text.
func (c *child) awaitLine(text string, limit time.Duration) string {
	c.t.Helper()
	var found string
	require.Eventually(c.t, func() bool {
		file, err := os.Open(c.log)
		if err != nil {
			return false
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if strings.Contains(lines.Text(), text) {
				found = lines.Text()
				return true
			}
		}
		return false
	}, limit, 10*time.Millisecond, "%s does not say %q", c.name, text)
	return found
}

// term asks the process to end, and waits until it has, with exit code 0.
func (c *child) term() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-c.done:
		require.NoError(c.t, err, "%s must exit with 0 when it is asked to end", c.name)
	case <-time.After(patience):
		c.t.Fatalf("%s does not end", c.name)
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }
