package producer

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Answers to accepted notifications are written by hand: one goes with every notification, and encoding/json takes several times
// as long. A test compares the two.

// handwritten is an answer that writes its JSON itself: as encoding/json does without HTML escaping, with the line end. It reports
// false for an answer that only encoding/json can write or refuse; what it has appended by then is of no use.
type handwritten interface {
	appendJSON(b []byte) (_ []byte, ok bool)
}

func (a *accepted) appendJSON(b []byte) ([]byte, bool) {
	b, ok := a.appendMembers(append(b, '{'))
	return append(b, '}', '\n'), ok
}

// appendMembers appends what stands between the braces.
func (a *accepted) appendMembers(b []byte) ([]byte, bool) {
	b = notify.AppendText(append(b, `"id":`...), a.ID)
	b = notify.AppendText(append(b, `,"channel":`...), string(a.Channel))
	b = notify.AppendText(append(b, `,"state":`...), string(a.State))
	b = notify.AppendText(append(b, `,"lane":`...), string(a.Lane))
	b, err := notify.AppendTime(append(b, `,"accepted_at":`...), a.AcceptedAt)
	if err != nil {
		return b, false
	}
	b = append(b, `,"expires_at":`...)
	if a.ExpiresAt == nil {
		b = append(b, `null`...)
	} else if b, err = notify.AppendTime(b, *a.ExpiresAt); err != nil {
		return b, false
	}
	if a.Reference != "" {
		b = notify.AppendText(append(b, `,"reference":`...), a.Reference)
	}
	if a.Warnings == nil {
		return b, false
	}
	b = append(b, `,"warnings":[`...)
	for i, w := range a.Warnings {
		if i > 0 {
			b = append(b, ',')
		}
		b = notify.AppendText(b, w)
	}
	b = append(b, ']')
	if a.Drain == nil {
		return b, true
	}
	return appendDrain(append(b, `,"drain":`...), a.Drain)
}

func appendDrain(b []byte, d *notify.Drain) (_ []byte, ok bool) {
	b = strconv.AppendInt(append(b, `{"backlog":`...), d.Backlog, 10)
	b, rate := appendFloat(append(b, `,"rate":`...), &d.Rate)
	b, oldest := appendFloat(append(b, `,"oldest_seconds":`...), d.OldestSeconds)
	b, drain := appendFloat(append(b, `,"drain_seconds":`...), d.DrainSeconds)
	return append(b, '}'), rate && oldest && drain
}

// appendFloat reports false for a number that encoding/json writes with an exponent, or refuses.
func appendFloat(b []byte, f *float64) (_ []byte, ok bool) {
	if f == nil {
		return append(b, `null`...), true
	}
	abs := math.Abs(*f)
	return strconv.AppendFloat(b, *f, 'f', -1, 64), abs == 0 || abs >= 1e-6 && abs < 1e21
}

func (r results) appendJSON(b []byte) (_ []byte, ok bool) {
	const usual = 400 // bytes of a result
	if len(r.Results) > 0 && cap(b)-len(b) < usual*len(r.Results) {
		b = append(make([]byte, 0, len(b)+usual*len(r.Results)), b...)
	}
	b = append(b, `{"results":[`...)
	for i := range r.Results {
		if i > 0 {
			b = append(b, ',')
		}
		if b, ok = r.Results[i].appendJSON(b); !ok {
			return b, false
		}
	}
	return append(b, ']', '}', '\n'), r.Results != nil
}

func (r *result) appendJSON(b []byte) (_ []byte, ok bool) {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(r.Status), 10)
	if r.accepted != nil {
		if b, ok = r.appendMembers(append(b, ',')); !ok {
			return b, false
		}
	}
	if r.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	if r.Problem != nil { // of which there are few
		text, err := encodeJSON(r.Problem)
		if err != nil {
			return b, false
		}
		b = append(append(b, `,"problem":`...), bytes.TrimSuffix(text, []byte("\n"))...)
	}
	return append(b, '}'), true
}

// encodeJSON returns v's JSON without HTML escaping, with a line end.
func encodeJSON(v any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return body.Bytes(), err
}
