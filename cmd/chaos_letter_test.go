package cmd

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// letter is a notification as its caller knows it. Its number is its text and its reference, and grows within a key.
type letter struct {
	number    int
	id        string
	key       string // the recipient
	lane      notify.Lane
	sendAt    time.Time // zero at once
	expiresAt time.Time // zero as the lane has it
	hold      bool
	twice     bool // posted twice under one id
	cancel    bool

	posted    time.Time
	acked     time.Time // zero: nobody promised anything
	effective time.Time // from then on no attempt begins; zero: nobody promised that
}

// plain says that it goes its way as all of its key do.
func (l *letter) plain() bool {
	return l.sendAt.IsZero() && l.expiresAt.IsZero() && !l.cancel && !l.hold
}

// draw makes a letter of the caller's. It depends on the seed and the number alone, but for the times.
func (p *post) draw(caller int) *letter {
	number := int(p.number.Add(1))
	r := rand.New(rand.NewPCG(p.seed, uint64(number)))
	l := &letter{number: number, id: notify.NewID(), lane: notify.LaneNormal}
	l.key = fmt.Sprintf("+1415555%04d", caller+postCallers*r.IntN(postKeys/postCallers))
	switch n := r.IntN(10); {
	case n < 2:
		l.lane = notify.LaneUrgent
	case n < 4:
		l.lane = notify.LaneBulk
	}
	if p.plain {
		return l
	}
	now := time.Now()
	if r.IntN(100) < 6 {
		l.sendAt = now.Add(time.Second + time.Duration(r.IntN(4000))*time.Millisecond)
		l.cancel = r.IntN(2) == 0
	}
	if r.IntN(100) < 3 {
		from := now
		if !l.sendAt.IsZero() {
			from = l.sendAt
		}
		l.expiresAt = from.Add(500*time.Millisecond + time.Duration(r.IntN(4000))*time.Millisecond)
	}
	l.hold, l.twice = r.IntN(100) < 4, r.IntN(100) < 3
	return l
}

func (l *letter) body() []byte {
	n := notify.Notification{
		ID: l.id, Channel: notify.ChannelSMS, Recipient: l.key, Lane: l.lane, Reference: fmt.Sprint(l.number),
		Payload: json.RawMessage(fmt.Sprintf(`{"body":"%d"}`, l.number)),
	}
	if !l.sendAt.IsZero() {
		n.SendAt = &l.sendAt
	}
	if !l.expiresAt.IsZero() {
		n.ExpiresAt = &l.expiresAt
	}
	if l.hold {
		n.OnAmbiguous = notify.AmbiguousHold
	}
	body, _ := n.Encode()
	return body
}
