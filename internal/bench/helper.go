package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
)

// Kinds of helpers: the processes of a run that are no roles of Laudspeaker.
const (
	brokerHelper  = "broker"
	sinkHelper    = "sink"
	bareHelper    = "bare"
	consumeHelper = "consume"
	directHelper  = "direct"
	storeHelper   = "store"
)

// Helper is the main function of the helper processes. It ends when in ends or when ctx ends.
func Helper(ctx context.Context, kind, settings string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &parent{lines: make(chan []byte), out: json.NewEncoder(out)}
	go func() {
		defer cancel()
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			select {
			case p.lines <- append([]byte(nil), lines.Bytes()...):
			case <-ctx.Done():
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- runHelper(ctx, kind, settings, p) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(2 * time.Second):
		return nil // a call of a slow sink is under way; it ends with the process
	}
}

func runHelper(ctx context.Context, kind, settings string, p *parent) error {
	switch kind {
	case brokerHelper:
		return run(ctx, settings, p, runBroker)
	case sinkHelper:
		return run(ctx, settings, p, runSink)
	case bareHelper:
		return run(ctx, settings, p, runBare)
	case consumeHelper:
		return run(ctx, settings, p, runConsume)
	case directHelper:
		return run(ctx, settings, p, runDirect)
	case storeHelper:
		return run(ctx, settings, p, runStore)
	}
	return fmt.Errorf("bench has no helper %q", kind)
}

func run[S any](ctx context.Context, text string, p *parent, helper func(context.Context, S, *parent) error) error {
	var settings S
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return fmt.Errorf("settings of a helper: %w", err)
	}
	return helper(ctx, settings, p)
}

// parent is the run, as a helper sees it.
type parent struct {
	lines chan []byte
	out   *json.Encoder
}

// tell sends a message to the run.
func (p *parent) tell(message any) error { return p.out.Encode(message) }

// ask waits for the next message of the run. ok is false when the run has ended.
func (p *parent) ask(ctx context.Context, message any) (ok bool, err error) {
	select {
	case line := <-p.lines:
		return true, json.Unmarshal(line, message)
	case <-ctx.Done():
		return false, nil
	}
}

type brokerSettings struct {
	Dir string `json:"dir"`
}

// embeddedBytes is more than any leg writes: nothing is deleted while it is measured.
const embeddedBytes = 16 << 30

// runBroker is an embedded broker in a process of its own, so that several roles share it and its CPU time is counted apart.
func runBroker(ctx context.Context, s brokerSettings, p *parent) error {
	broker, err := embedded.Open(embedded.Config{Dir: s.Dir, Listen: "127.0.0.1:0", MaxBytes: embeddedBytes})
	if err != nil {
		return err
	}
	defer broker.Close()
	if err := p.tell(addresses{Address: broker.Addr()}); err != nil {
		return err
	}
	return broker.Run(ctx)
}
