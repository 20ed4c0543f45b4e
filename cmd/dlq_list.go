package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
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
		_, letters, end, err := openDeadLetters(c.Context(), cfg, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer end()
		listed := 0
		err = eachLetter(c.Context(), letters, filter, func(l *dispatcher.Letter, redriven bool) error {
			if redriven {
				return nil
			}
			listed++
			if *asJSON {
				return printJSON(c.OutOrStdout(), letters.Describe(l))
			}
			return printLine(c.OutOrStdout(), l, letters.Describe(l).Recipient)
		})
		if err == nil && listed == 0 && !*asJSON {
			fmt.Fprintln(c.OutOrStdout(), "No dead letters.")
		}
		return err
	}
	return c
}

// eachLetter gives visit every letter that the filter chooses, and whether it was redriven before.
func eachLetter(ctx context.Context, letters *deadletters.Scanner, f notify.LetterFilter, visit func(l *dispatcher.Letter, redriven bool) error) error {
	done, err := letters.Redriven(ctx, f)
	if err != nil {
		return err
	}
	return letters.Each(ctx, f, func(l *dispatcher.Letter) error { return visit(l, done.Has(l.Topic, l.Partition, l.Offset)) })
}

func printLine(w io.Writer, l *dispatcher.Letter, recipient string) error {
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
