package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Idempotency keeps which notification an idempotency key stands for. It may be called at once from many goroutines, and by
// any number of servers.
type Idempotency interface {
	// Claim returns once what it grants is durable, with an answer for each claim. It ends with ctx. After an error nothing
	// is known: what was granted all the same can be claimed anew when its time is over.
	Claim(ctx context.Context, claims []notify.Claim) ([]notify.Claimed, error)
	// Settle says what came of granted claims. It ends with ctx.
	Settle(ctx context.Context, settled []notify.Settlement) error
}

// idempotencyKey is the request's; empty when it has none.
func idempotencyKey(h http.Header) (string, error) {
	keys := h.Values("Idempotency-Key")
	if len(keys) == 0 {
		return "", nil
	}
	if len(keys) > 1 || !validate.IdempotencyKey(keys[0]) {
		return "", refuse(codeInvalidParameter, "give the header Idempotency-Key once, with "+validate.KeyForm)
	}
	return keys[0], nil
}

// claim ends every item whose key does not allow it to be published.
func (s *Server) claim(ctx context.Context, items []*item) {
	var claiming []*item
	var claims []notify.Claim
	for _, i := range claimants(items, time.Now(), s.cfg.Timeouts) {
		claiming, claims = append(claiming, i), append(claims, i.claim)
	}
	if len(claims) == 0 {
		return
	}
	// Not for its caller alone: one that hangs up now shall find the key as it is when it comes again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeouts.Claim)
	defer cancel()
	claimed, err := []notify.Claimed(nil), notify.ErrStatusUnavailable
	if s.cfg.Idempotency != nil {
		claimed, err = s.cfg.Idempotency.Claim(ctx, claims)
	}
	for c, i := range claiming {
		if err != nil {
			i.failure = refuse(codeStatusUnavailable, "repeat it after a while, or leave the idempotency key out: keys cannot be looked up now").
				with("Retry-After", "5").because(err)
			continue
		}
		i.failure = i.take(claimed[c])
	}
}

// claimants prepares the claims of the items that have a key, and of several with one key only the first one's.
func claimants(items []*item, now time.Time, t Timeouts) (claiming []*item) {
	type name struct{ tenant, key string }
	seen := map[name]*item{}
	for _, i := range items {
		if i.key == "" || i.ended() {
			continue
		}
		print, err := fingerprint(i.n, i.key)
		if err != nil {
			i.failure = err
			continue
		}
		before := seen[name{i.n.Tenant, i.key}]
		switch {
		case before == nil:
			seen[name{i.n.Tenant, i.key}] = i
		case before.claim.Fingerprint == print:
			i.like = before
			continue
		default:
			i.failure = mismatch()
			continue
		}
		id := i.n.ID
		if id == "" {
			id = notify.NewID()
		}
		i.claim = notify.Claim{
			Tenant: i.n.Tenant, Key: keyName(i.key), Fingerprint: print, ID: id, Token: notify.NewID(),
			At: now, Until: now.Add(t.Dispatch + 2*t.Claim), // dispatching, and a claim and a settlement of the store
		}
		claiming = append(claiming, i)
	}
	return claiming
}

// take goes by what i's claim has led to.
func (i *item) take(c notify.Claimed) error {
	switch c.State {
	case notify.ClaimGranted:
		i.granted, i.first, i.n.ID = true, c.First, c.ID
		return nil
	case notify.ClaimAnswered:
		i.repeated, i.answer = true, &accepted{}
		if err := json.Unmarshal(c.Answer, i.answer); err != nil {
			i.answer = nil
			return fmt.Errorf("read the answer of an idempotency key: %w", err)
		}
		return nil
	case notify.ClaimInFlight:
		return refuse(codeIdempotencyInFlight, "repeat it after a while: another request with this idempotency key has not been answered yet").
			with("Retry-After", "1")
	case notify.ClaimMismatch:
		return mismatch()
	default:
		return fmt.Errorf("a claim of an idempotency key has led to %d", c.State)
	}
}

func mismatch() *problem {
	return refuse(codeIdempotencyMismatch, "use another idempotency key: within the last 24 hours something else was submitted with this one")
}

// settle tells the store what came of the claims that it granted.
func (s *Server) settle(ctx context.Context, items []*item) error {
	var all []notify.Settlement
	for _, i := range items {
		if !i.granted {
			continue
		}
		settled, err := i.settlement()
		if err != nil {
			return err
		}
		all = append(all, settled)
	}
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Claim)
	defer cancel()
	return s.cfg.Idempotency.Settle(ctx, all)
}

func (i *item) settlement() (notify.Settlement, error) {
	settled := notify.Settlement{Tenant: i.claim.Tenant, Key: i.claim.Key, Token: i.claim.Token}
	switch {
	case i.answer != nil:
		encoded, err := json.Marshal(i.answer)
		if err != nil {
			return settled, fmt.Errorf("encode the answer: %w", err)
		}
		settled.Outcome, settled.Answer = notify.OutcomeAnswered, encoded
	case i.first && refused(i.failure):
		settled.Outcome = notify.OutcomeRefused
	default: // of one that was taken over, too: its first owner may have published
		settled.Outcome = notify.OutcomeUnclear
	}
	return settled, nil
}
