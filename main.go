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
	ctx, drain := context.WithCancel(context.Background())
	// Both signals are read by one hand: giving the second back to the system leaves a moment in which it is lost.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		drain()
		<-signals
		os.Exit(1)
	}()
	os.Exit(cmd.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
