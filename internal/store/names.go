package store

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Named returns the keys of the entities of a kind that have a name, in switches
// or routers whichever, in the order of etcd's keys. Like Names it reads keys
// alone.
func (s *Store) Named(ctx context.Context, kind topology.Kind, name string) ([]topology.Key, error) {
	return s.keys(ctx, s.layout.group(kind), func(key topology.Key) bool { return key.Kind == kind && key.Name == name })
}

// Names returns the names of the entities of one kind that begin with prefix, in
// the order of etcd's keys: of those of one parent, or of all parents if parent
// is empty. It reads keys alone, so that it is fast, and tells nothing of whether
// their values can be used. A key whose name no entity can have is left out.
func (s *Store) Names(ctx context.Context, kind topology.Kind, parent, prefix string) ([]string, error) {
	from := s.layout.collection(kind, parent) + prefix
	if parent == "" && kind.Parent() != 0 {
		from = s.layout.group(kind) // with all the parents
	}
	keys, err := s.keys(ctx, from, func(key topology.Key) bool {
		return key.Kind == kind && strings.HasPrefix(key.Name, prefix) && topology.CheckName(key.Name) == nil
	})
	var names []string
	for _, key := range keys {
		names = append(names, key.Name)
	}
	return names, err
}

// keys returns the keys of the entities under a path that keep returns true for.
func (s *Store) keys(ctx context.Context, under string, keep func(topology.Key) bool) ([]topology.Key, error) {
	resp, err := s.client.Get(ctx, under, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, s.failed("listing the keys under "+under, err)
	}
	var list []topology.Key
	for _, kv := range resp.Kvs {
		if key, ok := s.layout.key(string(kv.Key)); ok && keep(key) {
			list = append(list, key)
		}
	}
	return list, nil
}
