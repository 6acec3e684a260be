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

// Get returns one entity, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key topology.Key) (topology.Stored, error) {
	entity, _, err := s.get(ctx, key)
	return entity, err
}

// get returns one entity and the revision that wrote it.
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
// be used come apart and are no error.
func (s *Store) List(ctx context.Context, kind topology.Kind, parent string) ([]topology.Stored, []Bad, error) {
	entities, bad, _, err := s.list(ctx, kind, parent)
	return entities, bad, err
}

// list is List, with the revision that was read.
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
