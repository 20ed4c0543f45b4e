package cmd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
)

// TestReceipts_InAnyOrder plays Twilio's responses and callbacks at random: any order, any repetition, lost responses and answers,
// a worker that is killed at any step, a control topic and a status store that are read late. In all orders:
//
//   - no call of Twilio begins for a run after the API has acknowledged that Twilio has delivered it;
//   - every run ends, and the worker gives it one end;
//   - the state that remains is the one that Twilio reported of the text that the state names.
//
// LAUDSPEAKER_TEST_ORDERS is how many orders are played, LAUDSPEAKER_TEST_ORDERS_SEED with which seed the first of them is.
func TestReceipts_InAnyOrder(t *testing.T) {
	orders, seed := 250, rand.Uint64()
	if s := os.Getenv("LAUDSPEAKER_TEST_ORDERS"); s != "" {
		var err error
		orders, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	if s := os.Getenv("LAUDSPEAKER_TEST_ORDERS_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("LAUDSPEAKER_TEST_ORDERS_SEED=%d", seed)
	results, texts, kills := map[string]int{}, 0, 0
	for i := range orders {
		var s *stage
		synctest.Test(t, func(*testing.T) { s = play(seed + uint64(i)) })
		for result, n := range s.results {
			results[result] += n
		}
		texts, kills = texts+len(s.twilio.texts), kills+s.proc.n-1
		require.Empty(t, s.faults, "LAUDSPEAKER_TEST_ORDERS=1 LAUDSPEAKER_TEST_ORDERS_SEED=%d", s.seed)
	}
	t.Logf("%d orders: %d texts, %d kills, answers %v", orders, texts, kills, results)
	if orders < 100 {
		return
	}
	for _, result := range []string{receipts.Recorded, receipts.Resolved, receipts.Repeated, receipts.Kept, "none"} {
		require.NotZero(t, results[result], "no receipt was %s: the orders are too few to mean anything", result)
	}
}

// play plays one order to its end.
func play(seed uint64) *stage {
	s := &stage{
		seed: seed, until: time.Now().Add(time.Minute), acked: map[string]bool{}, results: map[string]int{},
		desk: dispatcher.Desk{Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelSMS: "sms_topic"}}},
	}
	s.ends, s.stop = context.WithCancel(context.Background())
	cfg := config.Twilio{AuthToken: twiliotest.AuthToken, Callback: textsReceive}
	desk, early := s.api(map[string]receipts.Reader{"texts": twilio.NewReceipts(cfg)})
	s.twilio = &stagedTwilio{s: s, desk: desk}
	s.write(2)
	s.boot()
	s.all.Go(s.records)
	s.all.Go(func() { _ = early.Run(s.ends) }) // it ends with the context
	s.all.Go(func() { s.hears(s.ends, s.random("tail of the API"), 0, hearEarly(early), func(time.Time) {}) })
	s.all.Go(s.redrives)
	s.kills()
	time.Sleep(10 * time.Minute) // what waits comes to its end, or expires
	s.stop()
	s.all.Wait()
	s.verdict()
	return s
}

// write has some texts delivered.
func (s *stage) write(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		id := fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i)
		value := fmt.Sprintf(`{"id":%q,"channel":"sms","recipient":"+1415555010%d","payload":{"body":"123456 is your code"},"expires_at":%q}`,
			id, i, time.Now().Add(2*time.Minute).Format(time.RFC3339Nano))
		s.landOnLane(kafka.Message{Topic: s.desk.Topics.Job(notify.ChannelSMS, notify.LaneUrgent), Key: []byte(id), Value: []byte(value)})
	}
}

// redrives sends dead letters again.
func (s *stage) redrives() {
	r, seen := s.random("redrives"), 0
	for time.Now().Before(s.until) {
		passes(r, 10*time.Second)
		s.mu.Lock()
		if seen < len(s.letters) && number32(s.letters[seen], notify.HeaderRun) < 2 {
			job, _, err := s.desk.Redrive(s.letters[seen], time.Now(), time.Now().Add(2*time.Minute))
			if err != nil {
				s.wrongLocked("redrive: %v", err)
			} else {
				s.landOnLane(job)
			}
			seen++
		}
		s.mu.Unlock()
	}
}
