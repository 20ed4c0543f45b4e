package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newGatewaysStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which gateways the running workers cannot call",
		Long: `Shows the gateways that workers have stopped calling (open circuit breaker), as the workers report on the control topic: since
when, why, and the partitions whose jobs the worker processes. One line for each gateway and process. Reports of a process that
was killed are shown for up to 90 s. Gateways that are paused (laudspeaker pause --gateway) come first.
GET /v1/stats and GET /v1/notifications/ID say which notifications wait.`,
		Example: `  laudspeaker gateways status
  laudspeaker gateways status --json`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	asJSON := c.Flags().Bool("json", false, "one JSON object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return s.onBus(c, func(b *openedBus) error { return b.gatewayReports(c.Context(), c.OutOrStdout(), *asJSON) })
	}
	return c
}

func (b *openedBus) gatewayReports(ctx context.Context, out io.Writer, asJSON bool) error {
	byKind, err := b.toldByKind(ctx, control.KindPause, control.KindGateway)
	if err != nil {
		return err
	}
	shownAny := false
	pauses, reports := byKind[control.KindPause], byKind[control.KindGateway]
	for _, name := range slices.Sorted(maps.Keys(pauses)) {
		e := pauses[name]
		switch {
		case e.Gateway == "":
			continue
		case asJSON:
			fmt.Fprintf(out, "%s\n", e.Record().Value)
		default:
			fmt.Fprintf(out, "%s  paused %s\n", shown(e.Gateway), speakable(since(e, "")))
		}
		shownAny = true
	}
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		e := reports[name]
		if !time.Now().Before(e.ExpiresAt) {
			continue
		}
		shownAny = true
		if asJSON {
			fmt.Fprintf(out, "%s\n", e.Record().Value)
			continue
		}
		fmt.Fprintf(out, "%s  %s%s  by %s, which works on %s\n", shown(e.Gateway), readable(e.State.Since), lead("  ", because("", e.Code, e.Reason)), shown(e.Process), lanesForPeople(e.State))
	}
	if !shownAny && !asJSON {
		fmt.Fprintln(out, "No gateway is paused, and no worker reports a gateway that it cannot call.")
	}
	return nil
}

// lanesForPeople names the partitions of each lane: "email 0-5 of 12, email/bulk 3 of 12".
func lanesForPeople(s *control.GatewayState) string {
	var all []string
	for _, l := range s.Lanes {
		text, _ := l.Partitions.MarshalText() // it has no errors
		name := shown(l.Channel)
		if l.Lane != notify.LaneNormal {
			name += "/" + shown(l.Lane)
		}
		all = append(all, fmt.Sprintf("%s %s of %d", name, notify.Clip(string(text), 100), l.Of))
	}
	if len(all) == 0 {
		return "no partition"
	}
	return strings.Join(all, ", ")
}
