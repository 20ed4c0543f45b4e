package sim

// tryCounter counts tries by notification ID and forgets the oldest IDs.
type tryCounter struct {
	tries map[string]int
	order []string // a ring of the ids in tries
	next  int
}

func newTryCounter(size int) tryCounter {
	return tryCounter{tries: make(map[string]int), order: make([]string, size)}
}

func (m *tryCounter) count(id string) int {
	if _, known := m.tries[id]; !known {
		delete(m.tries, m.order[m.next])
		m.order[m.next] = id
		m.next = (m.next + 1) % len(m.order)
	}
	m.tries[id]++
	return m.tries[id]
}
