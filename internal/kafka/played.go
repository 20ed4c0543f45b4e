package kafka

import (
	"context"
	"time"
)

// Played answers what a handler asks of an [Attempt] that no runner has made: it is for tests, which are the runner then.
// What it leaves out, and all of a nil one, answers for a partition that stays ours, whose ledger takes everything and
// holds nothing about the job.
type Played struct {
	Timeout  time.Duration                             // of an attempt; 0 = none
	Claimed  context.Context                           //nolint:containedctx // it is what Attempt.Claimed gives
	MayStart func() bool                               // whether the lease holds
	Owned    func() bool                               // whether it does, or the partition drains
	Blocks   func() bool                               // whether the window is full of what waits
	Crowded  func() bool                               // whether the window is full and the record is to make room
	Pause    func()                                    // the partition
	Resume   func()                                    // the partition
	Record   func(kind string, headers []Header) error // [KindIntent] or [KindProgress] on the ledger
	InDoubt  func() (until time.Time, doubt bool)      // what the take-over has read
	Fate     func() (Fate, error)                      // what the ledger says now
	Left     func() *Record                            // what an earlier attempt has left behind
	FreeSlot func()                                    // the slot is given back while the call goes on

	MayRepeat func() bool // whether an earlier owner may have begun the job
}

func (p *Played) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if p == nil || p.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, p.Timeout)
}

func (p *Played) claimed() context.Context {
	if p == nil || p.Claimed == nil {
		return context.Background()
	}
	return p.Claimed
}

func (p *Played) freeSlot() {
	if p != nil && p.FreeSlot != nil {
		p.FreeSlot()
	}
}

func (p *Played) mayStart() bool { return p == nil || p.MayStart == nil || p.MayStart() }

func (p *Played) owned() bool { return p == nil || p.Owned == nil || p.Owned() }

func (p *Played) blocks() bool { return p != nil && p.Blocks != nil && p.Blocks() }

func (p *Played) crowded() bool { return p != nil && p.Crowded != nil && p.Crowded() }

func (p *Played) pause() *Claim {
	if p == nil {
		return &Claim{}
	}
	if p.Pause != nil {
		p.Pause()
	}
	return &Claim{played: p.Resume}
}

func (p *Played) record(kind string, headers []Header) error {
	if p == nil || p.Record == nil {
		return nil
	}
	return p.Record(kind, headers)
}

func (p *Played) inDoubt() (until time.Time, doubt bool) {
	if p == nil || p.InDoubt == nil {
		return time.Time{}, false
	}
	return p.InDoubt()
}

func (p *Played) left() *Record {
	if p == nil || p.Left == nil {
		return nil
	}
	return p.Left()
}

func (p *Played) mayRepeat() bool { return p != nil && p.MayRepeat != nil && p.MayRepeat() }

func (p *Played) fate() (Fate, error) {
	if p == nil || p.Fate == nil {
		return FateUnknown, nil
	}
	return p.Fate()
}
