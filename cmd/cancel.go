package cmd

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newCancel() *cobra.Command {
	c := &cobra.Command{
		Use:   "cancel ID",
		Short: "Keep a notification from being sent",
		Long: `Cancels a notification, by the id with which it was accepted. No attempt starts later than a second afterwards; what was
sent before stays sent. The same over HTTP is POST /v1/notifications/ID/cancel.`,
		Example: `  laudspeaker cancel 0190b2c4-7a1e-7c55-9d1f-2f6c1a0b3d4e`,
		Args:    cobra.ExactArgs(1),
	}
	cl := addClient(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, ok := notify.ParseID(args[0])
		if !ok {
			return errors.New("ID must be a UUID, as laudspeaker send prints it")
		}
		var answer struct {
			ID          string    `json:"id"`
			EffectiveAt time.Time `json:"effective_at"`
		}
		if err := cl.call(c.Context(), http.MethodPost, "/v1/notifications/"+id+"/cancel", nil, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s is cancelled: no attempt starts after %s; what was sent before stays sent\n", answer.ID, clock(answer.EffectiveAt))
		return err
	}
	return c
}
