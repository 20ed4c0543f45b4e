package kafka

// Hold stops the whole runner or lets it go on: nothing more is fetched than one record of a partition, and nothing that is
// queued is started. Calls that were asked for with Result.Again still come.
func (r *Runner) Hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == on {
		return
	}
	r.held = on
	if r.session == nil {
		return
	}
	for _, c := range r.session.claims {
		c.notice()
	}
	r.dispatch()
}

// Claim is the hold of a handler on the partition of one of its records.
type Claim struct {
	runner *Runner // nil in what a test plays
	tp     topicPartition
	played func() // resumes in its place; may be nil
}

// Resume undoes [Attempt.Pause]. It does nothing once the claim has ended.
func (h *Claim) Resume() {
	r := h.runner
	if r == nil {
		if h.played != nil {
			h.played()
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.owner(h.tp); c != nil {
		c.held = false
		c.notice()
		r.dispatch()
	}
}

// hold pauses the partition for the record at that offset.
func (h *Claim) hold(offset int64) {
	r := h.runner
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.owner(h.tp)
	if c == nil {
		return
	}
	if it := c.items[offset]; it != nil && c.lines.first(it) {
		c.held = true
		c.notice()
	}
}

// Held reports whether the runner starts nothing, see Hold.
func (r *Runner) Held() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}
