package dispatcher

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An event without a job is none of a ledger: no worker must take it for the end of a job's place.
func TestWhatIsToldIsNoRecordOfALedger(t *testing.T) {
	e := notify.Event{NotificationID: "n-1", State: notify.StateBounced, At: time.Now(), Reason: strings.Repeat("x", 999), ProviderID: strings.Repeat("y", 999)}
	m, err := Desk{Topics: Topics{Prefix: "p."}}.Tell(e)
	require.NoError(t, err)
	require.Equal(t, kafka.Message{Topic: "p.status_topic", Partition: kafka.Hashed, Key: []byte("n-1"), Value: m.Value}, m)
	var told notify.Event
	require.NoError(t, json.Unmarshal(m.Value, &told))
	e.Seal()
	require.Equal(t, []any{e.EventID, true, 500, 255}, []any{told.EventID, told.Final, len(told.Reason), len(told.ProviderID)})
	_, err = Desk{}.Tell(notify.Event{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	require.Error(t, err)
}
