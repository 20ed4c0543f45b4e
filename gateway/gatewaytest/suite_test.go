package gatewaytest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestSuite_SoundGatewayPasses: a sound sender passes. With a fault in the environment, the test is the child process of
// TestSuite_FindsFaults.
func TestSuite_SoundGatewayPasses(t *testing.T) { Run(t, suite(os.Getenv("GATEWAYTEST_FAULT"))) }

// TestSuite_FindsFaults runs this test binary again for each fault: the suite must fail at the right place.
func TestSuite_FindsFaults(t *testing.T) {
	for fault, where := range map[string]string{
		"logs the recipient":       "shown in the log line",
		"wraps the recipient":      "shown in the error",
		"no receipt":               "TestSuite_SoundGatewayPasses/accepted",
		"no remedy":                "what an operator does about it",
		"loses":                    "TestSuite_SoundGatewayPasses/concurrent_use",
		"repeats":                  "times that",
		"sends too late":           "TestSuite_SoundGatewayPasses/ended_before_it_began",
		"sends after close":        "a closed sender sends nothing",
		"sends to check":           "a check sends nothing",
		"delivers what it rejects": "must not have been delivered",
		"takes lost for failed":    "TestSuite_SoundGatewayPasses/step/after/timeout",
		"leaves a goroutine":       "TestSuite_SoundGatewayPasses/close",
		"ignores its context":      "Send outlives its context",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuite_SoundGatewayPasses$", "-test.failfast")
			child.Env = append(os.Environ(), "GATEWAYTEST_FAULT="+fault)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the suite passes a sender that %s", fault)
			require.Contains(t, string(out), where)
		})
	}
}

// TestKinds_Required: a kind without a case needs an exemption with a reason, and a kind with a case must have none.
func TestKinds_Required(t *testing.T) {
	s := suite("")
	require.Empty(t, s.missing())
	s.Replies, s.Refuse = s.Replies[1:], nil
	s.Exempt = map[Kind]string{Garbled: "", LossBefore: "no wire", Close: "tired"}
	require.ElementsMatch(t, []string{
		"reply: permanent: neither covered nor exempt",
		"check with wrong credentials: neither covered nor exempt",
		"recovery: neither covered nor exempt",
		"reply: garbled: exempt without a reason",
		"reply: partial: neither covered nor exempt",
		"connection lost after the message was written: neither covered nor exempt",
		"close: covered, so it needs no exemption",
	}, s.missing())
}

func TestLeak_FindsSecrets(t *testing.T) {
	for _, err := range []error{
		errors.New("the hush is out"),
		fmt.Errorf("a: %w", errors.New("hush")),
		masking{errors.New("hush")},
		errors.Join(errors.New("a"), masking{fmt.Errorf("b: %w", errors.New("hush"))}),
		struct2{S: "hush"},
	} {
		require.Equal(t, "hush", leak(err, []string{"", "other", "hush"}), "%v", err)
	}
	require.Empty(t, leak(errors.New("nothing"), []string{"hush"}))
}

// masking hides a wrapped error from its own text, but not from the chain; struct2 shows it only with %#v.
type masking struct{ err error }

func (m masking) Error() string { return "masked" }
func (m masking) Unwrap() error { return m.err }

type struct2 struct{ S string }

func (struct2) Error() string { return "masked" }

// TestSuite_EveryGatewayRunsIt: every package below gateway runs the suite.
func TestSuite_EveryGatewayRunsIt(t *testing.T) {
	dirs, err := filepath.Glob("../*/")
	require.NoError(t, err)
	for _, dir := range dirs {
		code, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		if len(code) == 0 || filepath.Base(dir) == "gatewaytest" {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			for _, file := range code {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				if strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "gatewaytest.Run(t,") {
					return
				}
			}
			t.Errorf("no test of gateway/%s calls gatewaytest.Run", filepath.Base(dir))
		})
	}
}

// TestKinds_TextMessages: a gateway for text messages must show the cases of opt-outs.
func TestKinds_TextMessages(t *testing.T) {
	s := suite("")
	s.Messages = append(s.Messages, SMS)
	require.ElementsMatch(t, []string{"reply: opted out: neither covered nor exempt", "sender of a text: neither covered nor exempt"}, s.missing())
	s.Origins = func(*provider) []string { return nil }
	s.Replies = append(s.Replies, Case[*provider]{Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonOptedOut})
	require.Empty(t, s.missing())
}
