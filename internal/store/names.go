package store

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Names returns the names of the entities of one kind that begin with prefix, in
// the order of etcd's keys: of those of one parent, or of all parents if parent
// is empty. It reads keys alone, so that it is fast, and tells nothing of whether
// their values can be used. A key whose name no entity can have is left out.
func (s *Store) Names(ctx context.Context, kind topology.Kind, parent, prefix string) ([]string, error) {
	from := s.layout.collection(kind, parent) + prefix
	if parent == "" && kind.Parent() != 0 {
		from = s.layout.group(kind) // with all the parents
	}
	resp, err := s.client.Get(ctx, from, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, s.failed("listing the names of every "+kind.String(), err)
	}
	var names []string
	for _, kv := range resp.Kvs {
		if key, ok := s.layout.key(string(kv.Key)); ok && key.Kind == kind && strings.HasPrefix(key.Name, prefix) && topology.CheckName(key.Name) == nil {
			names = append(names, key.Name)
		}
	}
	return names, nil
}
