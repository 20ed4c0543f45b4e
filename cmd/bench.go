package cmd

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/bench"
)

func newBench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput, latency, CPU time and memory on this machine",
		Long: `Measures Laudspeaker beside the bare libraries on this machine. Choose what to measure:

  laudspeaker bench ingest     notifications per second that the API makes durable
  laudspeaker bench deliver    messages per second that a worker delivers from a full topic
  laudspeaker bench latency    time from acceptance to the gateway, at a steady rate
  laudspeaker bench idle       cost of processes that have nothing to do
  laudspeaker bench store      cost of recording the fate of notifications

Each run starts processes and sinks of its own on loopback, on an embedded broker or with --brokers on a Kafka of yours, where it
uses topics of its own and deletes them at the end. Nothing is sent to a provider. docs/performance.md says how to read the figures.`,
		Example: `  laudspeaker bench ingest --short
  laudspeaker bench deliver --channel sms --brokers 127.0.0.1:9092 --kafka-pid 4711`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBenchIngest(), newBenchDeliver(), newBenchLatency(), newBenchIdle(), newBenchStore(), newBenchHelper())
	return c
}

// benchRun is a run of a benchmark.
type benchRun interface {
	Run(ctx context.Context) (*bench.Result, error)
}

// addBench gives a command the flags that all runs have, and runs it. prepare completes and checks the arguments.
func addBench(c *cobra.Command, o *bench.Options, leg time.Duration, legs int, prepare func() (benchRun, error)) {
	f := c.Flags()
	f.StringSliceVar(&o.Brokers, "brokers", nil, "Kafka's addresses, host:port, separated by commas (default: an embedded broker)")
	f.IntVar(&o.Partitions, "partitions", 0, "partitions of the topics (default: 2 on the embedded broker, 12 on a Kafka)")
	f.IntVar(&o.KafkaPID, "kafka-pid", 0, "process of a broker on this machine whose CPU time is measured too")
	f.StringArrayVar(&o.Set, "set", nil, "any setting of the roles, as key=value; may be repeated")
	f.IntVar(&o.Legs, "legs", legs, "legs of each side; the result is the median")
	f.BoolVar(&o.Short, "short", false, "one leg of a second at most: shows that everything works, and judges nothing")
	f.BoolVar(&o.AnyMachine, "any-machine", false, "judge the run also where the baseline is slower than on the reference machine")
	asJSON := f.Bool("json", false, "print one JSON object")
	if leg > 0 {
		f.DurationVar(&o.Leg, "leg", leg, "length of a leg")
	}
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		o.Program, o.Version, o.Progress = program, "laudspeaker "+version, c.ErrOrStderr()
		run, err := prepare()
		if err != nil {
			return err
		}
		result, err := bench.Do(c.Context(), run.Run)
		if result == nil {
			return err
		}
		if !*asJSON {
			if printed := result.Print(c.OutOrStdout()); printed != nil {
				return printed
			}
			return err
		}
		encoder := json.NewEncoder(c.OutOrStdout())
		encoder.SetEscapeHTML(false)
		if printed := encoder.Encode(result); printed != nil {
			return printed
		}
		return err
	}
}

// profileFlags are those of a sink.
func profileFlags(c *cobra.Command) func() (bench.Profile, error) {
	latency := c.Flags().Duration("sink-latency", 0, "time that the sink takes for each message")
	faults := c.Flags().String("sink-fail", "", "share of the requests that the sink does not accept, such as 0.01 or transient=0.01,throttled=0.01,rejected=0.01")
	return func() (bench.Profile, error) {
		f, err := bench.ParseFaults(*faults)
		return bench.Profile{Latency: *latency, Faults: f}, err
	}
}

func newBenchHelper() *cobra.Command {
	return &cobra.Command{
		Use:     "helper KIND SETTINGS",
		Short:   "A process that a run starts",
		Example: `  laudspeaker bench helper sink '{}'`,
		Hidden:  true,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return bench.Helper(c.Context(), args[0], args[1], c.InOrStdin(), c.OutOrStdout())
		},
	}
}
