package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newTail() *cobra.Command {
	c := &cobra.Command{
		Use:   "tail",
		Short: "Follow what becomes of notifications, as it happens",
		Long: `Shows every event as it comes (a notification is queued, is retried, is sent, is dead), until interrupted. Filters narrow it
down, and all of them have to agree. It goes on by itself where it left off when the server restarts or the connection
is lost. The same over HTTP is GET /v1/stream.`,
		Example: `  laudspeaker tail
  laudspeaker tail --channel email --state dead,bounced
  laudspeaker tail --id 0190b2c4-7a1e-7c55-9d1f-2f6c1a0b3d4e --after 0
  laudspeaker tail --json | jq .reason`,
		Args: cobra.NoArgs,
	}
	t := &tail{client: addClient(c), pause: time.Second}
	flags := addEventFlags(c)
	id := c.Flags().String("id", "", "of one notification")
	from := c.Flags().Int64("after", 0, "begin after the event of that number: 0 begins with the first that is kept (default: with what comes now)")
	c.Flags().BoolVar(&t.asJSON, "json", false, "one JSON object an event")
	c.RunE = func(c *cobra.Command, _ []string) error {
		t.out, t.errors = c.OutOrStdout(), c.ErrOrStderr()
		t.query = flags.query()
		put(t.query, "id", *id)
		if c.Flags().Changed("after") {
			t.last = fmt.Sprint(*from)
		}
		return t.follow(c.Context())
	}
	return c
}

// tail shows the events of a stream, and knows where it has come to.
type tail struct {
	*client
	out, errors io.Writer
	asJSON      bool
	query       url.Values
	last        string        // id of the last event that was shown, or that none wanted came up to
	pause       time.Duration // before it asks again
}

// silence is how long a stream may say nothing: three times as long as it ever does.
const silence = 45 * time.Second

// follow goes on until ctx ends, over whatever ends a stream. What is wrong at first, or with the question, is an error.
func (t *tail) follow(ctx context.Context) error {
	opened, told := false, false
	for {
		begun, err := t.once(ctx)
		opened = opened || begun
		switch {
		case ctx.Err() != nil:
			return nil
		case !opened || hopeless(err):
			return err
		case begun:
			told = false
		case !told:
			fmt.Fprintf(t.errors, "note: %v; trying again\n", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.pause):
		}
	}
}

// hopeless reports whether asking again would be answered in the same way.
func hopeless(err error) bool {
	var p problem
	var output outputError
	return errors.As(err, &output) ||
		errors.As(err, &p) && p.Status < 500 && p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

// outputError is that nobody takes what is shown.
type outputError struct{ error }

// once shows a stream to its end. begun reports whether there was one.
func (t *tail) once(ctx context.Context) (begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	request, err := t.request(ctx, http.MethodGet, "/v1/stream?"+t.query.Encode(), nil)
	if err != nil {
		return false, err
	}
	if t.last != "" {
		request.Header.Set("Last-Event-ID", t.last)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, t.unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // what is missing makes it no problem of ours
		return false, problemOf(response.StatusCode, content)
	}
	frames := newFrames(response.Body, func() { watch.Reset(silence) })
	for {
		f, err := frames.next()
		if err != nil {
			return true, err
		}
		if err := t.show(f); err != nil {
			return true, err
		}
	}
}

// show prints what f says and notes where it is.
func (t *tail) show(f frame) error {
	if f.name == "event" {
		if err := t.print(f.data); err != nil {
			return err
		}
	}
	if f.id != "" {
		t.last = f.id
	}
	return nil
}

func (t *tail) print(data string) error {
	text := data
	if !t.asJSON {
		var e notify.Event
		if json.Unmarshal([]byte(data), &e) != nil {
			return nil // of a later version
		}
		text = fmt.Sprintf("%s  %-5s  %-6s  %s  %s", clock(e.At), shown(e.Channel), shown(e.Lane), shown(e.NotificationID), eventForPeople(&e))
	}
	if _, err := fmt.Fprintln(t.out, text); err != nil {
		return outputError{fmt.Errorf("show an event: %w", err)}
	}
	return nil
}
