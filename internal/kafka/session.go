package kafka

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// session is the time between two rebalances: the claims this member holds and its lease on them. The runner's lock
// guards it.
type session struct {
	r      *Runner
	group  sarama.ConsumerGroup
	member member
	claims []*claim
	opens  int       // claims that Sarama has still to open
	turn   int       // whose turn it is to start something
	leased time.Time // when the newest confirmed commit was sent
	wanted time.Time // since when something waits for the lease; zero when nothing does
	fenced bool
	gone   bool // the last commit had no answer at all
	over   bool // nothing more is started

	lastErr error // why the last commit that failed did
	refused int   // commits that failed

	kick   chan struct{} // commit now
	sendMu sync.Mutex    // one commit at a time, so that an older one never overtakes a newer one
	stop   chan struct{}
	ended  sync.WaitGroup
}

// sessions makes a session of each that Sarama opens.
type sessions struct {
	r       *Runner
	client  sarama.Client
	group   sarama.ConsumerGroup
	present *session
	total   int // partitions of all topics when the session began
}

// Setup opens the session before its claims start.
func (h *sessions) Setup(s sarama.ConsumerGroupSession) error {
	ses := &session{
		r: h.r, group: h.group, member: member{s.MemberID(), s.GenerationID()},
		kick: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	held := 0
	for _, ps := range s.Claims() {
		held += len(ps)
	}
	ses.opens = held
	h.present = ses
	h.r.mu.Lock()
	h.r.session = ses
	h.r.mu.Unlock()
	h.r.log.Info("session begins", zap.Int32("generation", s.GenerationID()), zap.Any("claims", s.Claims()))
	ses.ended.Go(ses.commitLoop)
	for _, topic := range h.r.cfg.Topics {
		h.r.cfg.OnAssigned(topic, s.Claims()[topic])
	}
	h.total = max(held, h.partitions())
	h.r.cfg.OnClaims(held, h.total)
	return nil
}

// partitions counts those of all topics, as they were when the group was joined.
func (h *sessions) partitions() (n int) {
	for _, topic := range h.r.cfg.Topics {
		if ps, err := h.client.Partitions(topic); err == nil {
			n += len(ps)
		}
	}
	return n
}

// Cleanup ends the session when all claims have drained.
func (h *sessions) Cleanup(sarama.ConsumerGroupSession) error {
	close(h.present.stop)
	h.present.ended.Wait()
	h.r.mu.Lock()
	if h.r.session == h.present {
		h.r.session = nil
	}
	h.r.lastErr = errRebalance
	h.r.mu.Unlock()
	h.r.cfg.OnClaims(0, h.total)
	return nil
}

// ConsumeClaim owns one partition until it is revoked.
func (h *sessions) ConsumeClaim(s sarama.ConsumerGroupSession, in sarama.ConsumerGroupClaim) error {
	c := h.r.open(h.present, in)
	defer h.r.close(c)
	return c.own(s.Context())
}

// mayStart reports whether the lease holds. Without one it asks for a renewal, which will start what is ready.
func (s *session) mayStart() bool {
	if s.over || s.fenced {
		return false
	}
	if s.leaseHolds() {
		return true
	}
	if s.wanted.IsZero() {
		s.wanted = time.Now()
		s.r.stats.LeaseWaits++
	}
	s.nudge()
	return false
}

// leaseHolds reports whether a confirmed commit was sent lately. On both clocks: the monotonic one stands still while a virtual
// machine is suspended, the other one may be set back.
func (s *session) leaseHolds() bool {
	now := time.Now()
	return now.Sub(s.leased) < s.r.cfg.Lease && now.Round(0).Sub(s.leased.Round(0)) < s.r.cfg.Lease
}

func (s *session) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// next gives a claim that has something to start, in turn.
func (s *session) next() *claim {
	for range s.claims {
		s.turn = (s.turn + 1) % len(s.claims)
		if c := s.claims[s.turn]; c.startable() {
			return c
		}
	}
	return nil
}

// dispatch starts what may be started. The lock is held.
func (r *Runner) dispatch() {
	s := r.session
	if s == nil {
		return
	}
	for r.busy < r.cfg.Concurrency && r.room.count < r.cfg.MaxWaiting {
		c := s.next()
		if c == nil || !s.mayStart() || !r.panics.admits(time.Now()) {
			return
		}
		r.start(c, c.pop())
	}
}
