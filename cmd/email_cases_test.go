package cmd

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/smtp"
	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
	"github.com/laudspeaker/laudspeaker/worker"
)

// emailCase is what one relay does with one mail, and what becomes of the mail with and without a second gateway.
type emailCase struct {
	name     string
	announce []string                      // extensions of the first relay
	script   func(smtptest.Command) string // replies of the first relay
	value    string                        // the job; empty: from the gateway's own sender to Ada
	alone    emailEnd                      // without a second gateway
	backed   emailEnd                      // with a healthy one
	suppress bool                          // the recipient is suppressed afterwards
}

// emailEnd is the first end that a mail comes to.
type emailEnd struct {
	state   notify.State // empty: the mail waits in its place
	tries   string       // verdicts
	reason  string       // contained in the last try's reason
	attempt int          // how many attempts were used
	mails   [2]int       // that the relays have accepted
	later   notify.State // once the first relay accepts everything; empty: the state is final
}

const (
	ownMail   = `{"channel":"email","recipient":"ada@example.com","payload":{"subject":"s","text":"t"}}`
	theirMail = `{"channel":"email","recipient":"ada@example.com","payload":{"from":"Shop <shop@shop.example>","subject":"s","text":"t"}}`
	otherMail = `{"channel":"email","recipient":"grace@example.com","payload":{"subject":"s","text":"t"}}`
	utf8Mail  = `{"channel":"email","recipient":"zoë@example.com","payload":{"subject":"s","text":"t"}}`
)

// emailCases: replies by their cause. The relays report HELO, client and sender at RCPT, as Postfix does.
func emailCases() []emailCase {
	sent, waits := notify.StateSent, notify.State("")
	unavailable := func(at, reply, reason string) emailCase {
		return emailCase{
			name: reply, script: smtptest.At(at, reply), value: ownMail,
			alone:  emailEnd{state: waits, tries: "unavailable", reason: reason, later: sent},
			backed: emailEnd{state: sent, tries: "unavailable accepted", reason: "", attempt: 1, mails: [2]int{0, 1}},
		}
	}
	quota := func(at, reply string) emailCase {
		c := unavailable(at, reply, "quota")
		c.alone.later = "" // the relay is not asked again for minutes
		return c
	}
	elsewhere := func(at, reply, reason, value string) emailCase {
		return emailCase{
			name: "message: " + reply, script: smtptest.At(at, reply), value: value,
			alone:  emailEnd{state: notify.StateRejected, tries: "permanent", reason: reason, attempt: 1},
			backed: emailEnd{state: sent, tries: "permanent accepted", attempt: 1, mails: [2]int{0, 1}},
		}
	}
	final := func(at, reply, reason string, gone bool) emailCase {
		end := emailEnd{state: notify.StateRejected, tries: "permanent", reason: reason, attempt: 1}
		return emailCase{name: reply, script: smtptest.At(at, reply), value: theirMail, alone: end, backed: end, suppress: gone}
	}
	throttled := func(at, reply string) emailCase {
		end := emailEnd{state: notify.StateRetrying, tries: "throttled", later: sent}
		return emailCase{name: reply, script: smtptest.At(at, reply), value: ownMail, alone: end, backed: end}
	}
	soft := func(at, reply string) emailCase {
		return emailCase{
			name: reply, script: smtptest.At(at, reply), value: ownMail,
			alone:  emailEnd{state: notify.StateRetrying, tries: "transient", attempt: 1, later: sent},
			backed: emailEnd{state: sent, tries: "transient accepted", attempt: 1, mails: [2]int{0, 1}},
		}
	}
	lacks := func(name, value, reason string, extensions ...string) emailCase {
		c := elsewhere("", "", reason, value)
		c.name, c.announce, c.script = name, extensions, nil
		return c
	}
	sender := "<no-reply@acme.example>: Sender address rejected: "
	return []emailCase{
		unavailable("RCPT", "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", "gateways.mail.helo"),
		unavailable("RCPT", "450 4.7.1 <vm.acme.example>: Helo command rejected: Host not found", "gateways.mail.helo"),
		unavailable("RCPT", "553 5.7.1 "+sender+"not owned by user acme", "gateways.mail.from"),
		unavailable("RCPT", "550 5.1.8 "+sender+"Domain not found", "gateways.mail.from"),
		unavailable("MAIL", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "gateways.mail.from"),
		unavailable(smtptest.Dot, "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: no-reply@acme.example", "gateways.mail.from"),
		unavailable("RCPT", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked", "this host"),
		unavailable("RCPT", "554 5.7.1 <ada@example.com>: Relay access denied", "gateways.mail.username"),
		unavailable("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "gateways.mail.tls"),
		unavailable(smtptest.Greeting, "554 5.7.1 no access", "this host"),
		unavailable("EHLO", "501 Syntactically invalid HELO argument(s)", "gateways.mail.helo"),
		quota(smtptest.Dot, "550 5.4.5 Daily user sending limit exceeded"),
		quota(smtptest.Dot, "454 Throttling failure: Daily message quota exceeded."),
		elsewhere("RCPT", "553 5.7.1 <shop@shop.example>: Sender address rejected: not owned by user acme", "refused from", theirMail),
		elsewhere("RCPT", "550 5.1.8 <shop@shop.example>: Sender address rejected: Domain not found", "refused from", theirMail),
		elsewhere("MAIL", "550 not this one", "refused from", theirMail),
		elsewhere(smtptest.Dot, "552 5.3.4 Message size exceeds fixed limit", notify.ReasonTooLarge, ownMail),
		elsewhere("MAIL", "555 5.5.4 Unsupported option: SIZE", "Unsupported option", ownMail),
		lacks("SIZE too small", ownMail, notify.ReasonTooLarge, "SIZE 200"),
		lacks("no SMTPUTF8", utf8Mail, "SMTPUTF8"),
		final("RCPT", "550 5.1.1 <ada@example.com>: User unknown", notify.ReasonRecipientGone, true),
		final("RCPT", "550 5.1.1 <ada@example.com>: Recipient address rejected: User unknown in relay recipient table", notify.ReasonRecipientGone, true),
		final("RCPT", "554 5.7.1 <ada@example.com>: Recipient address rejected: Access denied", "refused recipient", false),
		final("RCPT", "550 5.2.1 The email account that you tried to reach is disabled", "refused recipient", false),
		final(smtptest.Dot, "554 5.7.1 Spam message rejected", "refused the message", false),
		final(smtptest.Dot, "552 5.7.0 Our system detected an illegal attachment", "refused the message", false),
		soft("RCPT", "552 5.2.2 Mailbox full"),
		soft("RCPT", "450 4.2.1 The user you are trying to contact is receiving mail too quickly"),
		soft("MAIL", "451 4.3.0 later"),
		throttled(smtptest.Dot, "454 Throttling failure: Maximum sending rate exceeded."),
		throttled("MAIL", "432 4.3.2 Concurrent connections limit exceeded"),
		throttled(smtptest.Dot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
		throttled("RCPT", "450 4.7.1 greylisted for 300 seconds"),
		{
			name: "421 at the greeting", script: smtptest.At(smtptest.Greeting, "421 4.3.2 shutting down"), value: ownMail,
			alone:  emailEnd{state: notify.StateRetrying, tries: "throttled", later: sent},
			backed: emailEnd{state: sent, tries: "throttled accepted", attempt: 1, mails: [2]int{0, 1}},
		},
	}
}

// TestEmailCases runs each case through a worker with real SMTP gateways, with and without a second gateway. Each mail is at the
// relays exactly as often as its state says.
func TestEmailCases(t *testing.T) {
	t.Parallel()
	for _, c := range emailCases() {
		for name, end := range map[string]emailEnd{"alone": c.alone, "with a backup": c.backed} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				first, second := smtptest.New(t), smtptest.New(t)
				second.Announce("SMTPUTF8", "8BITMIME")
				first.Announce(c.announce...)
				first.Script(c.script)
				relays := []*smtptest.Relay{first}
				if name != "alone" {
					relays = append(relays, second)
				}
				w := newEmailWorker(t, relays...)
				record := emailRecord(c.value)
				e, res := w.once(record)
				require.Equal(t, end.state, e.State)
				require.Equal(t, end.tries, triesOf(w.log))
				require.Equal(t, end.attempt, e.Attempt)
				require.Contains(t, w.log[len(w.log)-1].Reason, end.reason)
				require.Equal(t, end.mails, [2]int{len(first.Mails()), len(second.Mails())})
				require.Equal(t, c.suppress, w.suppressed)
				if end.later == "" {
					return
				}
				first.Script(nil)
				first.Announce()
				e = w.later(record, res)
				require.Equal(t, end.later, e.State)
				require.Equal(t, end.attempt+1, e.Attempt)
				require.Equal(t, 1, len(first.Mails())+len(second.Mails()), "one copy in all")
			})
		}
	}
}

// TestEmailCases_EveryGatewayRefuses: only then is the message rejected, and the reason names the field.
func TestEmailCases_EveryGatewayRefuses(t *testing.T) {
	t.Parallel()
	first, second := smtptest.New(t), smtptest.New(t)
	first.Script(smtptest.At("RCPT", "553 5.7.1 Sender address rejected: not owned by user acme"))
	second.Script(smtptest.At("RCPT", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"))
	w := newEmailWorker(t, first, second)
	e, _ := w.once(emailRecord(theirMail))
	require.Equal(t, notify.StateRejected, e.State)
	require.Equal(t, "permanent permanent", triesOf(w.log))
	require.Contains(t, w.log[1].Reason, "refused from")
}

// TestEmailCases_ConnectionLimit: a relay that serves two connections refuses few of 35 mails, all of them arrive once, and none
// uses an attempt for it.
func TestEmailCases_ConnectionLimit(t *testing.T) {
	t.Parallel()
	const mails, serves = 35, 2
	r := smtptest.New(t)
	r.Script(func(c smtptest.Command) string {
		if c.Verb == "MAIL" && c.Open > serves {
			return "432 4.3.2 Concurrent connections limit exceeded"
		}
		return ""
	})
	w := newEmailWorker(t, r)
	results := make(chan bool, mails)
	for range mails {
		go func() {
			a := &kafka.Attempt{Record: emailRecord(ownMail)}
			for {
				res := w.Handle(context.Background(), a)
				if a.Carry = res.Carry; !res.Again.IsZero() {
					continue
				}
				if e := ended(res); e.State != notify.StateRetrying || e.Attempt != 0 {
					results <- e.State == notify.StateSent && e.Attempt == 1
					return
				}
				a = &kafka.Attempt{Record: nextStep(a.Record, res)}
			}
		}()
	}
	for range mails {
		require.True(t, <-results)
	}
	require.Len(t, r.Mails(), mails)
	require.Less(t, r.Refused("MAIL"), mails, "the worker keeps to the connections that the relay serves")
}

// TestEmailCases_ReportedState: the same for the whole program. The API reports what the relays have.
func TestEmailCases_ReportedState(t *testing.T) {
	t.Parallel()
	first, second := smtptest.New(t), smtptest.New(t)
	section := func(r *smtptest.Relay) string {
		return "{type: smtp, host: 127.0.0.1, port: " + strconv.Itoa(r.Port) + ", tls: none, from: 'Acme <no-reply@acme.example>'}"
	}
	p := boot(t, "all", "gateways:\n  mail: "+section(first)+"\n  backup: "+section(second)+"\nchannels:\n  email: {gateways: [mail, backup]}\n")
	mails := 0
	for _, c := range []struct {
		at, reply, value string
		state            notify.State
		reason           string
	}{
		{"RCPT", "553 5.7.1 Sender address rejected: not owned by user acme", theirMail, notify.StateSent, ""},
		{smtptest.Dot, "554 5.7.1 Spam message rejected", theirMail, notify.StateRejected, "the relay refused the message: Spam message rejected"},
		{smtptest.Dot, "552 5.3.4 Message size exceeds fixed limit", ownMail, notify.StateSent, ""},
		{"RCPT", "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", otherMail, notify.StateSent, ""}, // last: now the first one is left alone
	} {
		first.Script(smtptest.At(c.at, c.reply))
		id := p.post(c.value)
		life := p.awaitState(id, c.state)
		require.Equal(t, c.reason, life.Reason)
		if c.state == notify.StateSent {
			mails++
			require.Equal(t, "backup", life.Gateway)
		}
		require.Empty(t, first.Mails())
		require.Len(t, second.Mails(), mails)
	}
	remedy := p.awaitLog("the gateway refuses us: without another one the backlog waits until it serves us again, and nothing is lost")["remedy"]
	require.Contains(t, remedy, "gateways.mail.helo")
}

// TestEmailCases_TooManyRecipients: the recipients beyond the limit of a transaction get the mail in another one, and each gets it once.
func TestEmailCases_TooManyRecipients(t *testing.T) {
	t.Parallel()
	const copies = `{"channel":"email","recipient":"ada@example.com","payload":{"subject":"s","text":"t","cc":["b@example.com","ada@example.com","c@example.com"],"bcc":["d@example.com"]}}`
	for name, single := range map[string]bool{"at once": false, "one at a time": true} {
		t.Run(name, func(t *testing.T) {
			r := smtptest.New(t)
			r.Script(func(c smtptest.Command) string {
				switch {
				case single && c.Verb == smtptest.Greeting && c.Connection > 1:
					return "421 4.3.2 busy"
				case c.Verb == "RCPT" && len(c.To) >= 2:
					return "452 4.5.3 Too many recipients"
				case c.Verb == smtptest.Dot && c.To[0] == "c@example.com":
					return "554 5.7.1 Spam message rejected"
				}
				return ""
			})
			w := newEmailWorker(t, r)
			e, _ := w.once(emailRecord(copies))
			require.Equal(t, notify.StateSent, e.State)
			require.Equal(t, 1, e.Attempt)
			require.Len(t, e.Warnings, 1)
			require.Contains(t, e.Warnings[0], "it was not sent to cc[2], bcc[0] (554 5.7.1)")
			require.Len(t, r.Mails(), 1)
			require.Equal(t, []string{"ada@example.com", "b@example.com"}, r.Mails()[0].To)
		})
	}
}

// emailWorker is a worker of channel email with the desk's outcomes, and no Kafka.
type emailWorker struct {
	*worker.Worker
	t          *testing.T
	log        []notify.Try // of the last call
	suppressed bool
}

func newEmailWorker(t *testing.T, relays ...*smtptest.Relay) *emailWorker {
	t.Helper()
	w := &emailWorker{t: t}
	route := &worker.Route{}
	for i, r := range relays {
		name := []string{"mail", "backup"}[i]
		s, err := smtp.New(name, config.SMTP{Host: "127.0.0.1", Port: r.Port, TLS: "none", From: "Acme <no-reply@acme.example>", HELO: "vm"}, zap.NewNop())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		route.Outlets = append(route.Outlets, &worker.Outlet{
			Name: name, Sender: &heardSender{Sender: s, name: name, of: w}, Limiter: limiter.New(limiter.Config{Concurrency: 16, Rate: 1e6}),
			Breaker: gateway.NewBreaker(gateway.BreakerConfig{InitialWait: time.Nanosecond, MaxWait: time.Nanosecond}),
		})
	}
	w.Worker = worker.New(worker.Config{
		Channel: notify.ChannelEmail, Route: route,
		Records: dispatcher.Desk{Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}},
		Control: oneGone{},
		Rules:   validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}},
		Suppress: func(*notify.Message, string, string, *notify.Failure) []kafka.Message {
			w.suppressed = true
			return []kafka.Message{{}}
		},
	})
	return w
}

// oneGone is a control topic on which gone@example.com is suppressed.
type oneGone struct{}

func (oneGone) Paused(notify.Channel, notify.Lane) bool                   { return false }
func (oneGone) PausedGateway(string) bool                                 { return false }
func (oneGone) Cancelled(string) bool                                     { return false }
func (oneGone) Settled(string, int) bool                                  { return false }
func (oneGone) SenderBlocked(string, notify.Channel, string, string) bool { return false }
func (oneGone) AsOf() time.Time                                           { return time.Now() }

func (oneGone) Suppressed(_ string, _ notify.Channel, address string) bool {
	return address == "gone@example.com"
}

// heardSender notes what its gateway says: a job that waits in its place has no event.
type heardSender struct {
	gateway.Sender
	name string
	of   *emailWorker
}

var hearing = make(chan struct{}, 1)

func (s *heardSender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.hear(s.Sender.Send(ctx, m))
}

func (s *heardSender) SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.hear(s.Sender.(gateway.LongSender).SendPatiently(ctx, m))
}

func (s *heardSender) hear(receipt notify.Receipt, err error) (notify.Receipt, error) {
	hearing <- struct{}{}
	defer func() { <-hearing }()
	heard := notify.Try{Gateway: s.name, Verdict: notify.Accepted}
	if f := notify.Judge(err); f != nil {
		heard.Verdict, heard.Reason = f.Verdict, f.Reason
	}
	s.of.log = append(s.of.log, heard)
	return receipt, err
}

// once calls the worker once: the event is empty when the job waits in its place.
func (w *emailWorker) once(r *kafka.Record) (e notify.Event, res kafka.Result) {
	res = w.Handle(context.Background(), &kafka.Attempt{Record: r})
	if !res.Again.IsZero() {
		return e, res
	}
	return ended(res), res
}

// ended acknowledges what a job leaves behind.
func ended(res kafka.Result) (e notify.Event) {
	res.Ended(res.Outcome)
	_ = json.Unmarshal(res.Outcome.Value, &e) // an empty event fails the test
	return e
}

// later brings a job that waits to its next end: in its place, or as the next step.
func (w *emailWorker) later(r *kafka.Record, res kafka.Result) notify.Event {
	w.t.Helper()
	a := &kafka.Attempt{Record: r, Carry: res.Carry}
	if res.Again.IsZero() {
		a = &kafka.Attempt{Record: nextStep(r, res)}
	}
	var e notify.Event
	require.Eventually(w.t, func() bool {
		res := w.Handle(context.Background(), a)
		if a.Carry = res.Carry; !res.Again.IsZero() {
			return false
		}
		e = ended(res)
		return true
	}, time.Minute, time.Millisecond)
	return e
}

func emailRecord(value string) *kafka.Record {
	r := &kafka.Record{Cluster: "c", Topic: "email_topic", Timestamp: time.Now(), Value: []byte(value)}
	r.Headers = []kafka.Header{{Key: notify.HeaderID, Value: []byte(notify.NewID())}}
	return r
}

// nextStep is the record that the delay ladder brings back to the lane, without the wait.
func nextStep(r *kafka.Record, res kafka.Result) *kafka.Record {
	m := res.Follow[len(res.Follow)-1]
	m.Headers = slices.DeleteFunc(m.Headers, func(h kafka.Header) bool { return h.Key == notify.HeaderNotBefore })
	return &kafka.Record{Cluster: r.Cluster, Topic: r.Topic, Offset: r.Offset + 1, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
}

func triesOf(all []notify.Try) (s string) {
	for i, t := range all {
		if i > 0 {
			s += " "
		}
		s += string(t.Verdict)
	}
	return s
}
