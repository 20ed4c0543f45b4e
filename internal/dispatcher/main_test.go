package dispatcher

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// headers gives hs by name and fails if one is there twice.
func headers(t require.TestingT, hs []kafka.Header) map[string]string {
	all := map[string]string{}
	for _, h := range hs {
		require.NotContains(t, all, h.Key, "a header twice")
		all[h.Key] = string(h.Value)
	}
	return all
}

func topics() Topics {
	return Topics{Prefix: "acme.", Jobs: map[notify.Channel]string{
		notify.ChannelEmail: "email_topic", notify.ChannelPush: "push_topic", notify.ChannelSMS: "",
	}}
}
