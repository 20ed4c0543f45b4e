package deadletters

// Bounded is s with another bound of what a request reads.
func (s *Service) Bounded(records int) *Service {
	s.most.records = records
	return s
}
