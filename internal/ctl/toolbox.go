package ctl

func syncDeviceMap(s *session, _ []string) error {
	if err := s.store.SyncDeviceIDs(s.ctx); err != nil {
		return err
	}
	return s.say("device map synchronised")
}

func rebuildIPBooks(s *session, _ []string) error {
	n, err := s.store.RebuildIPBooks(s.ctx)
	if err != nil {
		return err
	}
	return s.say("IP books rebuilt: %d", n)
}
