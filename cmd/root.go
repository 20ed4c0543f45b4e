// Package cmd is the command line, and the place where the parts are joined.
//
// It alone knows all packages and which process runs what: roles.go wires each role in one straight line, the other files
// hold a command each. A role that fails ends the process with an error that names the role; so does a port that is
// taken. Kafka being away is no failure: roles wait for it and say so.
package cmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Execute runs the command line and gives the exit code: 0, or 1 after one error on stderr.
func Execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "laudspeaker:", err)
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "laudspeaker",
		Short: "Notifications by e-mail, SMS and push, durable from the first second",
		Long: `Laudspeaker accepts a notification (channel, recipient, payload), keeps it in Kafka, and delivers it through a
gateway of its channel.

  laudspeaker all                         everything in one process, its own broker included; the way to start
  laudspeaker serve-api                   only the HTTP API, in front of a Kafka of your own
  laudspeaker work --channel email        only the workers of a channel

Nothing has to be configured to try it: without a gateway, messages are captured and not sent.`,
		Example: `  laudspeaker all
  laudspeaker send email --to ada@example.com --subject Hello --text 'It works.'
  laudspeaker outbox --follow
  laudspeaker tail`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(&cobra.Group{ID: "roles", Title: "Roles (they run until a signal comes):"})
	root.AddGroup(&cobra.Group{ID: "client", Title: "Speaking to a running server:"})
	root.AddGroup(&cobra.Group{ID: "bus", Title: "Operating what runs, over Kafka:"})
	root.AddGroup(&cobra.Group{ID: "operate", Title: "Setting up:"})
	for group, commands := range map[string][]*cobra.Command{
		"roles":   {newAll(), newServeAPI(), newWork()},
		"client":  {newSend(), newStatus(), newTail(), newCancel(), newOutbox(), newExpunge()},
		"bus":     {newAudit(), newDLQ(), newPause(), newResume(), newSuppress(), newUnsuppress()},
		"operate": {newBench(), newConfig(), newGateways(), newKeys(), newTopics(), newVersion()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}
