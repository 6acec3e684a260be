package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Delete removes one entity in one transaction and gives its id or address
// back. A switch or router that something hangs on is refused (ErrNotEmpty),
// or, if recursive, goes with all of it. An id or address that others wrote
// twice stays taken until the last of its holders is gone.
func (s *Store) Delete(ctx context.Context, key topology.Key, recursive bool) error {
	return s.DeleteIf(ctx, nil, key, recursive)
}

// DeleteIf is Delete on a condition, as CreateIf is Create.
func (s *Store) DeleteIf(ctx context.Context, check func(*View) error, key topology.Key, recursive bool) error {
	if err := checkNames(key); err != nil {
		return err
	}
	path := s.layout.path(key)
	paths := []string{path}
	give := func(*txn, topology.Stored) error { return nil }
	switch key.Kind {
	case topology.KindSwitch, topology.KindRouter:
		paths = append(paths, s.layout.deviceIDs())
		give = func(t *txn, e topology.Stored) error { return s.giveDevice(ctx, t, e) }
	case topology.KindSwitchPort, topology.KindRouterPort:
		paths = append(paths, s.layout.book(key.ParentKey()))
		give = func(t *txn, e topology.Stored) error { return s.givePort(ctx, t, e) }
	}
	return s.change(ctx, "deleting "+describe(key), paths, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return fmt.Errorf("%s %w", describe(key), ErrNotFound)
		}
		if check != nil {
			if err := check(&View{ctx, s, t}); err != nil {
				return err
			}
		}
		t.delete(path)
		if key.Kind == topology.KindSwitch || key.Kind == topology.KindRouter {
			if err := s.deleteChildren(ctx, t, key, recursive); err != nil {
				return err
			}
		}
		// An object that cannot be read has nothing to give back, and has to
		// go nevertheless.
		e, err := topology.Parse(key, value)
		if err != nil {
			return nil
		}
		return give(t, e)
	})
}

// deleteChildren removes what hangs on a device, or sees to it that there is
// nothing, also when the transaction is carried out.
func (s *Store) deleteChildren(ctx context.Context, t *txn, key topology.Key, recursive bool) error {
	children := s.layout.children(key)
	if recursive {
		t.delete(children, clientv3.WithPrefix())
		// It has its members' addresses only, and they go too.
		t.delete(s.layout.book(key))
		return nil
	}
	resp, err := s.client.Get(ctx, children, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return s.failed("looking for what hangs on "+describe(key), err)
	}
	if resp.Count > 0 {
		return fmt.Errorf(`%s is %w, %d objects hang on it, consider using "-r"?`, describe(key), ErrNotEmpty, resp.Count)
	}
	t.guards = append(t.guards, clientv3.Compare(clientv3.CreateRevision(children), "=", 0).WithPrefix())
	t.delete(s.layout.book(key))
	return nil
}

// giveDevice takes a device's id out of device_ids, unless another has it too.
func (s *Store) giveDevice(ctx context.Context, t *txn, device topology.Stored) error {
	if t.read[s.layout.deviceIDs()] == nil {
		return nil // it is made from what there is when it is needed
	}
	others, err := s.usedIDs(ctx, device.Key())
	if err != nil || others.Contains(idOf(device)) {
		return err
	}
	ids, err := s.deviceIDs(ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(device.Key()), err)
	}
	ids.Remove(idOf(device))
	return nil
}

// givePort takes a port's id out of its parent's ip_book, unless another has
// it too.
func (s *Store) givePort(ctx context.Context, t *txn, port topology.Stored) error {
	parent := port.Key().ParentKey()
	if t.read[s.layout.book(parent)] == nil {
		return nil
	}
	used, err := s.ipBook(ctx, t, parent)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(port.Key()), err)
	}
	// If there are as many ports as ids, each has its own, and there is no
	// need to read them all. (If the two are not of one revision, the book has
	// changed since, and the transaction will not be carried out.)
	ports := s.layout.collection(port.Key().Kind, parent.Name)
	resp, err := s.client.Get(ctx, ports, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return s.failed("counting the ports of "+describe(parent), err)
	}
	if uint64(resp.Count) != used.GetCardinality() {
		others, err := s.usedPortIDs(ctx, parent, port.Key())
		if err != nil || others.Contains(idOf(port)) {
			return err
		}
	}
	used.Remove(idOf(port))
	return nil
}
