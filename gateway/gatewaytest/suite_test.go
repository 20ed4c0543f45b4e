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

// TestSound: a sound sender passes; with a fault named in the environment it is the child of TestFaultsAreFound.
func TestSound(t *testing.T) { Run(t, suite(os.Getenv("GATEWAYTEST_FAULT"))) }

// TestFaultsAreFound runs this test binary again for each fault: the suite has to fail, and at the right place.
func TestFaultsAreFound(t *testing.T) {
	for fault, where := range map[string]string{
		"logs the recipient":       "shown in the log line",
		"wraps the recipient":      "shown in the error",
		"no receipt":               "TestSound/accepted",
		"no remedy":                "what an operator does about it",
		"loses":                    "TestSound/concurrent_use",
		"repeats":                  "times that",
		"sends too late":           "TestSound/ended_before_it_began",
		"sends after close":        "a closed sender sends nothing",
		"sends to check":           "a check sends nothing",
		"delivers what it rejects": "must not have been delivered",
		"takes lost for failed":    "TestSound/step/after/timeout",
		"leaves a goroutine":       "TestSound/close",
		"ignores its context":      "Send outlives its context",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSound$", "-test.failfast")
			child.Env = append(os.Environ(), "GATEWAYTEST_FAULT="+fault)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the suite passes a sender that %s", fault)
			require.Contains(t, string(out), where)
		})
	}
}

// TestKinds: what is not covered has to be exempt with a reason, and what is covered must not be.
func TestKinds(t *testing.T) {
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

func TestLeak(t *testing.T) {
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

// masking hides what it wraps from its own text, not from the chain; struct2 shows only by %#v.
type masking struct{ err error }

func (m masking) Error() string { return "masked" }
func (m masking) Unwrap() error { return m.err }

type struct2 struct{ S string }

func (struct2) Error() string { return "masked" }

// TestEveryGateway: no package below gateway can forget the suite.
func TestEveryGateway(t *testing.T) {
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

// TestKinds_TextMessages: a gateway that sends them has to show what opt-outs need.
func TestKinds_TextMessages(t *testing.T) {
	s := suite("")
	s.Messages = append(s.Messages, SMS)
	require.ElementsMatch(t, []string{"reply: opted out: neither covered nor exempt", "sender of a text: neither covered nor exempt"}, s.missing())
	s.Origins = func(*provider) []string { return nil }
	s.Replies = append(s.Replies, Case[*provider]{Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonOptedOut})
	require.Empty(t, s.missing())
}
