package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	stamp      = "20060102T150405.000000000Z"
	unfinished = ".unfinished-"
)

// files matches the names of captured messages. The order of names is the order of capture: 20260501T120000.000000000Z-<id>.eml
var files = regexp.MustCompile(`^(\d{8}T\d{6}\.\d{9}Z)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(eml|json)$`)

func name(at time.Time, id, suffix string) string { return at.Format(stamp) + "-" + id + suffix }

// list returns the names of the captured messages, oldest first. It ignores other files.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && files.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// record returns m as JSON for people: indented, and without HTML escapes.
func record(m *notify.Message) ([]byte, error) {
	n := m.Notification
	var payload any
	switch {
	case m.SMS != nil:
		payload = m.SMS
	case m.Push != nil:
		payload = m.Push
	default:
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": payload is missing"}
	}
	text, err := encode(payload, "")
	if err != nil {
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": payload cannot be written as JSON"}
	}
	n.Payload = text
	return encode(n, "  ")
}

// withheld returns a sensitive m as JSON: its envelope, and a sentence in place of the content.
func withheld(m *notify.Message) ([]byte, error) {
	n := m.Notification
	n.Payload, n.Template = nil, nil
	return encode(struct {
		notify.Notification
		Note string `json:"note"`
	}{n, "The notification is marked as sensitive: what it says was not kept."}, "  ")
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}
