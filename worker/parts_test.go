package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const several = `{"id":"` + someID + `","channel":"email","recipient":"` + recipient + `","payload":{"subject":"Hi","text":"t","cc":["cc@example.com"],"partial":"deliver"}}`

// parted is a gateway that delivers to recipients one by one. Its script has one function per call.
type parted struct {
	script []func(ctx context.Context, p *notify.Parts) error
	pended []string // the results that each call began with
}

func (s *parted) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	do := s.script[len(s.pended)]
	s.pended = append(s.pended, m.Parts.String())
	m.Parts.Fields = []string{"recipient", "cc[0]"}
	return notify.Receipt{}, do(ctx, m.Parts)
}

func (s *parted) SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.Send(ctx, m)
}
func (s *parted) Check(context.Context) error { return nil }
func (s *parted) Close() error                { return nil }

// firstOnly sends to the first recipient, records that, and then fails.
func firstOnly(err error) func(context.Context, *notify.Parts) error {
	return func(ctx context.Context, p *notify.Parts) error {
		p.Finish(notify.StateSent, "", "recipient")
		if failed := p.Record(ctx); failed != nil {
			return failed
		}
		return err
	}
}

func all(_ context.Context, p *notify.Parts) error {
	p.Finish(notify.StateSent, "", p.Fields...)
	return nil
}

func states(e notify.Event) []string {
	var s []string
	for _, p := range e.Recipients {
		s = append(s, strings.TrimSpace(p.Field+" "+string(p.State)+" "+p.Code))
	}
	return s
}

// The results of the recipients stay with the job: along the ladder, and when another owner takes the partition over.
func TestParts_ContinueAfterRetryAndTakeOver(t *testing.T) {
	s := &parted{script: []func(context.Context, *notify.Parts) error{firstOnly(transient), all}}
	w := newWorker(s, nil)
	var ledger []*kafka.Record
	record0 := record(several)
	res := w.Handle(t.Context(), &kafka.Attempt{Record: record0, Played: &kafka.Played{Record: func(kind string, headers []kafka.Header) error {
		ledger = append(ledger, &kafka.Record{Headers: append([]kafka.Header{
			{Key: kafka.HeaderKind, Value: []byte(kind)}, {Key: kafka.HeaderJobID, Value: []byte(someID)},
		}, headers...)})
		return nil
	}}})
	e := eventOf(t, res)
	require.Equal(t, notify.StateRetrying, e.State)
	require.Equal(t, []string{"recipient sent", "cc[0] retrying"}, states(e))
	require.Equal(t, "recipient=sent", headerOf(res.Follow[0], notify.HeaderRecipients))
	again := nextRecord(t, record0, res)
	again.Headers = slices.DeleteFunc(again.Headers, func(h kafka.Header) bool { return h.Key == notify.HeaderNotBefore })
	e = eventOf(t, w.Handle(t.Context(), newAttempt(again)))
	require.Equal(t, notify.StateSent, e.State)
	require.Equal(t, []string{"recipient sent", "cc[0] sent"}, states(e))
	require.Equal(t, []string{"", "recipient=sent"}, s.pended)

	heir := &parted{script: []func(context.Context, *notify.Parts) error{all, all}}
	w = newWorker(heir, nil)
	w.OnAssigned("email_topic", []int32{3})
	for _, r := range ledger {
		w.OnLedger("email_topic", 3, r)
	}
	e = eventOf(t, w.Handle(t.Context(), newAttempt(record0)))
	require.Equal(t, []string{"recipient sent", "cc[0] sent"}, states(e))
	require.Equal(t, []string{"recipient=sent"}, heir.pended, "the worker was killed before the second transaction had ended")

	w = newWorker(heir, nil)
	w.OnLedger("email_topic", 4, ledger[0])
	eventOf(t, w.Handle(t.Context(), newAttempt(record0)))
	require.Equal(t, "", heir.pended[1], "another partition's job")
}

// A job that must not be sent twice has an intent for each transaction.
func TestParts_EachTransactionHasIntent(t *testing.T) {
	s := &parted{script: []func(context.Context, *notify.Parts) error{firstOnly(ambiguous)}}
	w := newWorker(s, nil)
	var kinds []string
	res := w.Handle(t.Context(), &kafka.Attempt{
		Record: record(strings.Replace(several, "{", `{"on_ambiguous":"hold",`, 1)),
		Played: &kafka.Played{Record: func(kind string, _ []kafka.Header) error { kinds = append(kinds, kind); return nil }},
	})
	require.Equal(t, []string{kafka.KindIntent, kafka.KindProgress, kafka.KindIntent}, kinds)
	e := eventOf(t, res)
	require.Equal(t, notify.StateHeld, e.State)
	require.Equal(t, []string{"recipient sent", "cc[0] held"}, states(e))
	require.True(t, res.Intended)
	require.Equal(t, "recipient=sent", headerOf(res.Follow[0], notify.HeaderRecipients), "a redrive is for the others")
}

// If the results cannot be recorded on the ledger, no further transaction begins.
func TestParts_FailedRecordStopsTheAttempt(t *testing.T) {
	s := &parted{script: []func(context.Context, *notify.Parts) error{firstOnly(nil)}}
	w := newWorker(s, nil)
	res := w.Handle(t.Context(), &kafka.Attempt{Record: record(several), Played: &kafka.Played{Record: func(string, []kafka.Header) error { return errors.New("no broker") }}})
	require.Equal(t, notify.StateRetrying, eventOf(t, res).State)
}

// A mail that some recipients have got ends as sent, even if the others never get it.
func TestParts_PartlySentEndsAsSent(t *testing.T) {
	for name, end := range map[string]func(*Config){
		"attempts": func(c *Config) {
			c.Retries = RetryPolicy{MaxAttempts: 2, InitialBackoff: time.Second, MaxBackoff: time.Second}
		},
		"expiry": func(c *Config) { c.ExpiresAfter = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &parted{}
				for range 10 {
					s.script = append(s.script, firstOnly(transient))
				}
				events, last := runToEnd(t, newWorker(s, end), record(several))
				e := events[len(events)-1]
				require.Equal(t, notify.StateSent, e.State)
				require.True(t, e.Final)
				require.Equal(t, []string{"recipient sent", "cc[0] rejected"}, states(e))
				require.NotEmpty(t, e.Reason)
				require.Empty(t, deadReason(last))
			})
		})
	}
}

// A gateway with short calls would send the mail to all recipients, so it is not called once one of them has the mail.
func TestParts_ShortCallGatewaysAreNotCalled(t *testing.T) {
	s := &parted{script: []func(context.Context, *notify.Parts) error{firstOnly(transient)}}
	api := scripted(nil)
	w := newWorker(nil, func(c *Config) { c.Route = &Route{Outlets: []*Outlet{outlet("mail", s), outlet("api", api)}} })
	e := eventOf(t, w.Handle(t.Context(), newAttempt(record(several))))
	require.Equal(t, notify.StateRetrying, e.State)
	require.Empty(t, api.received)
}
