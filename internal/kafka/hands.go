package kafka

import "sync"

// hands are goroutines that do one piece of work after another: a new one for each attempt would grow its stack anew each
// time, which is a tenth of what an attempt costs. There are as many as there was ever work at once.
type hands struct {
	mu        sync.Mutex
	idle      []chan func() // the last to fall idle is the first to be used: its stack is warm
	dismissed bool
}

// give has work done at once, by an idle hand or a new one.
func (h *hands) give(work func()) {
	h.mu.Lock()
	n := len(h.idle)
	if n == 0 {
		h.mu.Unlock()
		go h.live(work)
		return
	}
	hand := h.idle[n-1]
	h.idle = h.idle[:n-1]
	h.mu.Unlock()
	hand <- work // into its empty buffer
}

func (h *hands) live(work func()) {
	hand := make(chan func(), 1)
	for work != nil {
		work()
		if !h.rest(hand) {
			return
		}
		work = <-hand
	}
}

// rest makes a hand idle; false when it is to end.
func (h *hands) rest(hand chan func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dismissed {
		return false
	}
	h.idle = append(h.idle, hand)
	return true
}

// dismiss ends the idle hands, and the others after their work.
func (h *hands) dismiss() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dismissed = true
	for _, hand := range h.idle {
		hand <- nil
	}
	h.idle = nil
}
