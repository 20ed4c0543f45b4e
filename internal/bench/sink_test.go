package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startSink runs a sink in this process, until the test ends.
func startSink(t *testing.T, profile Profile) *sink {
	settings, err := json.Marshal(profile)
	require.NoError(t, err)
	in, stop := io.Pipe()
	out, told := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Helper(context.Background(), sinkHelper, string(settings), in, told) }()
	t.Cleanup(func() {
		require.NoError(t, stop.Close())
		require.NoError(t, <-ended)
		http.DefaultClient.CloseIdleConnections()
	})
	k := &sink{&process{}}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &k.at))
	return k
}

// The libraries of the gateways, which the direct side uses, and the sink understand each other.
func TestSink_TakesWhatTheLibrariesSend(t *testing.T) {
	for _, channel := range []string{"email", "sms", "push"} {
		k := startSink(t, Profile{})
		settings := directSettings{Channel: channel, Sink: k.at, InFlight: 4, Connections: 2, Size: 50}
		d, err := newDirect(settings)
		require.NoError(t, err)
		require.Equal(t, done{}, d.carryOut(t.Context(), settings, order{Messages: 20}), channel)
		require.Equal(t, done{}, d.carryOut(t.Context(), settings, order{Messages: 5}), channel)
		d.close()
		counts, err := k.counts(t.Context())
		require.NoError(t, err)
		require.Equal(t, 20, counts.Ended, channel)
		require.LessOrEqual(t, counts.First, counts.Last)
		taken, err := k.takenAll(t.Context())
		require.NoError(t, err)
		accepted := make([]int64, 21)
		for i := range accepted {
			accepted[i] = 1
		}
		require.Equal(t, Audit{Accepted: 21, Delivered: 20, Lost: 1, Duplicated: 5}, taken.judge(accepted), channel)
	}
}

func TestSink_Rejects(t *testing.T) {
	for _, channel := range []string{"email", "sms", "push"} {
		k := startSink(t, Profile{Faults: Faults{Rejected: 0.999999}})
		settings := directSettings{Channel: channel, Sink: k.at, InFlight: 2, Connections: 1}
		d, err := newDirect(settings)
		require.NoError(t, err)
		result := d.carryOut(t.Context(), settings, order{Messages: 3})
		d.close()
		require.Equal(t, 3, result.Failed, channel)
		require.NotEmpty(t, result.Error)
		taken, err := k.takenAll(t.Context())
		require.NoError(t, err)
		require.Equal(t, Audit{Accepted: 3, Rejected: 3}, taken.judge([]int64{1, 1, 1}), channel)
	}
}

// A pipeline is answered in order (RFC 2920), and a line with two dots is no end.
func TestSink_Pipelining(t *testing.T) {
	k := startSink(t, Profile{})
	conn, err := net.Dial("tcp", k.at.SMTP)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	mail := "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
	body := "Subject: bench-3\r\n\r\n..\r\n.\r\n"
	_, err = io.WriteString(conn, "EHLO me\r\n"+mail+body+mail+strings.Replace(body, "3", "4", 1)+"QUIT\r\n")
	require.NoError(t, err)
	answers, err := io.ReadAll(conn)
	require.NoError(t, err)
	var codes []string
	for line := range strings.Lines(string(answers)) {
		if line[3] == ' ' {
			codes = append(codes, line[:3])
		}
	}
	require.Equal(t, "220 250 250 250 354 250 250 250 354 250 221", strings.Join(codes, " "))
	counts, err := k.counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, counts.Ended)
}
