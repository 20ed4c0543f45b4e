package producer

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	heartbeat   = 15 * time.Second
	writeWithin = 10 * time.Second // one piece of a stream
	pieceBytes  = 32 << 10
	comeBack    = time.Second // after which a reader that was cut off comes again
)

// stream sends events as they come, until the caller leaves or the server ends. Where the caller left off it goes on: after
// the event that the header Last-Event-ID or the parameter after names.
//
// A reader that is slower than the events is told so and cut off, one that takes nothing for [writeWithin] is only cut off;
// either comes back with the id that it has, and is given from the store what it has missed.
func (s *Server) stream(x *exchange) error {
	f, after, err := streamQuery(x.r)
	if err != nil {
		return err
	}
	head, err := s.lastSeq(x.r.Context())
	if err != nil {
		return unread(err)
	}
	age, err := s.latest.join(head, x.key)
	if err != nil {
		return err
	}
	defer s.latest.leave(x.key)
	switch {
	case after < 0:
		after = head
	case after > head: // of a store that was there before this one: what this one has is new to the caller
		after = 0
	}
	o := &outlet{exchange: x, latest: s.latest, control: http.NewResponseController(x.w), filter: f, at: after, age: age}
	o.begin()
	x.log(zap.String("ended", o.run(x.r.Context(), s.cfg.Timeouts.Status)))
	return nil
}

func (s *Server) lastSeq(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Status)
	defer cancel()
	return s.cfg.Feed.LastSeq(ctx)
}

// streamQuery reads what a caller wants: after is -1 when it does not say where it left off.
func streamQuery(r *http.Request) (f notify.LifeFilter, after int64, err error) {
	q := readQuery(r.URL.RawQuery)
	f = q.filter()
	const remedy = "give the UUID with which the notification was accepted"
	if id, ok := q.one("id", remedy); ok {
		if f.ID, ok = notify.ParseID(id); !ok {
			q.fault("id", remedy)
		}
	}
	after = q.number("after", -1, 0, math.MaxInt64)
	if last := r.Header.Values("Last-Event-ID"); len(last) > 0 { // it is the later one: a browser repeats the parameters
		n, ok := number(last[0])
		if !ok || n < 0 || len(last) > 1 {
			q.fault("Last-Event-ID", "give the id of an event of this stream")
		}
		after = n
	}
	return f, after, q.refusal()
}

// outlet is one open stream.
type outlet struct {
	*exchange
	latest  *latest
	control *http.ResponseController
	filter  notify.LifeFilter
	at      int64 // what it has, up to that event
	age     int
	live    bool // it has had everything that there was
	buffer  []byte
}

// begin answers the request. The id comes before any event, so that one who is cut off before the first loses none.
func (o *outlet) begin() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects answers would keep the events
	o.status = http.StatusOK
	o.w.WriteHeader(o.status)
	_ = o.write(fmt.Appendf(nil, ": events follow\nretry: %d\nid: %d\n\n", comeBack.Milliseconds(), o.at)) // run will see it
}

// run sends events until something ends it, and says what did.
func (o *outlet) run(ctx context.Context, patience time.Duration) string {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		v := o.latest.after(o.at)
		next := v.news
		switch {
		case v.age != o.age:
			o.at = 0
			return o.end("rebuilt", "The status store was made anew: come back with the last id, which begins anew.")
		case v.covered:
			o.live = true
		case o.live:
			return o.end("slow", "This reader is slower than the events: come back with the last id.")
		default:
			var err error
			if v, err = o.older(ctx, v.to, patience); err != nil {
				return o.end("unavailable", "The status store cannot be asked now: come back with the last id.")
			}
			next = atOnce()
		}
		if o.send(v) != nil {
			return "the caller took nothing"
		}
		select {
		case <-ctx.Done():
			return "the caller left"
		case <-o.latest.over:
			return o.end("shutdown", "The server ends: come back with the last id.")
		case <-beat.C:
			_ = o.write(fmt.Appendf(nil, ": still here\nid: %d\n\n", o.at)) // ctx ends when it fails
		case <-next:
		}
	}
}

func atOnce() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// older asks the store for what comes before the events that are held for all. seen is how far the store was known to be
// before that.
func (o *outlet) older(ctx context.Context, seen int64, patience time.Duration) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	events, err := o.latest.feed.Events(ctx, o.at, o.filter, mostAtOnce)
	if err != nil {
		return view{}, err
	}
	frames, to := framed(events)
	if len(events) < mostAtOnce {
		to = max(to, seen)
	}
	return view{frames: frames, to: to}, nil
}

// send sends those of v that are wanted, in pieces.
func (o *outlet) send(v view) error {
	b := o.buffer[:0]
	for _, f := range v.frames {
		if !o.filter.Wants(&f.Event) {
			continue
		}
		if b = f.write(b); len(b) < pieceBytes {
			continue
		}
		if err := o.write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	o.buffer = b
	if len(b) > 0 {
		if err := o.write(b); err != nil {
			return err
		}
	}
	o.at = max(o.at, v.to)
	return nil
}

func (o *outlet) write(b []byte) error {
	_ = o.control.SetWriteDeadline(time.Now().Add(writeWithin)) // instead of the server's, which is for whole answers
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	return o.control.Flush()
}

// end tells the caller why, and gives the word for it.
func (o *outlet) end(reason, detail string) string {
	_ = o.write(fmt.Appendf(nil, "id: %d\nevent: end\ndata: {\"reason\":%q,\"detail\":%q}\n\n", o.at, reason, detail)) // it may have left
	return reason
}
