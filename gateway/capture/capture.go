// Package capture writes messages to files and sends nothing: e-mail as .eml, which a mail client opens, and everything else as the
// notification's JSON. The file of a message that is marked as sensitive has the recipient and the time, but not the content.
//
// Only this package knows how the files are named. A file appears complete or not at all. Only the newest files are kept.
//
// Failure policy: if the disk cannot be written, the verdict is unavailable, so that the messages wait. The files are not synced: a
// crash of the host may lose some of them, and none of them was to be sent.
package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/email"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// From is the sender of captured mail that names none.
const From = "Laudspeaker <no-reply@laudspeaker.invalid>"

// stale is the age at which an unfinished file is removed: a younger one may be in use by another process.
const stale = time.Minute

// Sender writes messages into the files of one folder. Concurrent calls are safe.
type Sender struct {
	dir  string
	keep int

	mu     sync.Mutex
	last   time.Time // of the newest name; names of one sender differ and sort
	closed bool
}

var _ gateway.Sender = (*Sender)(nil)

// New creates the folder of the gateway called name. Cfg.Dir must be set.
func New(name string, cfg config.Capture) (*Sender, error) {
	switch {
	case cfg.Dir == "":
		return nil, fmt.Errorf("gateways.%s.dir: set the folder of the captured messages", name)
	case cfg.Keep < 1:
		return nil, fmt.Errorf("gateways.%s.keep: keep at least 1 message", name)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("gateways.%s.dir: %w", name, err)
	}
	s := &Sender{dir: dir, keep: cfg.Keep}
	s.sweep()
	return s, nil
}

// Send writes m to a file. The receipt names the file.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return notify.Receipt{}, notify.Judge(err)
	}
	id, ok := notify.ParseID(m.ID) // the ID becomes part of a path
	if !ok {
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": id must be a UUID"}
	}
	text, suffix, err := content(m)
	if err != nil {
		return notify.Receipt{}, err
	}
	file, err := s.write(id, suffix, text)
	if err != nil {
		return notify.Receipt{}, s.judge(err)
	}
	return notify.Receipt{ProviderID: file, Simulated: true}, nil
}

// Check creates a file and removes it.
func (s *Sender) Check(context.Context) error {
	f, err := os.CreateTemp(s.dir, unfinished+"*")
	if err != nil {
		return s.judge(err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return s.judge(err)
	}
	return nil
}

// Close ends the writing; the files stay.
func (s *Sender) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *Sender) judge(err error) error {
	if errors.Is(err, gateway.ErrClosed) {
		return (&gateway.Exchange{Err: err}).Lost()
	}
	return &notify.Failure{
		Verdict: notify.Unavailable, Reason: "the folder of captured messages cannot be written", Err: err,
		Remedy: "make room on its disk and let this process write to " + s.dir,
	}
}

// content returns the content of the file for m.
func content(m *notify.Message) (text []byte, suffix string, err error) {
	if m.Sensitive {
		text, err = withheld(m)
		return text, ".json", err
	}
	if m.Email == nil {
		text, err = record(m)
		return text, ".json", err
	}
	msg, err := email.Compose(m, From)
	if err != nil {
		return nil, "", err
	}
	return msg.Data, ".eml", nil
}

func (s *Sender) write(id, suffix string, text []byte) (file string, err error) {
	f, err := os.CreateTemp(s.dir, unfinished+"*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		file, err = s.publish(f.Name(), id, suffix)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return file, err
}

// publish renames a finished file to its final name and removes the oldest files.
func (s *Sender) publish(temporary, id, suffix string) (file string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", gateway.ErrClosed
	}
	at := time.Now().UTC()
	if !at.After(s.last) {
		at = s.last.Add(1)
	}
	s.last = at
	file = filepath.Join(s.dir, name(at, id, suffix))
	if err := os.Rename(temporary, file); err != nil {
		return "", err
	}
	names, err := list(s.dir)
	for _, old := range names[:max(len(names)-s.keep, 0)] {
		err = errors.Join(err, ignoreGone(os.Remove(filepath.Join(s.dir, old))))
	}
	return file, err
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) { // another process was faster
		return nil
	}
	return err
}

// sweep removes the unfinished files of a process that was killed.
func (s *Sender) sweep() {
	entries, _ := os.ReadDir(s.dir) // the next Send reports the error
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) > stale {
			os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}
