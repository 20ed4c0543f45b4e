// Laudspeaker accepts notifications by HTTP or from Kafka and delivers each through a gateway of its channel.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/laudspeaker/laudspeaker/cmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains; with nobody listening any more, a second one ends the process at once
	os.Exit(cmd.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
