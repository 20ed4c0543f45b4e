package drain

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// desk gives what it gets, and an error for what has the reference of it.
type desk struct{ got []string }

func (d *desk) Dispatch(_ context.Context, _ time.Time, ns []*notify.Notification) ([]*notify.Notification, []error) {
	errs := make([]error, len(ns))
	for i, n := range ns {
		if d.got = append(d.got, n.Reference); n.Reference == "bad" {
			errs[i] = errors.New("bad")
		}
	}
	return ns, errs
}

// Of a batch the bulk is refused, each in its place, and the rest goes on in its order.
func TestAGuardLetsThroughWhatIsNotRefused(t *testing.T) {
	d, shed := &desk{}, &notify.Shedding{RetryAfter: 7 * time.Second}
	g := Guard{d, func(ch notify.Channel, lane notify.Lane) *notify.Shedding {
		if ch == notify.ChannelEmail && lane == notify.LaneBulk {
			return shed
		}
		return nil
	}}
	n := func(ch notify.Channel, lane notify.Lane, reference string) *notify.Notification {
		return &notify.Notification{Channel: ch, Lane: lane, Reference: reference}
	}
	ns := []*notify.Notification{
		n("email", "bulk", "shed"), n("email", "urgent", "a"), n("email", "normal", "bad"), n("email", "bulk", "shed, too"), n("sms", "bulk", "b"),
	}
	jobs, errs := g.Dispatch(t.Context(), time.Now(), ns)
	require.Equal(t, []string{"a", "bad", "b"}, d.got)
	require.Equal(t, []*notify.Notification{nil, ns[1], ns[2], nil, ns[4]}, jobs)
	require.ErrorIs(t, errs[0], shed)
	require.ErrorIs(t, errs[3], shed)
	require.NoError(t, errs[1])
	require.EqualError(t, errs[2], "bad")
	d.got = nil
	_, errs = g.Dispatch(t.Context(), time.Now(), ns[:1])
	require.ErrorIs(t, errs[0], shed)
	require.Empty(t, d.got)
}
