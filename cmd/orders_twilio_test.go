package cmd

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
)

// stagedTwilio takes texts, and says what becomes of them in any order, as often as it likes.
type stagedTwilio struct {
	s     *stage
	desk  *receipts.Handler
	texts []*stagedText
}

// stagedText is a text that Twilio has taken.
type stagedText struct {
	sid, callback, run string // run is "id/run"
	fate, code         string // what becomes of it
	told               bool   // its fate was answered with 2xx
}

// stagedCalls are the calls of a worker process.
type stagedCalls struct{ *stagedWorker }

func (c stagedCalls) Check(context.Context) error { return nil }
func (c stagedCalls) Close() error                { return nil }

// Send is a call of Twilio's API. The process may be killed during it, and the response may be lost.
func (c stagedCalls) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	s, run := c.s, m.ID+"/"+strconv.Itoa(m.Run)
	r := s.random(fmt.Sprintf("call %s %d %d", run, c.n, time.Now().UnixNano()))
	s.mu.Lock()
	if c.ctx.Err() != nil { // a process that was killed calls nobody
		s.mu.Unlock()
		return notify.Receipt{}, context.Canceled
	}
	if s.acked[run] {
		s.wrongLocked("a call for %s begins after its delivery was acknowledged", run)
	}
	s.mu.Unlock()
	passes(r, 200*time.Millisecond)
	if c.ctx.Err() != nil && chance(r, 50) { // it was killed before the request was out
		return notify.Receipt{}, context.Canceled
	}
	taken := &notify.Failure{Verdict: notify.Ambiguous, Code: "20500", Reason: "Twilio failed; the message may have been queued"}
	switch n := r.IntN(100); {
	case n < 45: // taken, and the response comes
		sid := s.twilio.take(r, m, run)
		return notify.Receipt{ProviderID: sid, Awaited: true}, wait(ctx, r, 3*time.Second)
	case n < 65: // taken, and the response is a failure
		s.twilio.take(r, m, run)
		passes(r, 2*time.Second)
		return notify.Receipt{}, taken
	case n < 78: // taken, and the response is lost
		s.twilio.take(r, m, run)
		<-ctx.Done()
		return notify.Receipt{}, taken
	case n < 85: // taken, although the response says that it was not
		s.twilio.take(r, m, run)
		passes(r, time.Second)
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Transient, Code: "HTTP 503", Reason: "Twilio is unavailable"}
	case n < 93: // refused for now
		passes(r, time.Second)
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Transient, Code: "HTTP 503", Reason: "Twilio is unavailable"}
	case n < 97:
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Throttled, Code: "20429", Reason: "too many requests"}
	default:
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Permanent, Code: "30007", Reason: "Twilio refused the message"}
	}
}

// wait plays a response that takes up to most, or longer than the call lasts.
func wait(ctx context.Context, r *rand.Rand, most time.Duration) error {
	response := time.NewTimer(time.Duration(r.Int64N(int64(most))))
	defer response.Stop()
	select {
	case <-ctx.Done():
		return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the response was lost"}
	case <-response.C:
		return nil
	}
}

// take accepts a text and lets its callbacks come: each several times, at any time, in any order.
func (t *stagedTwilio) take(r *rand.Rand, m *notify.Message, run string) (sid string) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	x := &stagedText{
		sid: fmt.Sprintf("SM%032x", len(t.texts)+1), run: run, fate: "delivered",
		callback: textsReceive + "?" + url.Values{"id": {m.ID}, "run": {strconv.Itoa(m.Run)}}.Encode(),
	}
	if chance(r, 25) {
		x.fate, x.code = "undelivered", "30003"
	}
	t.texts = append(t.texts, x)
	for _, said := range []string{"queued", "sent", x.fate} {
		for i := range 1 + r.IntN(3) {
			if said == "queued" && chance(r, 70) {
				continue
			}
			actor := fmt.Sprintf("callback %s %s %d", x.sid, said, i)
			t.s.all.Go(func() { t.call(actor, x, said) })
		}
	}
	return x.sid
}

// call brings one callback, and brings it again while it is not answered with 2xx.
func (t *stagedTwilio) call(actor string, x *stagedText, said string) {
	r := t.s.random(actor)
	soon := 2 * time.Second
	if chance(r, 30) {
		soon = 30 * time.Second
	}
	passes(r, soon)
	for range 6 {
		if t.bring(r, x, said) {
			return
		}
		passes(r, 5*time.Second)
	}
}

// bring is one request to the API. The API's process, or the way to it, may end while it works.
func (t *stagedTwilio) bring(r *rand.Rand, x *stagedText, said string) (ok bool) {
	s := t.s
	form := url.Values{"MessageSid": {x.sid}, "MessageStatus": {said}}
	if said == x.fate && x.code != "" {
		form.Set("ErrorCode", x.code)
	}
	request := twiliotest.Signed(x.callback, form, twiliotest.AuthToken)
	body, _ := io.ReadAll(request.Body)
	timeout := 4500 * time.Millisecond
	if chance(r, 10) {
		timeout = time.Duration(r.Int64N(int64(timeout)))
	}
	ctx, cancel := context.WithTimeout(s.ends, timeout)
	defer cancel()
	result, err := t.desk.Handle(ctx, "texts", request, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || ctx.Err() != nil || chance(r, 5) { // the answer may be lost, too
		s.results["none"]++
		return false
	}
	s.results[result]++
	if said == x.fate {
		x.told = true
		if said == "delivered" {
			s.acked[x.run] = true
		}
	}
	return true
}

// verdict says what is wrong once everything has come to rest.
func (s *stage) verdict() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oneEndLocked()
	for _, x := range s.twilio.texts {
		id, run, _ := strings.Cut(x.run, "/")
		life := s.lifeLocked(id, len(s.ledger))
		switch {
		case !x.told || strconv.Itoa(life.Run) != run:
		case life.State == notify.StateSent && life.ProviderID == x.sid:
			s.wrongLocked("%s is sent as %s, whose fate %s was acknowledged", id, x.sid, x.fate)
		case life.State == notify.StateBounced && life.ProviderID == x.sid && x.fate == "delivered":
			s.wrongLocked("%s has bounced, and %s was delivered", id, x.sid)
		}
	}
	return s.faults
}

// oneEndLocked: every run that nobody has redriven ends, and the worker gives each run one end.
func (s *stage) oneEndLocked() {
	ends, last := map[string]map[string]bool{}, map[string]int{}
	for i, e := range s.ledger {
		if s.job[i] != nil && e.State.Final() {
			run := e.NotificationID + "/" + strconv.Itoa(e.Run)
			if ends[run] == nil {
				ends[run] = map[string]bool{}
			}
			ends[run][e.EventID] = true
		}
	}
	for _, e := range s.lane {
		last[e.id] = max(last[e.id], number32(e.Record, notify.HeaderRun))
		if !e.done {
			s.wrongLocked("the record at %d is not done", e.Offset)
		}
	}
	for run, events := range ends {
		if len(events) > 1 {
			s.wrongLocked("%s has %d ends", run, len(events))
		}
	}
	for id, run := range last {
		life := s.lifeLocked(id, len(s.ledger))
		if len(ends[id+"/"+strconv.Itoa(run)]) == 0 || life.Run != run || !life.State.Final() {
			s.wrongLocked("run %d of %s has no end: %s", run, id, life.State)
		}
	}
}
