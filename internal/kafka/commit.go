package kafka

import (
	"errors"
	"math"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

var errRebalance = errors.New("the group is rebalancing")

// staleLedger is how far L alone has to move to be news. Without it an idle lane's next owner would read all that others
// have written to the ledger meanwhile.
const staleLedger = 500

// commitLoop commits for all claims that have news, and renews the lease while something is in flight or waits to start.
func (s *session) commitLoop() {
	tick := time.NewTicker(s.r.cfg.CommitEvery)
	defer tick.Stop()
	log := newSeldom(s.r.log)
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			complain(log, s.commit(s.news))
		case <-s.kick:
			err := s.commit(s.renewal)
			complain(log, err)
			if err == nil {
				continue
			}
			select { // what still waits for the lease has asked again already
			case <-s.stop:
				return
			case <-tick.C:
			}
		}
	}
}

func complain(log *seldom, err error) {
	if err != nil && !errors.Is(err, sarama.ErrRebalanceInProgress) && !errors.Is(err, errFenced) {
		log.warn("commit", err)
	}
}

// news chooses the claims whose commit has changed, else a renewal when the lease needs one. The lock is held.
func (s *session) news() []*claim {
	var cs []*claim
	for _, c := range s.claims {
		if c.taken && c.hasNews() {
			cs = append(cs, c)
		}
	}
	if len(cs) == 0 && time.Since(s.leased) > s.r.cfg.Lease/3 && s.active() {
		return s.renewal()
	}
	return cs
}

// renewal chooses what has changed, else any one claim: its confirmation is the lease. The lock is held.
func (s *session) renewal() []*claim {
	var one []*claim
	for _, c := range s.claims {
		if !c.taken {
			continue
		}
		if one = []*claim{c}; c.hasNews() {
			break
		}
	}
	return one
}

// active reports whether something is in flight or about to start. The lock is held.
func (s *session) active() bool {
	for _, c := range s.claims {
		if c.running > 0 || c.startable() {
			return true
		}
	}
	return false
}

// commit sends one commit for the claims that choose picks under the lock, and takes the answers.
func (s *session) commit(choose func() []*claim) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	r := s.r

	r.mu.Lock()
	cs := choose()
	sent := make([]draft, len(cs))
	wire := make([]committed, len(cs))
	for i, c := range cs {
		sent[i] = c.draft()
		wire[i] = committed{c.topicPartition, sent[i].offset, sent[i].text}
	}
	fenced, gone := s.fenced, s.over && s.gone
	r.mu.Unlock()
	switch {
	case len(cs) == 0:
		return nil
	case fenced:
		return errFenced
	case gone: // each claim has a last commit, and each would wait for its timeouts
		return s.lastErr
	}

	at := time.Now()
	answers, err := r.offsets.commit(s.member, wire)
	r.mu.Lock()
	defer r.mu.Unlock()
	if answers == nil { // whoever is behind the next connection may not know this member any more
		s.leased, s.gone = time.Time{}, true
	}
	for i, a := range answers {
		if a == sarama.ErrNoError {
			cs[i].last = sent[i]
			s.leased, s.wanted, s.gone = at, time.Time{}, false
		} else if err == nil {
			err = a
		}
	}
	if errors.Is(err, errFenced) && !s.fenced {
		s.fenced = true
		r.log.Info("session fenced: nothing more is started", zap.Error(err))
		r.leaveFenced(err)
	}
	if err != nil {
		s.lastErr = err
		s.refused++
	}
	r.dispatch()
	return err
}

// draft is what a claim's commit says at one moment.
type draft struct {
	offset  int64
	text    string
	ledger  int64
	version int
	at      time.Time
	orderly bool
}

// draft encodes the claim's progress; when its done bits do not fit, what was committed last stands. The lock is held.
func (c *claim) draft() draft {
	end, epoch := c.r.ledgerEnd(c.ledgerPartition)
	now := time.Now()
	m := metadata{
		count: c.ledgerCount, job: c.jobID, journal: c.ledgerID, epoch: c.epoch, ledgerEpoch: epoch,
		by: c.by, since: c.followOnsSince(now), ended: c.lastEnd, fenced: c.fenceText,
		orderly: c.draining && c.running == 0 && len(c.r.flights[c.topicPartition]) == 0 && len(c.follows) == 0,
	}
	offset, text, fits := c.commit(end, m)
	c.overflow = !fits
	c.notice()
	switch {
	case !fits && c.taken:
		return c.last
	case !fits: // restored from a wider map than ours: what is left out is read from the ledger again
		m.bitmap = c.bitmap()
		m.bitmap = m.bitmap[:min(len(m.bitmap), metadataLimit/2)]
		text, _ = m.encode()
	}
	return draft{offset, text, c.reflected(end), c.version, now, m.orderly}
}

// followOnsSince is a time before which no follow-on of a job that is not done was handed over; zero for who has none. The
// lock is held.
func (c *claim) followOnsSince(now time.Time) time.Time {
	switch first := c.waits().first; {
	case len(c.r.cfg.FollowTopics) == 0:
		return time.Time{}
	case len(c.follows) > 0: // the next owner has to find them, too
		return c.since
	case first != nil:
		return first.publishing
	default:
		return now
	}
}

// staleSince is how old a commit gets while others write to the ledger: its time says from when on the next owner has to
// look for follow-ons.
const staleSince = 30 * time.Second

func (c *claim) hasNews() bool {
	if c.version != c.last.version {
		return true
	}
	end, _ := c.r.ledgerEnd(c.ledgerPartition)
	moved := c.reflected(end) - c.last.ledger
	if moved > 0 && time.Since(c.last.at) > staleSince {
		return true
	}
	return moved >= staleLedger || moved < 0 // back: the ledger was made anew, and a new owner would begin beyond what it says
}

// ledgerEnd is [Ledger.knownEnd]. A runner without a ledger needs nothing of it.
func (r *Runner) ledgerEnd(p int32) (int64, leaderEpoch) {
	if r.cfg.NoLedger {
		return math.MaxInt64, leaderEpoch{}
	}
	return r.cfg.Ledger.knownEnd(p)
}
