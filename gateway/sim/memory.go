package sim

// memory counts tries by id and forgets the oldest ids.
type memory struct {
	tries map[string]int
	order []string // a ring of the ids in tries
	next  int
}

func newMemory(size int) memory {
	return memory{tries: make(map[string]int), order: make([]string, size)}
}

func (m *memory) count(id string) int {
	if _, known := m.tries[id]; !known {
		delete(m.tries, m.order[m.next])
		m.order[m.next] = id
		m.next = (m.next + 1) % len(m.order)
	}
	m.tries[id]++
	return m.tries[id]
}
