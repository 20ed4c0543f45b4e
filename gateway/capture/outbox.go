package capture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	maxHead    = 256 << 10 // bytes read of a file for a list
	maxContent = 32 << 20
	maxSummary = 120
)

// ErrNotFound is returned if no captured message has the ID, or it was removed. It is an [fs.ErrNotExist].
var ErrNotFound = fmt.Errorf("no captured message of this id: %w", fs.ErrNotExist)

// Outbox reads the captured messages in a folder. Another process may write them at the same time.
type Outbox struct{ dir string }

// NewOutbox returns the outbox of dir, which need not exist yet.
func NewOutbox(dir string) (*Outbox, error) {
	abs, err := filepath.Abs(dir)
	return &Outbox{dir: abs}, err
}

// List returns the newest messages without their content, newest first.
func (o *Outbox) List(limit int) ([]notify.Captured, error) {
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	var newest []notify.Captured
	for _, name := range slices.Backward(names) {
		if len(newest) >= limit {
			break
		}
		c, err := o.read(name, false)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil:
			return nil, err
		default:
			newest = append(newest, c)
		}
	}
	return newest, nil
}

// Get returns the newest message with that ID, with its content. The ID is never used as a path.
func (o *Outbox) Get(id string) (notify.Captured, error) {
	id, ok := notify.ParseID(id)
	if !ok {
		return notify.Captured{}, ErrNotFound
	}
	names, err := o.names()
	if err != nil {
		return notify.Captured{}, err
	}
	for _, name := range slices.Backward(names) {
		if files.FindStringSubmatch(name)[2] != id {
			continue
		}
		c, err := o.read(name, true)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		return c, err
	}
	return notify.Captured{}, ErrNotFound
}

func (o *Outbox) names() ([]string, error) {
	names, err := list(o.dir)
	if errors.Is(err, fs.ErrNotExist) { // nothing was captured yet
		return nil, nil
	}
	return names, err
}

func (o *Outbox) read(name string, whole bool) (notify.Captured, error) {
	part := files.FindStringSubmatch(name)
	c := notify.Captured{ID: part[2], File: filepath.Join(o.dir, name)}
	c.At, _ = time.Parse(stamp, part[1])
	f, err := os.Open(c.File)
	if err != nil {
		return c, err
	}
	defer f.Close()
	limit := int64(maxHead)
	if whole || part[3] == "json" {
		limit = maxContent
	}
	text := bufio.NewReader(io.LimitReader(f, limit))
	if !whole {
		describe(&c, part[3], text)
		return c, nil
	}
	content, err := io.ReadAll(text)
	c.Content = string(content)
	describe(&c, part[3], strings.NewReader(c.Content))
	return c, err
}

// describe fills in the fields that the file has. The others stay empty: a person may have edited the file.
func describe(c *notify.Captured, kind string, text io.Reader) {
	if kind == "json" {
		describeRecord(c, text)
		return
	}
	c.Channel = notify.ChannelEmail
	msg, err := mail.ReadMessage(text)
	if err != nil {
		return
	}
	words := mime.WordDecoder{}
	if to, err := words.DecodeHeader(msg.Header.Get("To")); err == nil {
		c.Recipient = notify.Clip(to, 320)
	}
	if subject, err := words.DecodeHeader(msg.Header.Get("Subject")); err == nil {
		c.Summary = notify.Clip(subject, maxSummary)
	}
}

func describeRecord(c *notify.Captured, text io.Reader) {
	var r struct {
		Channel   notify.Channel `json:"channel"`
		Recipient string         `json:"recipient"`
		Sensitive bool           `json:"sensitive"`
		Payload   struct{ Title, Body string }
	}
	if json.NewDecoder(text).Decode(&r) != nil {
		return
	}
	c.Channel = r.Channel
	c.Recipient = r.Recipient
	c.Sensitive = r.Sensitive
	c.Summary = r.Payload.Title
	if c.Summary == "" {
		c.Summary = r.Payload.Body
	}
	c.Summary = notify.Clip(c.Summary, maxSummary)
}
