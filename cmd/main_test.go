package cmd

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that no goroutine is left behind when the roles have ended, or lives as the program itself when a test
// asks for that.
func TestMain(m *testing.M) {
	if os.Getenv(asProgramEnv) != "" {
		os.Exit(beProgram())
	}
	goleak.VerifyTestMain(
		m,
		// Sarama's fetch requests count in the default registry of the metrics library, whose one ticker never ends.
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// Its circuit breaker, once open, sleeps ten seconds and cannot be woken.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
		// What the proxy of the chaos suite has still to write into a link that was cut.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		// The tests' own requests.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
