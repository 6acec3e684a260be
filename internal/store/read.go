package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Bad is a key whose value cannot be used.
type Bad struct {
	Key topology.Key
	Err error
}

// Get returns one entity, or ErrNotFound. A port whose value names no chassis
// has that of its binding.
func (s *Store) Get(ctx context.Context, key topology.Key) (topology.Stored, error) {
	entity, _, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	one := []topology.Stored{entity}
	err = s.bound(ctx, one, 0)
	return one[0], err
}

// get returns one entity, as its value has it, and the revision that wrote it.
func (s *Store) get(ctx context.Context, key topology.Key) (topology.Stored, int64, error) {
	resp, err := s.client.Get(ctx, s.layout.path(key))
	if err != nil {
		return nil, 0, s.failed("reading "+describe(key), err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, fmt.Errorf("%s %w", describe(key), ErrNotFound)
	}
	entity, err := topology.Parse(key, string(resp.Kvs[0].Value))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", describe(key), err)
	}
	return entity, resp.Kvs[0].ModRevision, nil
}

// List returns the entities of one kind in order of parent and name: those of
// one parent, or of all parents if parent is empty. Keys whose values cannot
// be used come apart and are no error. Ports whose values name no chassis have
// those of their bindings.
func (s *Store) List(ctx context.Context, kind topology.Kind, parent string) ([]topology.Stored, []Bad, error) {
	entities, bad, revision, err := s.list(ctx, kind, parent)
	if err != nil {
		return nil, nil, err
	}
	return entities, bad, s.bound(ctx, entities, revision)
}

// list is List as the values have it, with the revision that was read.
func (s *Store) list(ctx context.Context, kind topology.Kind, parent string) (entities []topology.Stored, bad []Bad, revision int64, err error) {
	from := s.layout.group(kind)
	if parent != "" {
		from = s.layout.collection(kind, parent)
	}
	revision, err = s.scan(ctx, from, clientv3.GetPrefixRangeEnd(from), func(kv *mvccpb.KeyValue) {
		key, ok := s.layout.key(string(kv.Key))
		if !ok || key.Kind != kind {
			return
		}
		if entity, err := topology.Parse(key, string(kv.Value)); err != nil {
			bad = append(bad, Bad{key, err})
		} else {
			entities = append(entities, entity)
		}
	})
	if err != nil {
		return nil, nil, 0, s.failed(fmt.Sprintf("listing every %s", kind), err)
	}
	slices.SortFunc(entities, func(a, b topology.Stored) int { return a.Key().Compare(b.Key()) })
	slices.SortFunc(bad, func(a, b Bad) int { return a.Key.Compare(b.Key) })
	return entities, bad, revision, nil
}

// pageSize bounds how much etcd has to put into one answer.
const pageSize = 10_000

// scan calls visit with every key from from up to end, all of one revision,
// which it returns.
func (s *Store) scan(ctx context.Context, from, end string, visit func(*mvccpb.KeyValue)) (revision int64, err error) {
	return s.scanAt(ctx, from, end, 0, visit)
}

// scanAt is scan as of a revision, or of now if that is 0.
func (s *Store) scanAt(ctx context.Context, from, end string, revision int64, visit func(*mvccpb.KeyValue)) (int64, error) {
	for {
		page, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		if err != nil {
			return 0, err
		}
		revision = cmp.Or(revision, page.Header.Revision)
		for _, kv := range page.Kvs {
			visit(kv)
		}
		if !page.More {
			return revision, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}
