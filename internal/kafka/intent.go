package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrLeaseLost: the partition may belong to somebody else by now; nothing may be sent.
var ErrLeaseLost = errors.New("the lease on the partition has run out")

// Intent records on the ledger, before a provider is called, that it is about to be called. ErrLeaseLost or ctx's error
// means that it must not be. The intent stands until the job has an outcome or is [Attempt.Withdraw]n.
func (a *Attempt) Intent(ctx context.Context, headers ...Header) error {
	if err := a.record(ctx, KindIntent, headers); err != nil {
		return err
	}
	if !a.MayStart() {
		return ErrLeaseLost
	}
	return nil
}

// Withdraw records that the provider which an intent spoke of has not got the job: it is retried in place, and whoever
// takes the partition over must not think it in doubt.
func (a *Attempt) Withdraw(ctx context.Context, headers ...Header) error {
	return a.record(ctx, KindProgress, headers)
}

// Progress records on the ledger how far an attempt has come, in headers of the handler's. Whoever takes the partition over before
// the job has an outcome gets the record by [RunnerConfig.OnLedger]. Like [Attempt.Withdraw] it ends an intent: what the intent
// spoke of is known now. ErrLeaseLost or ctx's error means that the attempt must not go on.
func (a *Attempt) Progress(ctx context.Context, headers ...Header) error {
	if err := a.record(ctx, KindProgress, headers); err != nil {
		return err
	}
	if !a.Owned() {
		return ErrLeaseLost
	}
	return nil
}

func (a *Attempt) record(ctx context.Context, kind string, headers []Header) error {
	if a.runner == nil {
		return a.Played.record(kind, headers)
	}
	r, f := a.runner, a.flight
	if kind == KindIntent {
		f.intended = true // read once the handler has answered
	}
	r.handOff(f)
	m := Message{Topic: r.cfg.Ledger.topic, Partition: f.ledgerPartition, Headers: append(r.entry(f, a.Record, kind, ""), headers...)}
	partition, offset, err := r.cfg.Publisher.PublishForever(ctx, m)
	if err != nil {
		return fmt.Errorf("record the %s of %s/%d: %w", kind, f.topicPartition, f.offset, err)
	}
	r.cfg.Ledger.raise(partition, offset)
	return nil
}

// intent is one that a take-over has read from the ledger, and no outcome behind it.
type intent struct {
	id string
	at int64 // its offset on the ledger
}

// InDoubt reports whether an earlier owner meant to call a provider for this job and no outcome tells what became of it.
// That owner may still be at it: [Attempt.Fate] knows from the given time on.
func (a *Attempt) InDoubt() (until time.Time, doubt bool) {
	if a.runner == nil {
		return a.Played.inDoubt()
	}
	if a.intent == nil {
		return time.Time{}, false
	}
	r := a.runner
	r.mu.Lock()
	defer r.mu.Unlock()
	return a.flight.claim.takenAt.Add(max(r.cfg.AttemptTimeout, r.cfg.Drain) + r.cfg.Lease), true
}

// Fate is what the ledger says of a job that is in doubt.
type Fate int

// The fates.
const (
	FateUnknown   Fate = iota // nobody knows whether the provider has it
	FateConcluded             // it has an outcome: it is done, and ends without another one
	FateWithdrawn             // the provider has not got it
)

// Fate reads the ledger from the intent on: the earlier owner may have written more since the take-over.
func (a *Attempt) Fate(ctx context.Context) (Fate, error) {
	if a.runner == nil {
		return a.Played.fate()
	}
	if a.intent == nil {
		return FateWithdrawn, nil
	}
	r, f := a.runner, a.flight
	since := func(int64) []span { return []span{{a.intent.at, unbounded}} }
	fate := FateUnknown
	_, err := r.cfg.Ledger.read(ctx, r.cfg.Publisher, f.ledgerPartition, since, func(rec *Record) {
		e, ok := readEntry(rec)
		if ok && e.group == r.cfg.Group && e.job == f.topicPartition && e.jobOffset == f.offset && e.id == a.intent.id &&
			!f.claim.fences.voidOutcome(e.by, e.jobOffset) {
			fate = fate.after(e.kind)
		}
	})
	if err != nil {
		return FateUnknown, err
	}
	return fate, nil
}

// after is the fate once one more entry of the job has been read.
func (f Fate) after(kind string) Fate {
	switch {
	case f == FateConcluded || kind == KindOutcome:
		return FateConcluded
	case kind == KindProgress:
		return FateWithdrawn
	default:
		return FateUnknown
	}
}
