package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// patience is how long a process may take to be ready, and to end.
const patience = 90 * time.Second

// process is a child of the run.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string         // file of what it writes to stderr, and a role to stdout
	in     io.WriteCloser // of a helper
	out    *bufio.Reader  // of a helper
	pipe   io.Closer      // of out
	ended  chan struct{}
	err    error // once it has ended
	at     addresses
	url    string // of an API
	metric string // URL of its metrics
}

// addresses is the first message of a helper: where it listens, as far as it does.
type addresses struct {
	Address string `json:"address"` // of its main listener
	HTTP    string `json:"http"`    // of the providers that a sink plays
	SMTP    string `json:"smtp"`    // of the relay that a sink plays
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// launch starts the program. A helper speaks JSON, a line for each message, on stdin and stdout, and ends with stdin.
func launch(dir, name, exe string, helper bool, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(exe, args...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})} //nolint:noctx // it is ended in order
	p.cmd.Env = environment()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if helper {
		if err := p.pipes(); err != nil {
			return nil, err
		}
	} else {
		p.cmd.Stdout = log
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		// Not Cmd.Wait, which would close the pipe of stdout before it is read.
		_, p.err = p.cmd.Process.Wait()
	}()
	return p, nil
}

func (p *process) pipes() error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out, p.pipe = bufio.NewReader(out), out
	p.in, err = p.cmd.StdinPipe()
	return err
}

// environment is that of this process without the settings of Laudspeaker: a run has settings of its own. Variables of the tests
// are no settings.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LAUDSPEAKER_") && !strings.HasPrefix(v, "LAUDSPEAKER_TEST_")
	})
}

// stop asks the process to end, and kills it when it does not.
func (p *process) stop() {
	if p.in != nil {
		_ = p.in.Close() // a pipe that is closed already
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if p.pipe != nil {
		_ = p.pipe.Close() // after the process nobody writes to it
	}
}

// alive returns an error with the last complaints of a process that ended before it was asked to.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended before it should: %s", p.name, p.complaints())
	default:
		return nil
	}
}

// complaints are the last lines of the log that are no information.
func (p *process) complaints() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, `"level":"info"`) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// send writes a message to a helper.
func (p *process) send(message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}

// receive reads the next message of a helper.
func (p *process) receive(ctx context.Context, message any) error {
	type read struct {
		line []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := p.out.ReadBytes('\n')
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return fmt.Errorf("%s ended before it should: %s", p.name, p.complaints())
		}
		return json.Unmarshal(r.line, message)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logged waits for the line of the log with the message, and returns its URL.
func (p *process) logged(ctx context.Context, message string) (url string, err error) {
	err = p.await(ctx, "say "+message, 10*time.Millisecond, func() bool {
		file, err := os.Open(p.log)
		if err != nil {
			return false
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == message {
				url = line.URL
				return true
			}
		}
		return false
	})
	return url, err
}

// await asks until the process is so far. It fails when the process ends, when ctx ends, and when it takes too long.
func (p *process) await(ctx context.Context, what string, every time.Duration, reached func() bool) error {
	late := time.After(patience)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-p.ended:
			return p.alive()
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("%s does not %s within %s: %s", p.name, what, patience, p.complaints())
		}
	}
	return nil
}

// errInterrupted replaces whatever else went wrong once the run was asked to end.
var errInterrupted = errors.New("interrupted; all processes have ended and the temporary directories are removed")

// Do runs a benchmark. After an interrupt there is no result.
func Do(ctx context.Context, run func(context.Context) (*Result, error)) (*Result, error) {
	result, err := run(ctx)
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	return result, err
}
