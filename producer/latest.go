package producer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Feed is the events that the status store took, in their order. It may be called at once from many goroutines; each call
// ends with ctx. Its errors mean that it cannot be asked now.
type Feed interface {
	// Events gives those after a number that f chooses, in order: at most limit, and fewer only when there are no more.
	Events(ctx context.Context, after int64, f notify.LifeFilter, limit int) ([]notify.SeenEvent, error)
	// LastSeq is the number of the last one; 0 when there was none. It goes back only when the store is made anew.
	LastSeq(ctx context.Context) (int64, error)
}

const (
	lookForEvents = 200 * time.Millisecond
	mostLatest    = 8192 // events: two seconds of a busy cluster
	mostAtOnce    = 1000 // events of one question to the store
	mostStreams   = 256
	keysStreams   = mostStreams / 2 // of one key, where there are others
)

// latest holds the latest events for all streams of this process, so that the store is asked once for all of them. A stream
// that is farther behind asks the store itself.
type latest struct {
	feed  Feed
	share int // streams of one key
	log   *zap.Logger
	over  chan struct{} // closed once run has ended

	mu     sync.Mutex
	open   int            // streams
	of     map[string]int // streams by key
	frames []frame        // everything after from, up to seen
	from   int64
	seen   int64
	age    int           // how often the store has been made anew, or everything was forgotten
	news   chan struct{} // closed when any of these has changed
}

// frame is an event as it goes out.
type frame struct {
	notify.SeenEvent
	text []byte
}

// framed makes events ready to go out. last is the number of the last one.
func framed(events []notify.SeenEvent) (frames []frame, last int64) {
	frames = make([]frame, 0, len(events))
	for _, e := range events {
		last = e.Seq
		if text, err := e.Encode(); err == nil { // the store has it from such a text
			frames = append(frames, frame{e, text})
		}
	}
	return frames, last
}

// newLatest is for the callers of a server that has so many keys.
func newLatest(feed Feed, keys int, log *zap.Logger) *latest {
	share := mostStreams
	if keys > 1 {
		share = keysStreams
	}
	return &latest{feed: feed, share: share, log: log, over: make(chan struct{}), of: map[string]int{}, news: make(chan struct{})}
}

// run looks for events, as long as there is a stream, until ctx ends.
func (l *latest) run(ctx context.Context, fed <-chan struct{}) {
	defer close(l.over)
	tick := time.NewTicker(lookForEvents)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-fed:
		}
		err := l.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			l.log.Warn("api.stream", zap.String("reason", "the status store cannot be asked: streams wait"), zap.Error(err))
		}
		failing = err != nil
	}
}

// look asks for everything that is new.
func (l *latest) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	l.mu.Lock()
	seen, open := l.seen, l.open
	l.mu.Unlock()
	if open == 0 {
		return nil
	}
	head, err := l.feed.LastSeq(ctx)
	if err == nil && head < seen {
		l.forget(head)
	}
	for err == nil && seen < head {
		var events []notify.SeenEvent
		if events, err = l.feed.Events(ctx, seen, notify.LifeFilter{}, mostAtOnce); err == nil {
			seen = l.add(seen, head, events)
		}
	}
	return err
}

// add takes what came after seen, unless everything was forgotten meanwhile. It gives how far that goes: with fewer events
// than were asked for, at least to head.
func (l *latest) add(seen, head int64, events []notify.SeenEvent) int64 {
	frames, to := framed(events)
	if len(events) < mostAtOnce {
		to = max(to, head)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen != seen {
		return head
	}
	l.frames, l.seen = append(l.frames, frames...), to
	if n := len(l.frames) - mostLatest/2; n > mostLatest/2 {
		l.from = l.frames[n-1].Seq
		l.frames = slices.Clone(l.frames[n:]) // streams may still hold the old ones
	}
	l.changed()
	return to
}

// forget begins anew at head.
func (l *latest) forget(head int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames, l.from, l.seen = nil, head, head
	l.age++
	l.changed()
}

func (l *latest) changed() {
	close(l.news)
	l.news = make(chan struct{})
}

// join lets one more stream in, if there is room. head is the last event's number; age is what after gives as long as numbers
// mean the same. One key cannot take all, so that a client that leaks streams shuts out nobody but itself.
func (l *latest) join(head int64, key string) (age int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= mostStreams:
		return 0, refuse(codeShedding, "come back later: there are as many streams as this server holds").with("Retry-After", "5")
	case l.of[key] >= l.share:
		return 0, refuse(codeShedding, fmt.Sprintf("close some of the streams under this key, or use another key: one may have %d of the %d that this server holds",
			l.share, mostStreams)).with("Retry-After", "5")
	}
	if l.open == 0 { // nobody has looked for a while
		l.from, l.seen = head, head
	}
	l.open++
	l.of[key]++
	return l.age, nil
}

func (l *latest) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[key]--; l.of[key] == 0 {
		delete(l.of, key)
	}
	if l.open--; l.open == 0 {
		l.frames, l.from = nil, l.seen
	}
}

// view is what latest holds for a stream.
type view struct {
	frames  []frame
	to      int64         // the frames are all that there is up to it
	covered bool          // false: older ones are wanted than these
	age     int           // see join
	news    chan struct{} // closed when there is more
}

// after gives what came after a number.
func (l *latest) after(seq int64) view {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, _ := slices.BinarySearchFunc(l.frames, seq+1, func(f frame, seq int64) int { return cmp.Compare(f.Seq, seq) })
	return view{l.frames[first:], max(seq, l.seen), seq >= l.from, l.age, l.news}
}

// write gives the frame by the rules of text/event-stream.
func (f frame) write(b []byte) []byte {
	b = strconv.AppendInt(append(b, "id: "...), f.Seq, 10)
	b = append(b, "\nevent: event\ndata: "...)
	return append(append(b, f.text...), "\n\n"...)
}
