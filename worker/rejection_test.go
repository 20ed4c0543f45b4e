package worker

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestRejection_InvalidRecordBecomesDeadLetter(t *testing.T) {
	for name, c := range map[string]struct {
		value   string
		headers []string
		reason  string
		code    string
		detail  string // a part of what the event says
	}{
		"null value":          {"", nil, "undecodable", "malformed-json", "send one JSON object"},
		"no JSON":             {"{", nil, "undecodable", "malformed-json", "send one JSON object"},
		"no UTF-8":            {"{\"id\":\"\xff\"}", nil, "undecodable", "malformed-json", "UTF-8"},
		"no object":           {"[]", nil, "undecodable", "invalid", ""},
		"wrong type":          {`{"recipient":5}`, nil, "invalid", "invalid", "#/recipient"},
		"no recipient":        {`{"payload":{"subject":"x","text":"y"}}`, nil, "invalid", "", "#/recipient"},
		"id that is none":     {strings.Replace(mail, someID, "7", 1), nil, "invalid", "invalid", "#/id"},
		"unknown below":       {strings.Replace(mail, `"subject"`, `"subjekt"`, 1), nil, "invalid", "", "#/payload"},
		"another channel":     {strings.Replace(mail, `"email"`, `"sms"`, 1), nil, "invalid", "invalid", "#/channel"},
		"no channel at all":   {strings.Replace(mail, `"email"`, `"fax"`, 1), nil, "invalid", "invalid", "#/channel"},
		"template":            {mailWith(`"template":{"id":"x"}`), nil, "not_supported_yet", "not-supported-yet", "#/template"},
		"years ahead":         {mailWith(`"send_at":"2040-01-01T00:00:00Z"`), nil, "invalid", "invalid", "#/send_at"},
		"on_ambiguous":        {mailWith(`"on_ambiguous":"shrug"`), nil, "invalid", "invalid", "#/on_ambiguous"},
		"a later schema":      {mail, []string{"ls-schema", "3"}, "schema_unknown", "", "upgrade"},
		"a much later schema": {`{"recipient":{}}`, []string{"ls-schema", "99999999999999999999"}, "schema_unknown", "", "upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			s := scripted(nil)
			w, r := newWorker(s, nil), record(c.value, c.headers...)
			if name == "null value" {
				r.Value = nil
			}
			res := w.Handle(t.Context(), newAttempt(r))
			require.Empty(t, s.received)
			e := eventOf(t, res)
			require.Equal(t, notify.StateRejected, e.State)
			require.True(t, strings.HasPrefix(e.Reason, c.reason+": "), e.Reason)
			require.Contains(t, e.Reason, c.detail)
			require.NotContains(t, e.Reason, recipient)
			if c.code != "" {
				require.Equal(t, c.code, e.Code)
			}
			require.Empty(t, e.Gateway)
			require.Zero(t, e.Attempt)
			require.Equal(t, w.Identify(r), e.NotificationID)

			require.Len(t, res.Follow, 1)
			require.Equal(t, "email_topic.dlq", res.Follow[0].Topic)
			require.Equal(t, c.reason, deadReason(res))
			require.Equal(t, r.Value, res.Follow[0].Value)
			require.Equal(t, r.Key, res.Follow[0].Key)
		})
	}
}

func TestRejection_TolerantCasesAreDelivered(t *testing.T) {
	for name, c := range map[string]struct {
		value   string
		headers []string
		warning string
	}{
		"no channel":         {strings.Replace(mail, `"channel":"email",`, "", 1), nil, ""},
		"sensitive":          {mailWith(`"sensitive":true`), nil, ""},
		"unknown field":      {mailWith(`"colour":"red"`), nil, "colour"},
		"urgent in value":    {mailWith(`"lane":"urgent"`), nil, "lane"},
		"no lane at all":     {mailWith(`"lane":"express"`), nil, "lane"},
		"urgent in header":   {mail, []string{"ls-lane", "urgent"}, ""},
		"bad numbers":        {mail, []string{"ls-run", "x", "ls-step", "-1", "ls-attempt", "99999999999999999999"}, ""},
		"no schema":          {mail, []string{"ls-schema", "next"}, ""},
		"schema 1":           {mail, []string{"ls-schema", "1"}, ""},
		"empty idempotency":  {mail, []string{"ls-idempotency", ""}, ""},
		"idempotency":        {mail, []string{"ls-idempotency", "k"}, ""},
		"not before, though": {mail, []string{"ls-not-before", "2100-01-01T00:00:00Z"}, ""},
		"a bad not before":   {mail, []string{"ls-step", "1", "ls-not-before", "soon"}, ""},
		"one nobody means":   {mail, []string{"ls-step", "1", "ls-not-before", "9999-01-01T00:00:00Z"}, ""},
		"a bad expiry":       {mail, []string{"ls-expires-at", "soon"}, ""},
		"a bad acceptance":   {mail, []string{"ls-accepted-at", "long ago"}, ""},
		"send_at gone by":    {mailWith(`"send_at":"2001-01-01T00:00:00Z"`), nil, ""},
		"resend":             {mailWith(`"on_ambiguous":"resend"`), nil, ""},
		"another ls-id":      {mail, []string{"ls-id", "018f4e9a-0000-7000-8000-000000000000"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorker(scripted(nil), nil)
			e := eventOf(t, w.Handle(t.Context(), newAttempt(record(c.value, c.headers...))))
			require.Equal(t, notify.StateSent, e.State)
			require.Equal(t, someID, e.NotificationID)
			require.Equal(t, notify.LaneNormal, e.Lane)
			require.Equal(t, notify.ChannelEmail, e.Channel)
			require.Equal(t, []int{0, 1}, []int{e.Run, e.Attempt})
			if c.warning == "" {
				require.Empty(t, e.Warnings)
			} else {
				require.Contains(t, strings.Join(e.Warnings, "\n"), c.warning)
			}
		})
	}
}

func TestWorker_IdentityOfRecords(t *testing.T) {
	const other = "018f4e9a-0000-7000-8000-000000000001"
	w := newWorker(nil, nil)
	bare := strings.Replace(mail, `"id":"`+someID+`",`, "", 1)
	at := time.UnixMilli(1_900_000_000_000)
	id := func(value string, headers ...string) string {
		r := record(value, headers...)
		r.Timestamp = at
		got := w.Identify(r)
		require.Equal(t, got, w.Identify(r), "pure")
		_, ok := notify.ParseID(got)
		require.True(t, ok)
		return got
	}
	require.Equal(t, someID, id(mail, "ls-id", other, "ls-idempotency", "k"))
	require.Equal(t, someID, id(strings.Replace(mail, someID, strings.ToUpper(someID), 1)))
	require.Equal(t, someID, id(`{"id":"`+someID+`","recipient":5}`), "the id of what is not valid")
	require.Equal(t, other, id(bare, "ls-id", other, "ls-idempotency", "k"))
	require.Equal(t, other, id("{", "ls-id", other))
	require.Equal(t, other, id(strings.Replace(mail, someID, "7", 1), "ls-id", other))

	keyed := id(bare, "ls-idempotency", "k")
	require.Equal(t, byte('8'), keyed[14], "UUIDv8")
	require.Equal(t, keyed, id("{", "ls-id", "7", "ls-idempotency", "k"), "wherever the record stands")
	require.NotEqual(t, keyed, id(bare, "ls-idempotency", "l"))
	require.NotEqual(t, keyed, id(strings.Replace(bare, "{", `{"tenant":"shop",`, 1), "ls-idempotency", "k"))

	derived := id(bare)
	require.Equal(t, derived, id("{"), "from the offset alone")
	require.NotEqual(t, keyed, derived)
	at = at.Add(time.Millisecond)
	require.NotEqual(t, derived, id(bare), "the topic was made anew")
}

// arbitrary returns a record of random bytes and of halves of valid ones.
func arbitrary(r *rand.Rand) *kafka.Record {
	text := func() []byte {
		switch r.IntN(6) {
		case 0:
			return nil
		case 1: // a piece of a real one
			from := r.IntN(len(mail))
			return []byte(mail[from : from+r.IntN(len(mail)-from)])
		case 2: // a real one with a byte changed
			b := []byte(mail)
			b[r.IntN(len(b))] = byte(r.Uint32())
			return b
		case 3: // another value of some field
			return []byte(`{"` + []string{"id", "recipient", "payload", "expires_at", "send_at", "metadata", "lane"}[r.IntN(7)] + `":` +
				[]string{"null", "[]", "{}", "1e999", `"\ud800"`, `"9999-12-31T23:59:59-23:59"`, "true"}[r.IntN(7)] + `,` + mail[1:])
		default:
			b := make([]byte, r.IntN(64))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}
	}
	rec := &kafka.Record{
		Topic: "email_topic", Partition: r.Int32N(8), Offset: r.Int64N(1 << 40), Timestamp: time.Unix(r.Int64()>>uint(r.IntN(64)), 0), Key: text(), Value: text(),
	}
	names := []string{"ls-id", "ls-schema", "ls-run", "ls-step", "ls-attempt", "ls-home", "ls-idempotency", "ls-not-before", "ls-accepted-at", "ls-expires-at", "ls-lane", "", "x"}
	for range r.IntN(5) {
		value := text()
		if r.IntN(3) == 0 {
			value = strconv.AppendInt(nil, r.Int64()-1<<62, 10)
		}
		rec.Headers = append(rec.Headers, kafka.Header{Key: names[r.IntN(len(names))], Value: value})
	}
	return rec
}

// holds checks the invariants of every record.
func holds(t *testing.T, w *Worker, r *kafka.Record, calls func() int) {
	t.Helper()
	value, key := slices.Clone(r.Value), slices.Clone(r.Key)
	before := calls()
	res := w.Handle(t.Context(), newAttempt(r))
	require.True(t, res.Again.IsZero())
	if res.Outcome == nil { // another of the same id and step came before
		require.Empty(t, res.Follow)
		require.Equal(t, before, calls())
		return
	}
	e := eventOf(t, res)
	require.Equal(t, w.Identify(r), e.NotificationID)
	switch e.State {
	case notify.StateSent:
		require.Equal(t, before+1, calls())
	case notify.StateQueued:
		require.Equal(t, notify.NoteDuplicate, e.Note)
		require.Equal(t, before, calls())
		require.Empty(t, res.Follow)
	case notify.StateExpired, notify.StateScheduled:
		require.Equal(t, before, calls())
	default:
		require.Equal(t, notify.StateRejected, e.State)
		require.Equal(t, before, calls())
		require.Contains(t, []string{"undecodable", "invalid", "schema_unknown", "not_supported_yet"}, deadReason(res))
		require.True(t, bytes.Equal(value, res.Follow[0].Value) && bytes.Equal(key, res.Follow[0].Key), "bytes untouched")
	}
}

func TestWorker_ArbitraryRecords(t *testing.T) {
	s := scripted(nil)
	w := newWorker(s, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		holds(t, w, arbitrary(r), func() int { return len(s.received) })
	}
	require.NotEmpty(t, s.received, "some of them are valid")
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte(mail), []byte("k"), "ls-run", []byte("1"))
	f.Add([]byte("{"), []byte(nil), "ls-id", []byte(someID))
	f.Add([]byte(mailWith(`"lane":"bulk"`)), []byte{0}, "ls-schema", []byte("2"))
	f.Fuzz(func(t *testing.T, value, key []byte, name string, header []byte) {
		s := scripted(nil)
		r := record(string(value), name, string(header))
		r.Key = key
		holds(t, newWorker(s, nil), r, func() int { return len(s.received) })
	})
}
