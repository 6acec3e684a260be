package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Where a port is plugged in stands in its value, which every agent of the
// original TupleNet reads and writes. Who may write a value may write all of it,
// so where etcd has users, agents may not, and each keeps the bindings of its
// ports in keys of its own:
//
//	entity_bind/<system-id>/<switch>/<port>
//
// A chassis in the value comes before all of them. Of several bindings the one
// that was created first counts, so that nobody takes a port that another has.

// Bind writes that a switch port is plugged in at a chassis: into the port's
// value, the rest of which stays as it is, or into a binding of the chassis'
// own if etcd denies that. Nothing is written that is there already.
// ErrNotFound: there is no such port.
func (s *Store) Bind(ctx context.Context, key topology.Key, chassis string) error {
	err := s.bindValue(ctx, key, chassis)
	if !errors.Is(err, ErrDenied) {
		return err
	}
	s.confined.Do(func() {
		s.log.Info("etcd lets this host write under its own name alone, where the bindings of its ports are kept from now on",
			"keys", s.layout.bindings(chassis))
	})
	path := s.layout.path(bindingOf(key, chassis).Key())
	_, err = s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(path), "=", 0), clientv3.Compare(clientv3.CreateRevision(s.layout.path(key)), ">", 0)).
		Then(clientv3.OpPut(path, "")).Commit()
	if err != nil {
		return s.failed("binding "+describe(key), err)
	}
	return nil
}

// Unbind deletes the chassis' own binding of a port, if there is one. A chassis
// in the port's value stays.
func (s *Store) Unbind(ctx context.Context, key topology.Key, chassis string) error {
	if _, err := s.client.Delete(ctx, s.layout.path(bindingOf(key, chassis).Key())); err != nil {
		return s.failed("ending the binding of "+describe(key), err)
	}
	return nil
}

func bindingOf(port topology.Key, chassis string) topology.Binding {
	return topology.Binding{Chassis: chassis, Switch: port.Parent, Port: port.Name}
}

func (s *Store) bindValue(ctx context.Context, key topology.Key, chassis string) error {
	path := s.layout.path(key)
	return s.change(ctx, "binding "+describe(key), []string{path}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return fmt.Errorf("%s %w", describe(key), ErrNotFound)
		}
		entity, err := topology.Parse(key, value)
		if err != nil {
			return fmt.Errorf("binding %s: %w", describe(key), err)
		}
		port, ok := entity.(topology.SwitchPort)
		if !ok {
			return fmt.Errorf("binding %s: it is no switch port", describe(key))
		}
		if port.Chassis != chassis {
			port.Chassis = chassis
			t.put(path, port.Value())
		}
		return nil
	})
}

// bound gives those of entities that are ports, and whose values name no
// chassis, the chassis that they are bound to, as of a revision.
func (s *Store) bound(ctx context.Context, entities []topology.Stored, revision int64) error {
	open := func(e topology.Stored) bool {
		port, ok := e.(topology.SwitchPort)
		return ok && port.Chassis == "" && port.Peer == "" // who has a peer is plugged in there
	}
	if !slices.ContainsFunc(entities, open) {
		return nil
	}
	bindings, err := s.bindings(ctx, revision)
	if err != nil || len(bindings) == 0 {
		return err
	}
	for i, e := range entities {
		if open(e) {
			port := e.(topology.SwitchPort)
			port.Chassis = bindings[port.Key()].Chassis
			entities[i] = port
		}
	}
	return nil
}

// bindings returns the binding of each port that counts if the port's value
// names no chassis, as of a revision, or of now if that is 0.
func (s *Store) bindings(ctx context.Context, revision int64) (map[topology.Key]topology.Binding, error) {
	first := map[topology.Key]topology.Binding{}
	created := map[topology.Key]int64{}
	all := s.layout.group(topology.KindBinding)
	_, err := s.scanAt(ctx, all, clientv3.GetPrefixRangeEnd(all), revision, func(kv *mvccpb.KeyValue) {
		key, _ := s.layout.key(string(kv.Key))
		e, err := topology.Parse(key, string(kv.Value))
		if err != nil {
			return
		}
		b := e.(topology.Binding)
		// Keys come sorted, so of two of one revision the first is there.
		if at, ok := created[b.PortKey()]; !ok || kv.CreateRevision < at {
			first[b.PortKey()], created[b.PortKey()] = b, kv.CreateRevision
		}
	})
	if err != nil {
		return nil, s.failed("reading the bindings of ports", err)
	}
	return first, nil
}

// portsPerHandover leaves room for two keys a port in a transaction.
const portsPerHandover = maxOps/2 - 1

// OwnBindings moves what agents have written into ports' values into bindings of
// their own, for when they may write nothing else, and returns how many ports it
// moved. What an operator or a plugin has bound stays in the value: outer ports,
// and ports that have an owner.
func (s *Store) OwnBindings(ctx context.Context) (int, error) {
	ports, _, _, err := s.list(ctx, topology.KindSwitchPort, "")
	if err != nil {
		return 0, err
	}
	return s.handOver(ctx, ports, func(t *txn, port topology.SwitchPort) bool {
		if !isBoundTo(port, port.Chassis) || port.Chassis == "" || port.Owner != "" {
			return false
		}
		t.put(s.layout.path(bindingOf(port.Key(), port.Chassis).Key()), "")
		port.Chassis = ""
		t.put(s.layout.path(port.Key()), port.Value())
		return true
	})
}

// JoinBindings moves the bindings that count back into the ports' values and
// deletes all others, for when agents may write values again, and returns how
// many ports it changed.
func (s *Store) JoinBindings(ctx context.Context) (int, error) {
	bindings, err := s.bindings(ctx, 0)
	if err != nil {
		return 0, err
	}
	var ports []topology.Stored
	for key := range bindings {
		ports = append(ports, topology.SwitchPort{Switch: key.Parent, Name: key.Name})
	}
	moved, err := s.handOver(ctx, ports, func(t *txn, port topology.SwitchPort) bool {
		if port.Chassis != "" {
			return false
		}
		port.Chassis = bindings[port.Key()].Chassis
		t.put(s.layout.path(port.Key()), port.Value())
		return true
	})
	if err != nil {
		return moved, err
	}
	if _, err := s.client.Delete(ctx, s.layout.group(topology.KindBinding), clientv3.WithPrefix()); err != nil {
		return moved, s.failed("deleting the bindings of ports", err)
	}
	return moved, nil
}

// handOver has move change ports as they stand in the store, many in one
// transaction, and returns how many it reported to have changed.
func (s *Store) handOver(ctx context.Context, ports []topology.Stored, move func(*txn, topology.SwitchPort) bool) (int, error) {
	total := 0
	for part := range slices.Chunk(ports, portsPerHandover) {
		paths := make([]string, len(part))
		for i, e := range part {
			paths[i] = s.layout.path(e.Key())
		}
		moved := 0
		err := s.change(ctx, "moving the bindings of ports", paths, func(t *txn) error {
			moved = 0
			for i, e := range part {
				value, _ := t.get(paths[i])
				now, err := topology.Parse(e.Key(), value)
				if port, ok := now.(topology.SwitchPort); err == nil && ok && move(t, port) {
					moved++
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += moved
	}
	return total, nil
}
