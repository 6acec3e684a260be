package store

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// SyncDeviceIDs makes device_ids what the switches and routers say that are in
// the store, for when others wrote some, or damaged the book.
func (s *Store) SyncDeviceIDs(ctx context.Context) error {
	path := s.layout.deviceIDs()
	return s.change(ctx, "rebuilding "+path, []string{path}, func(t *txn) error {
		used, err := s.usedIDs(ctx, topology.Key{})
		if err != nil {
			return err
		}
		t.put(path, encodeBitmap(used))
		return nil
	})
}

// RebuildIPBooks makes every ip_book what the ports of its switch or router
// say. It returns how many books there are; one without a port goes.
func (s *Store) RebuildIPBooks(ctx context.Context) (int, error) {
	devices := map[topology.Key]bool{}
	for _, kind := range []topology.Kind{topology.KindSwitch, topology.KindRouter} {
		list, _, err := s.List(ctx, kind, "")
		if err != nil {
			return 0, err
		}
		for _, e := range list {
			devices[e.Key()] = true
		}
		// A book may be left of a device that is gone.
		prefix := s.layout.book(topology.Key{Kind: kind})
		books, err := s.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return 0, s.failed("looking for IP books", err)
		}
		for _, kv := range books.Kvs {
			name := strings.TrimPrefix(string(kv.Key), prefix)
			if topology.CheckName(name) == nil { // else it is no book
				devices[topology.Key{Kind: kind, Name: name}] = true
			}
		}
	}
	count := 0
	for device := range devices {
		path := s.layout.book(device)
		kept := false
		err := s.change(ctx, "rebuilding "+path, []string{path}, func(t *txn) error {
			used, err := s.usedPortIDs(ctx, device, topology.Key{})
			if err != nil {
				return err
			}
			kept = !used.IsEmpty()
			t.putBook(path, used, false)
			return nil
		})
		if err != nil {
			return count, err
		}
		if kept {
			count++
		}
	}
	return count, nil
}
