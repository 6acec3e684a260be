package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tuplenet/internal/topology"
)

// Where a port is plugged in stands in its value, which every agent of the
// original TupleNet reads and writes. Who may write a value may write all of it,
// so where etcd authenticates, agents may not, and each keeps the bindings of its
// ports in keys of its own:
//
//	entity_bind/<system-id>/<switch>/<port>
//
// A chassis or a peer in the value comes before all of them. Of several bindings the
// one that was created first counts, so that nobody takes a port that another has.

// Bind writes that a switch port is plugged in at a chassis: into the port's
// value, the rest of which stays as it is, or, if etcd authenticates, or denies
// that, into a binding of the chassis' own. Nothing is written that is there
// already. ErrNotFound: there is no such port.
func (s *Store) Bind(ctx context.Context, key topology.Key, chassis string) error {
	isOn := false
	if s.user != "" { // else nobody asks who this is
		var err error
		if isOn, err = s.Authenticates(ctx); err != nil && status.Code(err) != codes.Unimplemented { // as in etcd 3.4
			return err
		}
	}
	if !isOn {
		if err := s.bindValue(ctx, key, chassis); !errors.Is(err, ErrDenied) {
			return err
		}
	}
	// Also by an agent that attaches containers, and so may write this value: where
	// the port goes next, others may not, and could never take it from there.
	return s.bindBeside(ctx, key, chassis)
}

// bindBeside is Bind with a binding of the chassis' own.
func (s *Store) bindBeside(ctx context.Context, key topology.Key, chassis string) error {
	port, path := s.layout.path(key), s.layout.path(bindingOf(key, chassis).Key())
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(path), "=", 0), clientv3.Compare(clientv3.CreateRevision(port), ">", 0)).
		Then(clientv3.OpPut(path, "")).
		Else(clientv3.OpGet(port, clientv3.WithKeysOnly())).Commit()
	switch {
	case err != nil:
		return s.failed("binding "+describe(key), err)
	case !resp.Succeeded && resp.Responses[0].GetResponseRange().Count == 0:
		return NotFound(key)
	}
	s.confined.Do(func() {
		s.log.Info("etcd authenticates, so the bindings of this host's ports are kept under its own name from now on",
			"keys", s.layout.bindings(chassis))
	})
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

// bound gives those of entities that are ports, and whose values do not say where
// they are, the chassis that they are bound to, as of a revision.
func (s *Store) bound(ctx context.Context, entities []topology.Stored, revision int64) error {
	open := func(e topology.Stored) bool {
		port, ok := e.(topology.SwitchPort)
		return ok && isOpen(port)
	}
	if !slices.ContainsFunc(entities, open) {
		return nil
	}
	bindings, err := s.bindings(ctx, revision)
	if err != nil || len(bindings) == 0 {
		return err
	}
	for i, e := range entities {
		if !open(e) {
			continue
		}
		port := e.(topology.SwitchPort)
		if of := bindings[port.Key()]; len(of) > 0 {
			port.Chassis = of[0].Chassis
			entities[i] = port
		}
	}
	return nil
}

// isOpen reports whether bindings say where a port is, as its value names neither a
// chassis nor a peer: who has a peer is plugged in there.
func isOpen(port topology.SwitchPort) bool { return port.Chassis == "" && port.Peer == "" }

// bindings returns the bindings of each port, the first of which counts if the
// port is open, as of a revision, or of now if that is 0.
func (s *Store) bindings(ctx context.Context, revision int64) (map[topology.Key][]topology.Binding, error) {
	type created struct {
		binding topology.Binding
		at      int64
	}
	var all []created
	directory := s.layout.group(topology.KindBinding)
	_, err := s.scanAt(ctx, directory, clientv3.GetPrefixRangeEnd(directory), revision, func(kv *mvccpb.KeyValue) {
		key, _ := s.layout.key(string(kv.Key))
		if e, err := topology.Parse(key, string(kv.Value)); err == nil {
			all = append(all, created{e.(topology.Binding), kv.CreateRevision})
		}
	})
	if err != nil {
		return nil, s.failed("reading the bindings of ports", err)
	}
	// Keys come sorted, and of two of one revision the first of them counts.
	slices.SortStableFunc(all, func(a, b created) int { return cmp.Compare(a.at, b.at) })
	bindings := map[topology.Key][]topology.Binding{}
	for _, c := range all {
		key := c.binding.PortKey()
		bindings[key] = append(bindings[key], c.binding)
	}
	return bindings, nil
}

// portsPerHandover leaves room for two keys a port in a transaction.
const portsPerHandover = maxOps/2 - 1

// OwnBindings moves what agents have written into ports' values into bindings of
// their own, for when they may write nothing else, and returns how many ports it
// moved. What an operator or a plugin has bound stays in the value: outer ports,
// and ports that have an owner, but for children, which are where their parents are.
func (s *Store) OwnBindings(ctx context.Context) (int, error) {
	ports, _, _, err := s.list(ctx, topology.KindSwitchPort, "")
	if err != nil {
		return 0, err
	}
	isOwn := func(port topology.SwitchPort) bool {
		return port.Chassis != "" && port.Peer == "" && (port.Owner == "" || port.Parent != "")
	}
	ports = slices.DeleteFunc(ports, func(e topology.Stored) bool { return !isOwn(e.(topology.SwitchPort)) })
	if err := s.dropWaiting(ctx, ports); err != nil {
		return 0, err
	}
	return s.handOver(ctx, ports, func(t *txn, port topology.SwitchPort) bool {
		if !isOwn(port) {
			return false
		}
		t.put(s.layout.path(bindingOf(port.Key(), port.Chassis).Key()), "")
		port.Chassis = ""
		t.put(s.layout.path(port.Key()), port.Value())
		return true
	})
}

// dropWaiting deletes the bindings that wait for what the values of ports say, and
// were created before those that are made of the values: the ports were theirs else.
func (s *Store) dropWaiting(ctx context.Context, ports []topology.Stored) error {
	bindings, err := s.bindings(ctx, 0)
	if err != nil || len(bindings) == 0 {
		return err
	}
	for _, e := range ports {
		for _, b := range bindings[e.Key()] {
			if err := s.Unbind(ctx, e.Key(), b.Chassis); err != nil {
				return err
			}
		}
	}
	return nil
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
		if !isOpen(port) {
			return false
		}
		port.Chassis = bindings[port.Key()][0].Chassis
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
