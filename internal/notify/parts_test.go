package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParts_AreReadAsWritten(t *testing.T) {
	var p Parts
	p.Finish(StateSent, "", "recipient", "cc[0]")
	p.Finish(StateRejected, "550 5.1.1", "bcc[48]", "recipient")
	require.Equal(t, "recipient=sent;cc[0]=sent;bcc[48]=rejected 550 5.1.1", p.String())
	require.Equal(t, p.Done, ParseParts(p.String()))
	p.Fields = []string{"recipient", "cc[0]", "cc[1]", "bcc[48]"}
	p.Waiting = []Part{{"cc[1]", StateRetrying, "450"}}
	require.Equal(t, []Part{{"recipient", StateSent, ""}, {"cc[0]", StateSent, ""}, {"cc[1]", StateRetrying, "450"}, {"bcc[48]", StateRejected, "550 5.1.1"}}, p.List())
}

// Whatever a header holds, no more than the results that it may hold is read, and none of another kind.
func TestParts_HostileHeader(t *testing.T) {
	require.Empty(t, ParseParts("recipient=delivered;cc[100]=sent;from=sent;cc[0]=sent\x00;=;;recipient"))
	require.Len(t, ParseParts(strings.Repeat("recipient=sent;", 1000)), maxParts)
	rapid.Check(t, func(t *rapid.T) {
		for _, d := range ParseParts(rapid.String().Draw(t, "header")) {
			require.Contains(t, []State{StateSent, StateRejected}, d.State)
			require.LessOrEqual(t, len(d.Code), 20)
		}
	})
}
