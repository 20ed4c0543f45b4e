package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

func TestTopicsRepair_NamesWhatIsLostAndLeavesTheLogAlone(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "kafka")
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	topic := kafkatest.Topic(t, []string{b.Addr()}, 1)
	const lost = "018f0000-0000-7000-8000-000000000002"
	for _, id := range []string{"018f0000-0000-7000-8000-000000000001", lost, "018f0000-0000-7000-8000-000000000003"} {
		batch := batchtest.Batch(0, 0, 1, batchtest.Record(0, nil, []byte(`{"id":"`+id+`"}`)))
		require.Zero(t, kafkatest.ProduceRaw(t, b.Addr(), topic, 0, batch))
	}

	repair := func(args ...string) (code int, out string) {
		var said bytes.Buffer
		code = Execute(t.Context(), append([]string{"topics", "repair"}, args...), &said, &said)
		return code, said.String()
	}
	code, out := repair("--from", data)
	require.Equal(t, 1, code)
	require.Contains(t, out, "is in use by")
	require.NoError(t, b.Close())

	segment := filepath.Join(dir, "partitions", topic+"-0", "0.dat")
	raw, err := os.ReadFile(segment)
	require.NoError(t, err)
	raw[len(raw)/3+11]++ // the length of the second batch
	require.NoError(t, os.WriteFile(segment, raw, 0o600))

	_, err = embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "laudspeaker topics repair --from "+dir)
	code, out = repair("--from", data)
	require.Zero(t, code, out)
	require.Contains(t, out, "lost: "+topic+"/0, offsets 1 to 1")
	require.Contains(t, out, "mv "+dir+" "+dir+".damaged && mv "+dir+".repaired "+dir)
	b, err = embedded.Open(embedded.Config{Dir: dir + ".repaired", Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	defer b.Close()
	require.Len(t, kafkatest.Records(t, []string{b.Addr()}, topic, 2), 2)

	code, out = repair()
	require.Equal(t, 1, code)
	require.Contains(t, out, "--from is missing")
	code, out = repair("--from", t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, out, "holds no log")
}
