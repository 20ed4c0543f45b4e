package notify

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Events are written by hand: one goes with every attempt, and encoding/json takes five times as long. A test compares the
// two.

// appendEvent appends e's JSON as encoding/json would write it without HTML escaping.
func appendEvent(b []byte, e *Event) ([]byte, error) {
	var err error
	b = appendText(append(b, `{"event_id":`...), e.EventID)
	b = appendText(append(b, `,"notification_id":`...), e.NotificationID)
	b = strconv.AppendInt(append(b, `,"run":`...), int64(e.Run), 10)
	b = strconv.AppendInt(append(b, `,"step":`...), int64(e.Step), 10)
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(e.Attempt), 10)
	b = appendText(append(b, `,"state":`...), string(e.State))
	b = strconv.AppendBool(append(b, `,"final":`...), e.Final)
	if b, err = appendTime(append(b, `,"at":`...), e.At); err != nil {
		return nil, err
	}
	b = appendText(append(b, `,"tenant":`...), e.Tenant)
	b = appendText(append(b, `,"channel":`...), string(e.Channel))
	b = appendText(append(b, `,"lane":`...), string(e.Lane))
	b = appendUnlessEmpty(b, "reference", e.Reference)
	b = appendUnlessEmpty(b, "gateway", e.Gateway)
	b = appendUnlessEmpty(b, "code", e.Code)
	b = appendUnlessEmpty(b, "reason", e.Reason)
	if e.Simulated {
		b = append(b, `,"simulated":true`...)
	}
	for i := range e.Tries {
		b = append(b, [2]string{",", `,"tries":[`}[firstOf(i)]...)
		b = appendTry(b, &e.Tries[i])
	}
	if len(e.Tries) > 0 {
		b = append(b, ']')
	}
	b = appendUnlessEmpty(b, "provider_id", e.ProviderID)
	if e.NextAt != nil {
		if b, err = appendTime(append(b, `,"next_at":`...), *e.NextAt); err != nil {
			return nil, err
		}
	}
	for i, w := range e.Warnings {
		b = appendText(append(b, [2]string{",", `,"warnings":[`}[firstOf(i)]...), w)
	}
	if len(e.Warnings) > 0 {
		b = append(b, ']')
	}
	for i := range e.Recipients {
		p := &e.Recipients[i]
		b = append(b, [2]string{",", `,"recipients":[`}[firstOf(i)]...)
		b = appendText(append(b, `{"field":`...), p.Field)
		b = appendText(append(b, `,"state":`...), string(p.State))
		b = append(appendUnlessEmpty(b, "code", p.Code), '}')
	}
	if len(e.Recipients) > 0 {
		b = append(b, ']')
	}
	b = appendUnlessEmpty(b, "note", e.Note)
	if o := e.Origin; o != nil {
		b = appendText(append(b, `,"origin":{"topic":`...), o.Topic)
		b = strconv.AppendInt(append(b, `,"partition":`...), int64(o.Partition), 10)
		b = strconv.AppendInt(append(b, `,"offset":`...), o.Offset, 10)
		b = append(b, '}')
	}
	for i, f := range e.Fields {
		b = appendText(append(b, [2]string{",", `,"fields":[`}[firstOf(i)]...), f)
	}
	if len(e.Fields) > 0 {
		b = append(b, ']')
	}
	if e.Inbound != nil {
		b = appendInbound(b, e.Inbound)
	}
	return append(b, '}'), nil
}

func firstOf(i int) int {
	if i == 0 {
		return 1
	}
	return 0
}

func appendTry(b []byte, t *Try) []byte {
	b = appendText(append(b, `{"gateway":`...), t.Gateway)
	b = appendText(append(b, `,"verdict":`...), string(t.Verdict))
	b = appendUnlessEmpty(b, "code", t.Code)
	b = appendUnlessEmpty(b, "reason", t.Reason)
	b = strconv.AppendInt(append(b, `,"ms":`...), t.Millis, 10)
	return append(b, '}')
}

func appendUnlessEmpty(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return appendText(b, s)
}

// AppendText appends s as a JSON string, as encoding/json writes it without HTML escaping.
func AppendText(b []byte, s string) []byte { return appendText(b, s) }

// AppendTime appends t as encoding/json writes it. The error is about a time that RFC 3339 does not have.
func AppendTime(b []byte, t time.Time) ([]byte, error) {
	if t.Location() == time.UTC {
		return appendTime(b, t)
	}
	text, err := t.MarshalJSON()
	return append(b, text...), err
}

// appendText appends s as a JSON string. What is plain ASCII, nearly everything, is copied; the rest is left to
// encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return appendOdd(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendOdd(b []byte, s string) []byte {
	quoted, err := encode(s)
	if err != nil { // not reached: every string has a JSON form
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// appendTime appends t by RFC 3339. JSON has no year beyond 9999.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	if y := t.Year(); y < 0 || y > 9999 {
		_, err := json.Marshal(t)
		return nil, err
	}
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"'), nil
}
