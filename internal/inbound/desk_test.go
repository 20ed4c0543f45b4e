package inbound

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	person   = "+14155550123"
	one, two = "+15005550006", "MG0123456789abcdef0123456789abcdef"
)

// book is all that a desk writes to, in memory. It fails on request.
type book struct {
	sent    map[string][]notify.Life // by gateway and number
	kept    map[string]bool          // to whether it is lasting
	blocked map[string]bool          // tenant, sender and number
	told    []notify.Event
	fails   map[string]error // by the method
	calls   []string
}

func newBook() *book {
	return &book{sent: map[string][]notify.Life{}, kept: map[string]bool{}, blocked: map[string]bool{}, fails: map[string]error{}}
}

func (b *book) call(name string) error {
	b.calls = append(b.calls, name)
	return b.fails[name]
}

func (b *book) SentTo(_ context.Context, gateway, address string) ([]notify.Life, error) {
	return b.sent[gateway+" "+address], b.call("sent")
}

func (b *book) HasInbound(_ context.Context, gateway, message string) (bool, error) {
	_, known := b.kept[gateway+" "+message]
	return known, b.call("has")
}

func (b *book) KeepInbound(_ context.Context, gateway, message string, lasting bool, _ time.Time) error {
	if err := b.call("keep"); err != nil {
		return err
	}
	b.kept[gateway+" "+message] = lasting
	return nil
}

func pair(tenant, sender, address string) string { return tenant + " " + sender + " " + address }

func (b *book) Block(_ context.Context, tenants []string, _ string, in notify.Inbound) error {
	for _, t := range tenants {
		for _, s := range in.Senders {
			b.blocked[pair(t, s, in.Address)] = true
		}
	}
	return b.call("block")
}

func (b *book) Lift(_ context.Context, tenants []string, in notify.Inbound) error {
	for _, t := range tenants {
		for _, s := range in.Senders {
			delete(b.blocked, pair(t, s, in.Address))
		}
	}
	return b.call("lift")
}

func (b *book) Publish(_ context.Context, e notify.Event) error {
	if err := b.call("tell"); err != nil {
		return err
	}
	e.Seal()
	b.told = append(b.told, e)
	return nil
}

// heard reads what a test wants it to.
type heard struct {
	notify.Inbound
	err error
}

func (h heard) Read(*http.Request, []byte) (notify.Inbound, error) { return h.Inbound, h.err }
func (heard) Answer() (string, []byte)                             { return "text/xml", []byte("<Response/>") }

func words() Words {
	return NewWords([]string{"STOP", "stopall", "ARRÊT"}, []string{"START", "UNSTOP"}, []string{"HELP"})
}

func desk(b *book, readers map[string]Reader) *Desk {
	return &Desk{Readers: readers, Texts: b, OptOuts: b, Publisher: b, Words: words()}
}

func text(id, body string, senders ...string) notify.Inbound {
	return notify.Inbound{ProviderID: id, From: person, Address: person, To: one, Senders: senders, Text: body}
}

func take(t testing.TB, d *Desk, gateway string) notify.InboundTaken {
	t.Helper()
	taken, err := d.Take(t.Context(), gateway, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "text/xml <Response/>", taken.ContentType+" "+string(taken.Answer))
	return taken
}

func TestWords(t *testing.T) {
	for body, want := range map[string]notify.Keyword{
		"STOP": notify.KeywordStop, "stop": notify.KeywordStop, " Stop\r\n": notify.KeywordStop, "\u00a0STOP\u2003": notify.KeywordStop,
		"StopAll": notify.KeywordStop, "arrêt": notify.KeywordStop, "Start": notify.KeywordStart, "unstop": notify.KeywordStart, "help": notify.KeywordHelp,
		"": "", "STOP.": "", "STOP PLEASE": "", "please stop": "", "\"STOP\"": "", "S TOP": "", "STOPP": "", "ARRET": "", "YES": "", "\x00": "", "\xff": "",
		strings.Repeat(" ", longestWord) + "STOP": "",
	} {
		require.Equal(t, want, words().Of(body), "%q", body)
	}
}

// TestDesk_StopAndStart change the pair, once for each message.
func TestDesk_StopAndStart(t *testing.T) {
	b := newBook()
	say := func(id, body string, senders ...string) string {
		t.Helper()
		return take(t, desk(b, map[string]Reader{"texts": heard{Inbound: text(id, body, senders...)}}), "texts").Result
	}
	require.Equal(t, "stop", say("SM1", "stop", one))
	require.Equal(t, map[string]bool{pair("default", one, person): true}, b.blocked)
	require.Equal(t, "stop", say("SM2", "STOPALL", two, one))
	require.True(t, b.blocked[pair("default", two, person)])
	require.Equal(t, "start", say("SM3", "START", one))
	require.Equal(t, map[string]bool{pair("default", two, person): true}, b.blocked)
	require.Equal(t, Repeated, say("SM1", "stop", one), "a replay")
	require.Equal(t, map[string]bool{pair("default", two, person): true}, b.blocked)
	require.Equal(t, "start", say("SM4", "START", two))
	require.Empty(t, b.blocked)
	require.Equal(t, Repeated, say("SM3", "START", one))
	require.Equal(t, "help", say("SM5", "HELP", one))
	require.Equal(t, Received, say("SM6", "when do you open?", one))
	require.Empty(t, b.blocked)
	require.Len(t, b.told, 6, "each once")
	require.Equal(t, map[string]bool{"texts SM1": true, "texts SM2": true, "texts SM3": true, "texts SM4": true, "texts SM5": false, "texts SM6": false}, b.kept)
}

// TestDesk_TheProvidersWordCounts before the text.
func TestDesk_TheProvidersWordCounts(t *testing.T) {
	in := text("SM1", "basta", one)
	in.Keyword = notify.KeywordStop
	b := newBook()
	require.Equal(t, "stop", take(t, desk(b, map[string]Reader{"texts": heard{Inbound: in}}), "texts").Result)
	require.Len(t, b.blocked, 1)
	in.ProviderID, in.Text, in.Keyword = "SM2", "START", notify.KeywordHelp
	require.Equal(t, "help", take(t, desk(b, map[string]Reader{"texts": heard{Inbound: in}}), "texts").Result)
	require.Len(t, b.blocked, 1)
}

// TestDesk_Tenants: an opt-out counts for those that have sent texts to the number by this gateway.
func TestDesk_Tenants(t *testing.T) {
	b := newBook()
	b.sent["texts "+person] = []notify.Life{{Tenant: "acme"}, {Tenant: "shop"}, {Tenant: "acme"}}
	b.sent["backup "+person] = []notify.Life{{Tenant: "other"}}
	take(t, desk(b, map[string]Reader{"texts": heard{Inbound: text("SM1", "STOP", one)}}), "texts")
	require.Equal(t, map[string]bool{pair("acme", one, person): true, pair("shop", one, person): true}, b.blocked)
}

// TestDesk_WhoCannotBeTexted has nothing to opt out of.
func TestDesk_WhoCannotBeTexted(t *testing.T) {
	b := newBook()
	in := text("SM1", "STOP", one)
	in.From, in.Address = "32665", ""
	require.Equal(t, "stop", take(t, desk(b, map[string]Reader{"texts": heard{Inbound: in}}), "texts").Result)
	require.Equal(t, []string{"has", "tell", "keep"}, b.calls)
	require.Equal(t, notify.StateReceived, b.told[0].State)
}

// TestDesk_Events: a note of the last text, or an event of its own, without number and text unless they are asked for.
func TestDesk_Events(t *testing.T) {
	updated := time.Now().Add(time.Hour)
	last := notify.Life{
		ID: notify.NewID(), Tenant: "acme", Channel: notify.ChannelSMS, Lane: notify.LaneUrgent, State: notify.StateSent, Run: 1, Step: 2, Attempt: 3,
		Reference: "order 7", UpdatedAt: updated,
	}
	for name, c := range map[string]struct {
		sent []notify.Life
		full bool
	}{
		"an answer": {[]notify.Life{last, {ID: notify.NewID(), Tenant: "acme"}}, false}, "a stranger": {nil, false}, "in full": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			b.sent["texts "+person] = c.sent
			d := desk(b, map[string]Reader{"texts": heard{Inbound: text("SM1", "when do you open?", one)}})
			d.Full = c.full
			take(t, d, "texts")
			e := b.told[0]
			require.Equal(t, []string{notify.NoteInbound, "texts", "SM1", one}, []string{e.Note, e.Gateway, e.ProviderID, e.Inbound.To})
			if c.full {
				require.Equal(t, []string{person, "when do you open?"}, []string{e.Inbound.From, e.Inbound.Text})
			} else {
				require.Equal(t, []string{notify.Mask(person), ""}, []string{e.Inbound.From, e.Inbound.Text})
			}
			if c.sent == nil {
				require.Equal(t, []any{notify.StateReceived, true, notify.DefaultTenant, notify.LaneNormal}, []any{e.State, e.Final, e.Tenant, e.Lane})
				_, ok := notify.ParseID(e.NotificationID)
				require.True(t, ok)
				return
			}
			require.Equal(t, []any{last.ID, notify.StateSent, false, 1, 2, 3, "acme", notify.LaneUrgent, "order 7"},
				[]any{e.NotificationID, e.State, e.Final, e.Run, e.Step, e.Attempt, e.Tenant, e.Lane, e.Reference})
			require.True(t, e.At.After(updated), "it comes after what gave the state")
		})
	}
}

// TestDesk_Errors: nothing is remembered of a text that could not be dealt with, so that it counts when it comes again.
func TestDesk_Errors(t *testing.T) {
	for method, err := range map[string]error{
		"has": notify.ErrStatusUnavailable, "sent": notify.ErrStatusUnavailable, "block": notify.ErrBusUnavailable, "tell": notify.ErrBusUnavailable,
		"keep": notify.ErrStatusUnavailable,
	} {
		t.Run(method, func(t *testing.T) {
			b := newBook()
			b.fails[method] = err
			d := desk(b, map[string]Reader{"texts": heard{Inbound: text("SM1", "STOP", one)}})
			_, got := d.Take(t.Context(), "texts", nil, nil)
			require.ErrorIs(t, got, err)
			require.NotContains(t, got.Error(), person)
			require.Empty(t, b.kept)
			delete(b.fails, method)
			require.Equal(t, "stop", take(t, d, "texts").Result)
			require.True(t, b.blocked[pair("default", one, person)])
			ids := map[string]bool{}
			for _, e := range b.told {
				ids[e.EventID] = true
			}
			require.Len(t, ids, 1, "one event, whatever was published before")
		})
	}
}

// TestDesk_Counts what becomes of everything that is said to it.
func TestDesk_Counts(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for want, r := range map[string]Reader{
		"forged": heard{err: fmt.Errorf("%w: key", notify.ErrForged)}, "foreign": heard{err: notify.ErrForeignSender},
		"invalid": heard{err: notify.Faults{{Pointer: "#"}}}, "unavailable": heard{err: errors.New("other")}, "stop": heard{Inbound: text("SM1", "stop", one)},
	} {
		d := desk(newBook(), map[string]Reader{"texts": r})
		d.Metrics = m
		_, err := d.Take(t.Context(), "texts", nil, nil)
		require.Equal(t, want == "stop", err == nil)
		require.EqualValues(t, 1, testutil.ToFloat64(m.total.WithLabelValues("texts", want)), want)
	}
	d := desk(newBook(), nil)
	d.Metrics = m
	_, err := d.Take(t.Context(), "eve", nil, nil)
	require.ErrorIs(t, err, notify.ErrUnknownGateway)
	require.EqualValues(t, 1, testutil.ToFloat64(m.total.WithLabelValues("", "unknown")))
}

// TestDesk_Property: texts of people to senders, in any order, repeated at any time, some of them while something is down. Of each
// pair the last STOP or START counts, in the order in which the desk has taken them first.
func TestDesk_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook()
		want := map[string]bool{}
		var known []notify.Inbound
		taken := map[string]bool{}
		for i := range rapid.IntRange(1, 40).Draw(t, "texts") {
			var in notify.Inbound
			if len(known) > 0 && rapid.Bool().Draw(t, "again") {
				in = rapid.SampledFrom(known).Draw(t, "which")
			} else {
				in = notify.Inbound{
					ProviderID: fmt.Sprintf("SM%d", i), Text: rapid.SampledFrom([]string{"stop", "START", "help", "hello", " StopAll "}).Draw(t, "text"),
					Address: rapid.SampledFrom([]string{person, "+14155550124", ""}).Draw(t, "from"), Senders: []string{rapid.SampledFrom([]string{one, two}).Draw(t, "to")},
				}
				known = append(known, in)
			}
			b.fails = map[string]error{}
			if rapid.IntRange(0, 3).Draw(t, "fault") == 0 {
				b.fails[rapid.SampledFrom([]string{"has", "sent"}).Draw(t, "down")] = notify.ErrStatusUnavailable
			}
			result, err := desk(b, map[string]Reader{"texts": heard{Inbound: in}}).Take(context.Background(), "texts", nil, nil)
			if err != nil {
				continue
			}
			if taken[in.ProviderID] != (result.Result == Repeated) {
				t.Fatalf("text %s: %s", in.ProviderID, result.Result)
			}
			if taken[in.ProviderID] || in.Address == "" {
				taken[in.ProviderID] = true
				continue
			}
			taken[in.ProviderID] = true
			switch key := pair("default", in.Senders[0], in.Address); words().Of(in.Text) {
			case notify.KeywordStop:
				want[key] = true
			case notify.KeywordStart:
				delete(want, key)
			}
		}
		require.Equal(t, want, b.blocked)
		var ids []string
		for _, e := range b.told {
			ids = append(ids, e.EventID)
		}
		slices.Sort(ids)
		require.Len(t, slices.Compact(ids), len(taken))
	})
}
