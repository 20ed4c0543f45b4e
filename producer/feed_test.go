package producer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeFeed is a store of events, and counts what it is asked.
type fakeFeed struct {
	mu     sync.Mutex
	err    error
	events []notify.SeenEvent
	asked  int // for events
}

// add takes n events more, numbered on.
func (f *fakeFeed) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.events = append(f.events, anEvent(int64(len(f.events)+1)))
	}
}

func (f *fakeFeed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeFeed) empty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
}

func (f *fakeFeed) Events(_ context.Context, after int64, filter notify.LifeFilter, limit int) (found []notify.SeenEvent, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for _, e := range f.events[min(after, int64(len(f.events))):] {
		if len(found) < limit && filter.Wants(&e.Event) {
			found = append(found, e)
		}
	}
	return found, f.err
}

func (f *fakeFeed) LastSeq(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.events)), f.err
}

// anEvent is the event of a number; its reference is the number, and every tenth is a push.
func anEvent(seq int64) notify.SeenEvent {
	e := notify.Event{
		NotificationID: capturedID, State: notify.StateSent, At: time.Date(2030, 1, 1, 0, 0, int(seq), 0, time.UTC),
		Tenant: notify.DefaultTenant, Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Reference: fmt.Sprint(seq),
	}
	if seq%10 == 0 {
		e.Channel = notify.ChannelPush
	}
	e.Seal()
	return notify.SeenEvent{Seq: seq, Event: e}
}
