package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

func newDLQList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [ID…]",
		Short: "List dead letters, and why each is one",
		Long: `Lists the dead letters that were not redriven, of all channels or of those that are named. Filters narrow it down, and all of
them have to agree. Recipients are shown as log.recipients says.`,
		Example: `  laudspeaker dlq list --channel email
  laudspeaker dlq list --reason attempts_used_up --since 24h
  laudspeaker dlq list --recipient ada@example.com --json`,
	}
	s := addSettings(c)
	flags := addLetterFlags(c)
	asJSON := c.Flags().Bool("json", false, "one JSON object a letter")
	c.RunE = func(c *cobra.Command, ids []string) error {
		filter, err := flags.filter(ids, time.Now())
		if err != nil {
			return err
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		d, end, err := openDeadLetters(c.Context(), cfg, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer end()
		listed := 0
		err = d.each(c.Context(), filter, func(l *dispatcher.Letter, redriven bool) error {
			if redriven {
				return nil
			}
			listed++
			if *asJSON {
				return printJSON(c.OutOrStdout(), d.describe(l))
			}
			return d.printLine(c.OutOrStdout(), l)
		})
		if err == nil && listed == 0 && !*asJSON {
			fmt.Fprintln(c.OutOrStdout(), "No dead letters.")
		}
		return err
	}
	return c
}

// letterJSON is a letter as --json shows it. Of the payload it holds nothing.
type letterJSON struct {
	ID        string         `json:"id"`
	Channel   notify.Channel `json:"channel"`
	Lane      notify.Lane    `json:"lane"`
	Run       int            `json:"run"`
	Step      int            `json:"step"`
	Attempt   int            `json:"attempt"`
	State     notify.State   `json:"state"`
	Reason    string         `json:"reason"`
	Code      string         `json:"code,omitempty"`
	Gateway   string         `json:"gateway,omitempty"`
	DiedAt    time.Time      `json:"died_at"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	Recipient string         `json:"recipient,omitempty"`
	Tenant    string         `json:"tenant,omitempty"`
	Reference string         `json:"reference,omitempty"`
	Bytes     int            `json:"bytes"` // of the value
	Letter    notify.Origin  `json:"letter"`
	Origin    *notify.Origin `json:"origin,omitempty"` // where the job was
}

func (d *deadLetters) describe(l *dispatcher.Letter) letterJSON {
	j := letterJSON{
		ID: l.ID, Channel: l.Channel, Lane: l.Lane, Run: l.Run, Step: l.Step, Attempt: l.Attempt, State: l.State(),
		Reason: l.Reason, Code: l.Code, Gateway: l.Gateway, DiedAt: l.Died.UTC(), Recipient: d.recipient(l), Bytes: len(l.Value),
		Letter: notify.Origin{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}, Origin: l.Origin,
	}
	if at, ok := l.Expires(d.lifetimes); ok {
		at = at.UTC()
		j.ExpiresAt = &at
	}
	if l.Notification != nil {
		j.Tenant, j.Reference = l.Notification.Tenant, l.Notification.Reference
	}
	return j
}

// recipient is what may be shown of l's.
func (d *deadLetters) recipient(l *dispatcher.Letter) string {
	switch {
	case l.Notification == nil || d.recipients == worker.RecipientsNone:
		return ""
	case d.recipients == worker.RecipientsFull:
		return notify.Clip(l.Notification.Recipient, 255)
	default:
		return notify.Mask(l.Notification.Recipient)
	}
}

func (d *deadLetters) printLine(w io.Writer, l *dispatcher.Letter) error {
	recipient := d.recipient(l)
	if recipient == "" {
		recipient = "-"
	}
	_, err := fmt.Fprintf(w, "%s  %-5s  %-6s  %s  %s  %s\n", readable(l.Died), l.Channel, l.Lane, l.ID, recipient, why(l))
	return err
}

// why is what a letter says of its end, in a line.
func why(l *dispatcher.Letter) string {
	text := l.Reason
	if text == "" {
		text = "no reason given"
	}
	if l.Code != "" {
		text += ": " + l.Code
	}
	if l.Gateway != "" {
		text += " (" + l.Gateway + ")"
	}
	return notify.Clip(text, 600)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
