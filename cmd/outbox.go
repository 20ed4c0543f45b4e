package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lookAgain is how often --follow asks for new messages.
const lookAgain = 500 * time.Millisecond

func newOutbox() *cobra.Command {
	c := &cobra.Command{
		Use:   "outbox [ID]",
		Short: "Show captured messages",
		Long: `Shows what a gateway of type capture kept instead of sending it: the list, newest last, or one message whole. The files
are also in data_dir/outbox; a mail client opens the .eml ones. What a sensitive message says is not kept.`,
		Example: `  laudspeaker outbox
  laudspeaker outbox --follow
  laudspeaker outbox 0190b2c4-7a1e-7c55-9d1f-2f6c1a0b3d4e`,
		Args: cobra.MaximumNArgs(1),
	}
	cl := addClient(c)
	follow := c.Flags().BoolP("follow", "f", false, "go on showing new messages, until interrupted")
	asJSON := c.Flags().Bool("json", false, "one JSON object a message")
	c.RunE = func(c *cobra.Command, args []string) error {
		o := outbox{cl, c.OutOrStdout(), *asJSON}
		switch {
		case len(args) == 1:
			return o.show(c.Context(), args[0])
		case *follow:
			return o.follow(c.Context())
		default:
			_, err := o.list(c.Context(), nil)
			return err
		}
	}
	return c
}

type outbox struct {
	*client
	out    io.Writer
	asJSON bool
}

func (o outbox) show(ctx context.Context, id string) error {
	var m notify.Captured
	if err := o.call(ctx, http.MethodGet, "/v1/outbox/"+url.PathEscape(id), nil, &m); err != nil {
		return err
	}
	if o.asJSON {
		return json.NewEncoder(o.out).Encode(m)
	}
	_, err := fmt.Fprintf(o.out, "%s\n\n%s\n", m.File, m.Content)
	return err
}

// list prints the messages that are not in seen, oldest first, and gives all that it saw.
func (o outbox) list(ctx context.Context, seen map[string]bool) (map[string]bool, error) {
	var page struct {
		Data []notify.Captured `json:"data"`
	}
	if err := o.call(ctx, http.MethodGet, "/v1/outbox?limit=500", nil, &page); err != nil {
		return seen, err
	}
	slices.SortStableFunc(page.Data, func(a, b notify.Captured) int { return a.At.Compare(b.At) })
	now := make(map[string]bool, len(page.Data))
	for _, m := range page.Data {
		if now[m.File] = true; seen[m.File] {
			continue
		}
		if err := o.print(m); err != nil {
			return now, err
		}
	}
	if len(page.Data) == 0 && seen == nil && !o.asJSON {
		fmt.Fprintln(o.out, "Nothing has been captured yet. Messages are captured while no gateway is configured, or by one of type capture.")
	}
	return now, nil
}

func (o outbox) print(m notify.Captured) error {
	if o.asJSON {
		return json.NewEncoder(o.out).Encode(m)
	}
	summary := m.Summary
	if m.Sensitive {
		summary = "(sensitive: not kept)"
	}
	_, err := fmt.Fprintf(o.out, "%s  %-5s  %s  %s  %s\n", m.At.Local().Format("15:04:05"), m.Channel, m.ID, notify.Clip(m.Recipient, 60), notify.Clip(summary, 80))
	return err
}

// follow goes on until ctx ends, over restarts of the server too.
func (o outbox) follow(ctx context.Context) error {
	seen, err := o.list(ctx, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
		if later, err := o.list(ctx, seen); err == nil {
			seen = later
		}
	}
}
