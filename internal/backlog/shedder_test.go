package backlog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeDispatcher records the references of the notifications. It returns them as jobs, and an error for the reference "bad".
type fakeDispatcher struct{ got []string }

func (d *fakeDispatcher) Dispatch(_ context.Context, _ time.Time, ns []*notify.Notification) ([]*notify.Notification, []error) {
	errs := make([]error, len(ns))
	for i, n := range ns {
		d.got = append(d.got, n.Reference)
		if n.Reference == "bad" {
			errs[i] = errors.New("bad")
		}
	}
	return ns, errs
}

// Each refused notification of a batch gets its error at its index, and the others are dispatched in their order.
func TestShedder_DispatchesTheRest(t *testing.T) {
	d, shed := &fakeDispatcher{}, &notify.Shedding{RetryAfter: 7 * time.Second}
	s := Shedder{d, func(ch notify.Channel, lane notify.Lane) *notify.Shedding {
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
	jobs, errs := s.Dispatch(t.Context(), time.Now(), ns)
	require.Equal(t, []string{"a", "bad", "b"}, d.got)
	require.Equal(t, []*notify.Notification{nil, ns[1], ns[2], nil, ns[4]}, jobs)
	require.ErrorIs(t, errs[0], shed)
	require.ErrorIs(t, errs[3], shed)
	require.NoError(t, errs[1])
	require.EqualError(t, errs[2], "bad")
	d.got = nil
	_, errs = s.Dispatch(t.Context(), time.Now(), ns[:1])
	require.ErrorIs(t, errs[0], shed)
	require.Empty(t, d.got)
}
