package cmd

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// health gathers what has to be well before a process counts as ready.
type health struct {
	mu      sync.Mutex
	probes  []probe
	closing bool
}

// probe asks one part why it is not ready; nil when it is. It answers at once.
type probe struct {
	name string
	ask  func() error
}

func (h *health) add(name string, ask func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probes = append(h.probes, probe{name, ask})
}

// step adds a probe for something that happens once: not ready until done is called.
func (h *health) step(name, waiting string) (done func()) {
	var mu sync.Mutex
	err := errors.New(waiting)
	h.add(name, func() error {
		mu.Lock()
		defer mu.Unlock()
		return err
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		err = nil
	}
}

// close makes the process not ready for good: it is ending.
func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
}

// Ready lists what is not ready; nil when everything is.
func (h *health) Ready() error {
	h.mu.Lock()
	probes, closing := slices.Clone(h.probes), h.closing
	h.mu.Unlock()
	if closing {
		return errors.New("shutting down")
	}
	var all []error
	for _, p := range probes {
		if err := p.ask(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(all...)
}
