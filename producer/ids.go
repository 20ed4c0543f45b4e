package producer

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// IDs keeps one id from standing for two notifications. It may be called at once from many goroutines, and by any number
// of servers. Its error says that it cannot be asked now: nothing is known then, and ids may have been claimed.
type IDs interface {
	// ClaimIDs reports for each claim whether its id stands for another notification. It returns once the claims of the
	// others are durable. It ends with ctx.
	ClaimIDs(ctx context.Context, claims []notify.IDClaim) (taken []bool, err error)
	// ReleaseIDs takes back claims whose notifications were refused. It ends with ctx.
	ReleaseIDs(ctx context.Context, claims []notify.IDClaim) error
}

// claimIDs ends every item whose id stands for another notification. Items without an id of their caller cost nothing.
//
// While the store cannot be asked, all of them go on: a second notification of an id is then dropped by its worker, and an
// event says so. To refuse them would stop every caller that makes its own ids, and a caller that repeats a request under
// the same id is right to do so.
func (s *Server) claimIDs(ctx context.Context, items []*item) error {
	if s.cfg.IDs == nil {
		return nil
	}
	var claiming []*item
	var claims []notify.IDClaim
	now := time.Now()
	for _, i := range items {
		if !i.ownID || i.ended() || i.like != nil {
			continue
		}
		id, valid := notify.ParseID(i.n.ID)
		content, err := notify.ContentOf(i.n)
		if !valid || err != nil {
			continue // the dispatcher refuses it
		}
		i.idClaim = notify.IDClaim{ID: id, Content: content, At: now}
		claiming, claims = append(claiming, i), append(claims, i.idClaim)
	}
	if len(claims) == 0 {
		return nil
	}
	// Not for its caller alone: one that hangs up now must not leave the others of its round without an answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeouts.Claim)
	defer cancel()
	taken, err := s.cfg.IDs.ClaimIDs(ctx, claims)
	if err != nil {
		return err
	}
	for c, i := range claiming {
		if taken[c] {
			i.failure = refuse(codeIDConflict, "use another id, or leave it out: this one stands for another notification")
			continue
		}
		i.idClaimed = true
	}
	return nil
}

// releaseIDs frees the ids of items that were refused, so that a corrected notification may have them.
func (s *Server) releaseIDs(ctx context.Context, items []*item) error {
	var claims []notify.IDClaim
	for _, i := range items {
		if i.idClaimed && refused(i.failure) {
			claims = append(claims, i.idClaim)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Claim)
	defer cancel()
	return s.cfg.IDs.ReleaseIDs(ctx, claims)
}
