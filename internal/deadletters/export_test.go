package deadletters

// Bounded sets how many records a request may read, and returns s.
func (s *Service) Bounded(records int) *Service {
	s.limit.records = records
	return s
}
