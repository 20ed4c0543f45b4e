package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// idsAtOnce is how many ids one request names.
const idsAtOnce = 1000

func newExpunge() *cobra.Command {
	c := &cobra.Command{
		Use:   "expunge",
		Short: "Remove what people could be known by from the status store",
		Long: `Removes recipient, reference, metadata and payload of notifications from the status store, for good: of some by their ids,
of all of a tenant, or of all that were accepted longer ago. What became of them stays, for the figures. A store that is
made anew from Kafka does not bring it back.

What Kafka holds stays there until its retention: jobs and events 14 days, dead letters 30 days, unless the topics say
otherwise. So do messages that a gateway of type capture kept as files, and whatever a provider has. What must not be kept at
all is marked as sensitive when it is sent. The same over HTTP is POST /v1/expunge, which needs scope admin.`,
		Example: `  laudspeaker expunge --id 0190b2c4-7a1e-7c55-9d1f-2f6c1a0b3d4e
  laudspeaker expunge --tenant shop
  laudspeaker expunge --older-than 720h --yes`,
		Args: cobra.NoArgs,
	}
	cl := addClient(c)
	ids := c.Flags().StringSlice("id", nil, "a notification's id; repeated or separated by commas")
	tenant := c.Flags().String("tenant", "", "all notifications of this tenant")
	older := c.Flags().Duration("older-than", 0, "all notifications accepted longer ago than that, such as 720h")
	yes := c.Flags().Bool("yes", false, "do not ask")
	c.MarkFlagsMutuallyExclusive("id", "tenant", "older-than")
	c.RunE = func(c *cobra.Command, _ []string) error {
		e := &expunge{client: cl}
		switch {
		case c.Flags().Changed("id"):
			if err := e.named(*ids); err != nil {
				return err
			}
		case *tenant != "":
			e.what, e.bodies = "all notifications of tenant "+*tenant, []map[string]any{{"tenant": *tenant}}
		case *older > 0:
			before := time.Now().Add(-*older).UTC()
			e.what = "all notifications accepted before " + readable(before)
			e.bodies = []map[string]any{{"before": before}}
		default:
			return errors.New("say which notifications: --id ID, --tenant NAME or --older-than 720h")
		}
		if !*yes && !e.agreed(c) {
			return errors.New("nothing was expunged: answer yes, or give --yes")
		}
		return e.run(c.Context(), c)
	}
	return c
}

// expunge is one run of the command.
type expunge struct {
	*client
	what   string           // it is about
	bodies []map[string]any // of the requests
}

// named chooses notifications by their ids.
func (e *expunge) named(given []string) error {
	var ids []string
	for _, text := range given {
		id, ok := notify.ParseID(strings.TrimSpace(text))
		if !ok {
			return errors.New("--id must be a UUID, as laudspeaker send prints it")
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for some := range slices.Chunk(ids, idsAtOnce) {
		e.bodies = append(e.bodies, map[string]any{"ids": some})
	}
	if e.what = "1 notification"; len(ids) != 1 {
		e.what = thousands(int64(len(ids))) + " notifications"
	}
	return nil
}

// agreed asks whoever gave the command.
func (e *expunge) agreed(c *cobra.Command) bool {
	fmt.Fprintf(c.ErrOrStderr(), "This removes recipient, reference, metadata and payload of %s from the status store of %s, for good. Go on? (yes/no) ", e.what, e.server)
	answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(answer), "yes")
}

// run asks until the server says that nothing is left.
func (e *expunge) run(ctx context.Context, c *cobra.Command) error {
	progress := newProgress(c.ErrOrStderr())
	total := 0
	for _, body := range e.bodies {
		for complete := false; !complete; {
			var answer struct {
				Expunged int  `json:"expunged"`
				Complete bool `json:"complete"`
			}
			if err := e.call(ctx, http.MethodPost, "/v1/expunge", body, &answer); err != nil {
				if total > 0 {
					return fmt.Errorf("stopped after expunging %s; repeat the command: %w", thousands(int64(total)), err)
				}
				return err
			}
			total, complete = total+answer.Expunged, answer.Complete
			progress.add(answer.Expunged, "expunging")
		}
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "expunged %s; what Kafka holds of them stays there until its retention\n", thousands(int64(total)))
	return err
}
