package producer

import (
	"context"
	"sync"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeKeys keeps idempotency keys as a store does, and fails on cue. Claims of it never run out.
type fakeKeys struct {
	claimErr, settleErr error
	block               bool // until ctx ends

	mu      sync.Mutex
	rows    map[[2]string]*fakeRow
	claimed [][]notify.Claim // by call
	settled []notify.Settlement
}

type fakeRow struct {
	notify.Claim
	answer  []byte
	unclear bool
}

func (f *fakeKeys) Claim(ctx context.Context, claims []notify.Claim) ([]notify.Claimed, error) {
	if f.block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.claimErr != nil {
		return nil, f.claimErr
	}
	f.claimed = append(f.claimed, claims)
	if f.rows == nil {
		f.rows = map[[2]string]*fakeRow{}
	}
	var all []notify.Claimed
	for _, c := range claims {
		all = append(all, f.one(c))
	}
	return all, nil
}

func (f *fakeKeys) one(c notify.Claim) notify.Claimed {
	row := f.rows[[2]string{c.Tenant, c.Key}]
	switch {
	case row == nil:
		f.rows[[2]string{c.Tenant, c.Key}] = &fakeRow{Claim: c}
		return notify.Claimed{State: notify.ClaimGranted, ID: c.ID, First: true}
	case row.Fingerprint != c.Fingerprint:
		return notify.Claimed{State: notify.ClaimMismatch}
	case row.answer != nil:
		return notify.Claimed{State: notify.ClaimAnswered, ID: row.ID, Answer: row.answer}
	case row.unclear:
		row.Token, row.unclear = c.Token, false
		return notify.Claimed{State: notify.ClaimGranted, ID: row.ID}
	default:
		return notify.Claimed{State: notify.ClaimInFlight}
	}
}

func (f *fakeKeys) Settle(ctx context.Context, settled []notify.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settleErr != nil {
		return f.settleErr
	}
	f.settled = append(f.settled, settled...)
	for _, s := range settled {
		row := f.rows[[2]string{s.Tenant, s.Key}]
		switch {
		case row.Token != s.Token:
		case s.Outcome == notify.OutcomeAnswered:
			row.answer = s.Answer
		case s.Outcome == notify.OutcomeUnclear:
			row.unclear = true
		default:
			delete(f.rows, [2]string{s.Tenant, s.Key})
		}
	}
	return ctx.Err()
}
