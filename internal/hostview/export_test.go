package hostview

// Hold stops the process stream at its next event for this subscription.
func (s *Subscription) Hold() (release func()) {
	s.mu.Lock()
	return s.mu.Unlock
}
