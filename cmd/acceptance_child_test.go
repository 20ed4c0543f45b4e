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

	ended chan struct{} // closed when the process has ended
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
	c := &child{t: t, name: name, cmd: cmd, done: make(chan error, 1), log: log.Name(), ended: make(chan struct{})}
	go func() {
		c.done <- cmd.Wait()
		close(c.ended)
	}()
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

// awaitLine returns the first line of the log that holds the text. It fails the test when the process ends without one, or
// when none comes within the limit.
func (c *child) awaitLine(text string, limit time.Duration) string {
	c.t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for ended := false; ; {
		if line := c.line(text); line != "" {
			return line
		}
		require.False(c.t, ended, "%s ended and did not say %q", c.name, text)
		select {
		case <-tick.C:
		case <-c.ended:
			ended = true // its last lines are looked at once more
		case <-late:
			require.Fail(c.t, "a line is missing", "%s does not say %q", c.name, text)
		}
	}
}

// line returns the first line of the log that holds the text, or an empty string.
func (c *child) line(text string) string {
	file, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.Contains(lines.Text(), text) {
			return lines.Text()
		}
	}
	return ""
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
