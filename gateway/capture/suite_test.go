package capture

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is the target of the messages. To refuse messages it becomes a file.
type folder string

func (f folder) outside() string { return string(f) + ".away" }

func (f folder) refuse(t testing.TB) {
	require.NoError(t, os.Rename(string(f), f.outside()))
	require.NoError(t, os.WriteFile(string(f), nil, 0o600))
}

func (f folder) accept(t testing.TB) {
	if _, err := os.Stat(f.outside()); err == nil {
		require.NoError(t, os.Remove(string(f)))
		require.NoError(t, os.Rename(f.outside(), string(f)))
	}
}

func (f folder) delivered(t testing.TB) []string {
	var texts []string
	dir := string(f)
	if _, err := os.Stat(f.outside()); err == nil {
		dir = f.outside()
	}
	names, err := list(dir)
	require.NoError(t, err)
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		texts = append(texts, string(text))
	}
	return texts
}

func newSender(t testing.TB, dir string, keep int) *Sender {
	s, err := New("capture", config.Capture{Dir: dir, Keep: keep})
	require.NoError(t, err)
	return s
}

func TestConformance(t *testing.T) {
	const noWire, noProvider = "files have no wire", "a disk refuses nobody in particular"
	gatewaytest.Run(t, gatewaytest.Suite[folder]{
		Fake:      func(t testing.TB) folder { return folder(filepath.Join(t.TempDir(), "outbox")) },
		New:       func(t testing.TB, f folder, _ *zap.Logger) gateway.Sender { return newSender(t, string(f), 1000) },
		Messages:  []func(int) *notify.Message{gatewaytest.Email, gatewaytest.SMS, gatewaytest.Push},
		Accept:    func(f folder) { f.accept(t) },
		Refuse:    func(f folder) { f.refuse(t) },
		Delivered: func(f folder) []string { return f.delivered(t) },
		Simulated: true,
		Replies: []gatewaytest.Case[folder]{
			{Name: "no folder", Reply: func(f folder) { f.refuse(t) }, Want: notify.Unavailable, WantRemedy: "make room"},
			{Name: "no payload", Message: func(m *notify.Message) { m.Email, m.SMS, m.Push = nil, nil, nil }, Want: notify.Permanent},
			{Name: "id that is a path", Message: func(m *notify.Message) { m.ID = "../../../../etc/passwd" }, Want: notify.Permanent, WantReason: "UUID"},
		},
		Exempt: map[gatewaytest.Kind]string{
			gatewaytest.Gone: noProvider, gatewaytest.Transient: noProvider, gatewaytest.Throttled: noProvider,
			gatewaytest.Elsewhere: noProvider, gatewaytest.Crowded: noProvider, gatewaytest.Paused: noProvider,
			gatewaytest.OptedOut: noProvider, gatewaytest.Originated: noProvider,
			gatewaytest.Garbled: noWire, gatewaytest.Partial: noWire, gatewaytest.LossBefore: noWire, gatewaytest.LossAfter: noWire, gatewaytest.HangBefore: noWire,
			gatewaytest.HangAfter: noWire, gatewaytest.CancelBefore: noWire, gatewaytest.CancelAfter: noWire,
		},
	})
}
