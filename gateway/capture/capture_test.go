package capture

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// captured sends messages to an empty outbox that keeps this number of messages.
func captured(t *testing.T, keep int, messages ...*notify.Message) (*Outbox, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "outbox")
	s := newSender(t, dir, keep)
	defer s.Close()
	for _, m := range messages {
		receipt, err := s.Send(t.Context(), m)
		require.NoError(t, err)
		require.True(t, receipt.Simulated)
		require.FileExists(t, receipt.ProviderID)
	}
	o, err := NewOutbox(dir)
	require.NoError(t, err)
	return o, dir
}

func TestSender_MailIsReadable(t *testing.T) {
	m := gatewaytest.Email(1)
	m.Email.Subject, m.Email.From = "Grüße 👋", ""
	o, _ := captured(t, 5, m)
	c, err := o.Get(m.ID)
	require.NoError(t, err)
	require.Equal(t, ".eml", filepath.Ext(c.File))
	require.True(t, filepath.IsAbs(c.File))
	require.Equal(t, []string{"Grüße 👋", "email"}, []string{c.Summary, string(c.Channel)})
	require.Contains(t, c.Recipient, "gwperson000001@example.com")
	msg, err := mail.ReadMessage(strings.NewReader(c.Content))
	require.NoError(t, err)
	require.Contains(t, msg.Header.Get("From"), "no-reply@laudspeaker.invalid")
	require.NotContains(t, c.Content, "gwblind", "bcc never shows")
	body, err := io.ReadAll(msg.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), gatewaytest.Mark(1))
}

func TestSender_OtherChannelsAreReadable(t *testing.T) {
	text, push := gatewaytest.SMS(1), gatewaytest.Push(2)
	text.SMS.Body = "Grüße & <b> 👋"
	text.Payload = json.RawMessage(`{"body":"Gr\u00fc\u00dfe \u0026 \u003cb\u003e \ud83d\udc4b"}`)
	o, _ := captured(t, 5, text, push)
	c, err := o.Get(strings.ToUpper(text.ID))
	require.NoError(t, err)
	require.Contains(t, c.Content, `    "body": "Grüße & <b> 👋"`)
	require.Equal(t, notify.Captured{
		ID: text.ID, Channel: notify.ChannelSMS, Recipient: "+15550000001", Summary: "Grüße & <b> 👋", At: c.At, File: c.File, Content: c.Content,
	}, c)
	list, err := o.List(1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, notify.ChannelPush, list[0].Channel)
	require.Contains(t, list[0].Summary, "Gwtitle")
	require.Empty(t, list[0].Content)
}

func TestOutbox_NewestFirstAndBounded(t *testing.T) {
	var all []*notify.Message
	for n := range 12 {
		all = append(all, []*notify.Message{gatewaytest.Email(n), gatewaytest.SMS(n), gatewaytest.Push(n)}[n%3])
	}
	o, dir := captured(t, 5, all...)
	list, err := o.List(100)
	require.NoError(t, err)
	require.Len(t, list, 5)
	for i, c := range list {
		require.Equal(t, all[11-i].ID, c.ID)
		require.WithinDuration(t, time.Now(), c.At, time.Hour)
		require.True(t, i == 0 || c.At.Before(list[i-1].At))
	}
	_, err = o.Get(all[0].ID)
	require.ErrorIs(t, err, ErrNotFound)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 5, "nothing else is left in the folder")
}

func TestSender_FilesAreForOwnerOnly(t *testing.T) {
	m := gatewaytest.SMS(1)
	o, dir := captured(t, 5, m)
	c, err := o.Get(m.ID)
	require.NoError(t, err)
	for path, want := range map[string]fs.FileMode{dir: 0o700, c.File: 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm())
	}
}

// TestSender_Restart: captured messages stay, and unfinished files are removed unless another process may be writing them.
func TestSender_Restart(t *testing.T) {
	m := gatewaytest.SMS(1)
	o, dir := captured(t, 5, m)
	old, young := filepath.Join(dir, unfinished+"old"), filepath.Join(dir, unfinished+"young")
	for _, f := range []string{old, young} {
		require.NoError(t, os.WriteFile(f, nil, 0o600))
	}
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)))
	s := newSender(t, dir, 5)
	defer s.Close()
	require.NoFileExists(t, old)
	require.FileExists(t, young)
	_, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	list, err := o.List(10)
	require.NoError(t, err)
	require.Len(t, list, 2, "captured twice is seen twice")
}

// TestSender_IDsStayInFolder: an ID is never used as a path, and files with other names are not listed.
func TestSender_IDsStayInFolder(t *testing.T) {
	o, dir := captured(t, 5)
	secret := filepath.Join(filepath.Dir(dir), "secret.json")
	require.NoError(t, os.WriteFile(secret, []byte(`{}`), 0o600))
	id := notify.NewID()
	link := filepath.Join(dir, name(time.Now().UTC(), id, ".json"))
	require.NoError(t, os.Symlink(secret, link))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.json"), []byte(`{}`), 0o600))
	for _, id := range []string{
		id, "", ".", "..", "../secret", "../secret.json", "..%2fsecret", "/etc/passwd", "notes", "*", "\x00",
		"../../../../../../../../../etc/passwd", strings.Repeat("a", 36), "........-....-....-....-............",
	} {
		_, err := o.Get(id)
		require.ErrorIs(t, err, ErrNotFound, id)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	list, err := o.List(10)
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestOutbox_EditedFiles: a person may have edited the files.
func TestOutbox_EditedFiles(t *testing.T) {
	o, dir := captured(t, 5)
	at := time.Now().UTC()
	for i, f := range []string{".eml", ".json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name(at.Add(time.Duration(i)), notify.NewID(), f)), []byte("\x00nonsense"), 0o600))
	}
	list, err := o.List(10)
	require.NoError(t, err)
	require.Len(t, list, 2)
}

func TestOutbox_NoFolderYet(t *testing.T) {
	o, err := NewOutbox(filepath.Join(t.TempDir(), "none"))
	require.NoError(t, err)
	list, err := o.List(10)
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = o.Get(notify.NewID())
	require.ErrorIs(t, err, ErrNotFound)
}

// TestOutbox_ReadWhileWriting: readers see complete files, also with two writers in one folder.
func TestOutbox_ReadWhileWriting(t *testing.T) {
	o, dir := captured(t, 5)
	var writers sync.WaitGroup
	for w := range 2 {
		s := newSender(t, dir, 5)
		defer s.Close()
		writers.Go(func() {
			for n := range 200 {
				if _, err := s.Send(t.Context(), gatewaytest.SMS(w*1000+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		list, err := o.List(100)
		require.NoError(t, err)
		for _, c := range list {
			require.NotEmpty(t, c.Summary)
		}
	}
	list, err := o.List(100)
	require.NoError(t, err)
	require.Len(t, list, 5)
}

func TestNew_NamesFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for field, cfg := range map[string]config.Capture{
		"dir: set": {Keep: 5}, "keep": {Dir: t.TempDir()}, "dir: ": {Dir: file, Keep: 5},
	} {
		_, err := New("capture", cfg)
		require.ErrorContains(t, err, "gateways.capture."+field)
	}
}

// TestSender_SensitiveContentIsWithheld: on every channel the file has recipient and time, and nothing of the content.
func TestSender_SensitiveContentIsWithheld(t *testing.T) {
	all := []*notify.Message{gatewaytest.Email(1), gatewaytest.SMS(2), gatewaytest.Push(3)}
	for _, m := range all {
		m.Sensitive, m.Reference = true, "order 7"
		m.Payload = json.RawMessage(`{"body":"gwsecretbody"}`)
	}
	o, dir := captured(t, 5, all...)
	for _, m := range all {
		c, err := o.Get(m.ID)
		require.NoError(t, err)
		require.Equal(t, notify.Captured{
			ID: m.ID, Channel: m.Channel, Recipient: m.Recipient, At: c.At, File: c.File, Content: c.Content, Sensitive: true,
		}, c)
		require.Contains(t, c.Content, "marked as sensitive")
		require.Contains(t, c.Content, "order 7")
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, len(all))
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		for _, word := range []string{"gwsecret", "Gwsubject", "Gwtitle", "gwblind", "payload"} {
			require.NotContains(t, string(text), word)
		}
	}
}
