package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [ID]",
		Short: "Show what became of notifications",
		Long: `Shows what became of one notification, by the id with which it was accepted: its state, and every event and call of a
gateway that led to it. Its payload is shown by --json alone, unless it is sensitive. Without an ID it lists the latest
notifications, the latest first; filters narrow the list down, and all of them have to agree.

The same over HTTP is GET /v1/notifications/ID, and GET /v1/notifications.`,
		Example: `  laudspeaker status 0190b2c4-7a1e-7c55-9d1f-2f6c1a0b3d4e
  laudspeaker status --state dead --state bounced --since 24h
  laudspeaker status --recipient ada@example.com --limit 500 --json`,
		Args: cobra.MaximumNArgs(1),
	}
	c.AddCommand(newStatusRebuild())
	s := &lives{client: addClient(c)}
	flags := addEventFlags(c)
	var gateway, recipient, since, until string
	f := c.Flags()
	f.StringVar(&gateway, "gateway", "", "name of the gateway that was called last")
	f.StringVar(&recipient, "recipient", "", "address, number, token, topic or condition")
	f.StringVar(&since, "since", "", "accepted not before that time: 24h (ago), 2026-01-31 or 2026-01-31T09:30:00Z")
	f.StringVar(&until, "until", "", "accepted before that time, spelt alike")
	limit := f.Int("limit", 50, "how many to list at most")
	f.BoolVar(&s.asJSON, "json", false, "one JSON object a notification")
	c.RunE = func(c *cobra.Command, args []string) error {
		s.out = c.OutOrStdout()
		query := flags.query()
		put(query, "gateway", gateway)
		put(query, "recipient", recipient)
		if len(args) == 1 {
			if len(query) > 0 || since != "" || until != "" {
				return errors.New("give an ID or filters: the ID says it all")
			}
			return s.show(c.Context(), args[0])
		}
		if err := putMoments(query, since, until); err != nil {
			return err
		}
		return s.list(c.Context(), query, *limit)
	}
	return c
}

// eventFlags are the flags that choose notifications and events alike.
type eventFlags struct {
	states                           []string
	channel, lane, tenant, reference string
}

func addEventFlags(c *cobra.Command) *eventFlags {
	e := &eventFlags{}
	f := c.Flags()
	f.StringSliceVar(&e.states, "state", nil, "queued, sent, dead and so on; repeated or separated by commas (default: all)")
	f.StringVar(&e.channel, "channel", "", channelWords())
	f.StringVar(&e.lane, "lane", "", "urgent, normal or bulk")
	f.StringVar(&e.tenant, "tenant", "", "whose notifications they are")
	f.StringVar(&e.reference, "reference", "", "the reference with which they were submitted")
	return e
}

func (e *eventFlags) query() url.Values {
	q := url.Values{}
	for _, state := range e.states {
		q.Add("state", state)
	}
	put(q, "channel", e.channel)
	put(q, "lane", e.lane)
	put(q, "tenant", e.tenant)
	put(q, "reference", e.reference)
	return q
}

func put(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func putMoments(q url.Values, since, until string) error {
	for name, text := range map[string]string{"since": since, "until": until} {
		at, err := moment("--"+name, text, time.Now())
		if err != nil {
			return err
		}
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return nil
}

// lives shows what became of notifications.
type lives struct {
	*client
	out    io.Writer
	asJSON bool
}

func (s *lives) show(ctx context.Context, id string) error {
	id, ok := notify.ParseID(id)
	if !ok {
		return errors.New("ID must be a UUID, as laudspeaker send prints it; without an ID the latest notifications are listed")
	}
	var life notify.Life
	if err := s.call(ctx, http.MethodGet, "/v1/notifications/"+id, nil, &life); err != nil {
		return err
	}
	if s.asJSON {
		return printJSON(s.out, &life)
	}
	_, err := io.WriteString(s.out, lifeForPeople(&life))
	return err
}

// list goes from page to page until it has shown limit notifications or all there are.
func (s *lives) list(ctx context.Context, query url.Values, limit int) error {
	if limit < 1 {
		return errors.New("--limit must be a number from 1 on")
	}
	shown := 0
	for next := ""; ; {
		put(query, "cursor", next)
		query.Set("limit", strconv.Itoa(min(limit-shown, 200)))
		var page struct {
			Data []notify.Life `json:"data"`
			Next string        `json:"next_cursor"` // null leaves it empty
		}
		if err := s.call(ctx, http.MethodGet, "/v1/notifications?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for i := range page.Data {
			if err := s.print(&page.Data[i]); err != nil {
				return err
			}
		}
		shown += len(page.Data)
		if next = page.Next; next == "" || shown >= limit {
			break
		}
	}
	if shown == 0 && !s.asJSON {
		fmt.Fprintln(s.out, "No notifications.")
	}
	return nil
}

func (s *lives) print(l *notify.Life) error {
	if s.asJSON {
		return printJSON(s.out, l)
	}
	_, err := fmt.Fprintln(s.out, lineOf(l))
	return err
}
