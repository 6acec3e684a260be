package store

import (
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Sight is how a store's Watch sees etcd.
type Sight struct {
	Connected  bool   // the watch stands
	Reconnects uint64 // how often it was begun again
	Snapshots  uint64 // how often everything was read, the first time included
	// Revision is etcd's, by its last answer to a watch or to the renewal of a
	// lease; no answer is older than a few seconds while Connected. Delivered is
	// up to where all changes have been handed over. Zero: not known yet.
	Revision, Delivered int64
}

// sight is what is noted for Sight, by whoever finds it out.
type sight struct {
	connected           atomic.Bool
	begun, snapshots    atomic.Uint64
	revision, delivered atomic.Int64
}

// Sight returns how the store's Watch sees etcd. It waits for nothing.
func (s *Store) Sight() Sight {
	delivered := s.sight.delivered.Load() // first, as it must not be ahead
	return Sight{
		Connected:  s.sight.connected.Load(),
		Reconnects: max(s.sight.begun.Load(), 1) - 1,
		Snapshots:  s.sight.snapshots.Load(),
		Revision:   s.sight.revision.Load(),
		Delivered:  delivered,
	}
}

// heard notes the revision that a message of etcd tells of, if it does.
func (s *sight) heard(message any) {
	m, ok := message.(interface {
		GetHeader() *etcdserverpb.ResponseHeader
	})
	if !ok {
		return
	}
	if revision := m.GetHeader().GetRevision(); revision > 0 {
		s.revision.Store(revision)
	}
}
