package cmd

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/bench"
)

func newBenchIngest() *cobra.Command {
	c := &cobra.Command{
		Use:   "ingest",
		Short: "Measure how many notifications the API makes durable",
		Long: `Posts notifications to serve-api over many connections without pause. The baseline is a bare server: net/http, json.Unmarshal into a
struct, one send of an idempotent Sarama producer with acks=all. With --store off the status store is not open, so nothing is recorded.`,
		Example: `  laudspeaker bench ingest
  laudspeaker bench ingest --batch 500 --store sqlite --brokers 127.0.0.1:9092
  laudspeaker bench ingest --short --json`,
	}
	r := &bench.Ingest{}
	f := c.Flags()
	f.StringVar(&r.Channel, "channel", "sms", "email, sms or push")
	f.IntVar(&r.Connections, "connections", 64, "connections of the clients")
	f.IntVar(&r.Batch, "batch", 1, "notifications in a request")
	f.StringVar(&r.Store, "store", "off", "off or sqlite")
	f.IntVar(&r.Size, "size", 100, "bytes of text in a message")
	addBench(c, &r.Options, 30*time.Second, 7, func() (benchRun, error) { return r, r.Check() })
	return c
}

func newBenchDeliver() *cobra.Command {
	c := &cobra.Command{
		Use:   "deliver",
		Short: "Measure how fast a worker empties a full topic",
		Long: `Fills the topic of a channel, and measures how fast a worker delivers the messages to a sink. The baseline is direct: the library of
the gateway (go-mail, twilio-go, go-fcm) with as many messages in flight, without a log. A leg is as many messages as the direct side
should send in the time of --leg, or --messages.`,
		Example: `  laudspeaker bench deliver --channel email
  laudspeaker bench deliver --channel sms --sink-latency 50ms --in-flight 256 --brokers 127.0.0.1:9092
  laudspeaker bench deliver --channel push --messages 1000000 --partitions 48 --brokers 127.0.0.1:9092
  laudspeaker bench deliver --channel sms --sink-fail transient=0.01,rejected=0.001 --short`,
	}
	r := &bench.Deliver{}
	f := c.Flags()
	f.StringVar(&r.Channel, "channel", "email", "email, sms or push")
	f.IntVar(&r.InFlight, "in-flight", 64, "messages at the gateway at once (channels.NAME.concurrency)")
	f.IntVar(&r.Connections, "connections", 0, "connections to the relay (default: 16, or --in-flight where the sink takes time)")
	f.IntVar(&r.Messages, "messages", 0, "messages in a leg (default: as --leg says)")
	f.IntVar(&r.Size, "size", 100, "bytes of text in a message")
	profile := profileFlags(c)
	addBench(c, &r.Options, 30*time.Second, 7, func() (_ benchRun, err error) {
		if r.Profile, err = profile(); err != nil {
			return nil, err
		}
		return r, r.Check()
	})
	return c
}

func newBenchLatency() *cobra.Command {
	c := &cobra.Command{
		Use:   "latency",
		Short: "Measure the time from acceptance to the gateway at a steady rate",
		Long: `Posts notifications at a steady rate, and measures the time from the answer of the API to the arrival at the sink. Without --brokers
the role "all" runs with its embedded broker, with --brokers serve-api and work run. The baseline is the bare server and a Sarama
consumer that calls the library of the gateway.`,
		Example: `  laudspeaker bench latency --rate 500
  laudspeaker bench latency --rate 300 --keys --for 7m --legs 1
  laudspeaker bench latency --brokers 127.0.0.1:9092 --kafka-pid 4711`,
	}
	r := &bench.Latency{}
	f := c.Flags()
	f.StringVar(&r.Channel, "channel", "sms", "email, sms or push")
	f.Float64Var(&r.Rate, "rate", 500, "notifications per second")
	f.DurationVar(&r.Leg, "for", time.Minute, "length of a leg")
	f.BoolVar(&r.Keys, "keys", false, "send an Idempotency-Key with each notification")
	f.IntVar(&r.Size, "size", 100, "bytes of text in a message")
	profile := profileFlags(c)
	addBench(c, &r.Options, 0, 3, func() (_ benchRun, err error) {
		if r.Profile, err = profile(); err != nil {
			return nil, err
		}
		return r, r.Check()
	})
	return c
}

func newBenchIdle() *cobra.Command {
	c := &cobra.Command{
		Use:   "idle",
		Short: "Measure what the roles cost while nothing happens",
		Long: `Runs the role "all" with its embedded broker, and beside it serve-api and work, with all channels on, and measures the CPU time and the
memory of each process while nothing is sent.`,
		Example: `  laudspeaker bench idle
  laudspeaker bench idle --for 1m --brokers 127.0.0.1:9092`,
	}
	r := &bench.Idle{}
	c.Flags().DurationVar(&r.Leg, "for", 10*time.Minute, "length of a leg")
	addBench(c, &r.Options, 0, 1, func() (benchRun, error) { return r, r.Check() })
	return c
}

func newBenchStore() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Measure what it costs to record the fate of notifications",
		Long: `Feeds the recorder of the status store (SQLite) with the records of notifications that are accepted and sent, and measures the CPU time
of each. The baseline is a bare multi-row insert of a row for each notification into a table of the same length.`,
		Example: `  laudspeaker bench store --rows 1000000
  laudspeaker bench store --short`,
	}
	r := &bench.Store{}
	f := c.Flags()
	f.IntVar(&r.Rows, "rows", 1_000_000, "notifications in the store before the measurement")
	f.IntVar(&r.Lifecycles, "lifecycles", 50_000, "notifications in a leg")
	r.Leg = time.Minute
	addBench(c, &r.Options, 0, 7, func() (benchRun, error) { return r, r.Check() })
	return c
}
