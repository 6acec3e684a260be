package store

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// View is what the check of a change reads the store through. What it has
// shown is a condition of the change: if somebody changes it before the change
// is made, the check is asked again.
type View struct {
	ctx   context.Context
	store *Store
	txn   *txn
}

// Get returns one entity, or ErrNotFound.
func (v *View) Get(key topology.Key) (topology.Stored, error) {
	entity, revision, err := v.store.get(v.ctx, key)
	if err == nil || errors.Is(err, ErrNotFound) {
		v.txn.guards = append(v.txn.guards, clientv3.Compare(clientv3.ModRevision(v.store.layout.path(key)), "=", revision))
	}
	return entity, err
}

// List returns the entities of a kind that hang on parent, or on any if that is
// empty, sorted by parent and name, without those whose values cannot be used.
// It is for checks that look for what must not be there: one that goes
// meanwhile is not noticed.
func (v *View) List(kind topology.Kind, parent string) ([]topology.Stored, error) {
	entities, _, revision, err := v.store.list(v.ctx, kind, parent)
	if err == nil {
		all := v.store.layout.group(kind)
		if parent != "" {
			all = v.store.layout.collection(kind, parent)
		}
		v.txn.guards = append(v.txn.guards, clientv3.Compare(clientv3.ModRevision(all), "<", revision+1).WithPrefix())
	}
	return entities, err
}
