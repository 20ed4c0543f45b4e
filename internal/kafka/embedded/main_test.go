package embedded_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
)

// brokerEnv makes the test binary a broker on the directory that it names.
const brokerEnv = "EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerEnv); dir != "" {
		os.Exit(beBroker(dir))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick")) // of the tests' own clients
}

// beBroker prints its address, or why there is none.
func beBroker(dir string) int {
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(b.Addr())
	_ = b.Run(context.Background()) // until it is killed
	return 0
}
