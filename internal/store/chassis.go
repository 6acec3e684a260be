package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// PutChassis writes a chassis record, whether or not there is one.
func (s *Store) PutChassis(ctx context.Context, c topology.Chassis) error {
	if err := checkNames(c.Key()); err != nil {
		return err
	}
	if _, err := s.client.Put(ctx, s.layout.path(c.Key()), c.Value()); err != nil {
		return s.failed("registering "+describe(c.Key()), err)
	}
	return nil
}

// Removal tells what RemoveChassis did.
type Removal struct {
	// Gone says that the chassis' agent does not run: it has been stopped, or is
	// not heard of (any more, or though its record has an MTU, which only agents
	// write that announce themselves), or the chassis had no record.
	Gone     bool
	Alive    bool           // the agent runs; if neither, nobody knows, as of a node of the original TupleNet
	Released []topology.Key // switch ports that are bound to no chassis any more, sorted
}

// RemoveChassis deletes the record of a chassis, and if its agent does not run
// (see Removal) whatever else the store holds because of it: its presence and
// its absence, what its agent was asked to do, and the bindings of the ports
// that were plugged in there. Outer ports that name a bridge stay bound: an
// operator has chosen the chassis. An agent that runs keeps its ports.
//
// It is one transaction, or with more than a hundred ports several, of which
// the last deletes the record, so that what failed in between can be done
// again. ErrNotFound: there is neither a record nor anything of a chassis that
// has gone.
func (s *Store) RemoveChassis(ctx context.Context, name string) (Removal, error) {
	key := topology.Chassis{Name: name}.Key()
	if err := checkNames(key); err != nil {
		return Removal{}, err
	}
	released := map[topology.Key]bool{}
	for {
		done, removal, err := s.removeChassis(ctx, key, released)
		if err != nil {
			return Removal{}, err
		}
		if done {
			removal.Released = slices.SortedFunc(maps.Keys(released), topology.Key.Compare)
			return removal, nil
		}
	}
}

// portsPerRemoval leaves room in a transaction for what goes beside the ports.
const portsPerRemoval = maxOps - 8

// removeChassis is one transaction of RemoveChassis. It adds the ports that it
// releases to released, and reports whether nothing is left to do.
func (s *Store) removeChassis(ctx context.Context, key topology.Key, released map[topology.Key]bool) (done bool, r Removal, err error) {
	bound, err := s.boundTo(ctx, key.Name)
	if err != nil {
		return false, r, err
	}
	isLast := len(bound) <= portsPerRemoval
	bound = bound[:min(len(bound), portsPerRemoval)]
	record := s.layout.path(key)
	alive := s.layout.path(topology.Presence{Chassis: key.Name}.Key())
	down := s.layout.path(topology.Absence{Chassis: key.Name}.Key())
	paths := []string{record, alive, down}
	for _, port := range bound {
		paths = append(paths, s.layout.path(port))
	}
	var freed []topology.Key
	err = s.change(ctx, "removing "+describe(key), paths, func(t *txn) error {
		freed = freed[:0]
		value, registered := t.get(record)
		_, isDown := t.get(down)
		isStopped := false
		r.Alive, isStopped = s.presence(t, key.Name)
		e, err := topology.Parse(key, value)
		announces := err == nil && e.(topology.Chassis).MTU > 0
		r.Gone = !r.Alive && (isDown || isStopped || !registered || announces)
		if !registered && (r.Alive || !isDown && !isStopped && len(bound)+len(released) == 0) {
			return fmt.Errorf("%s %w", describe(key), ErrNotFound)
		}
		if r.Gone {
			for _, port := range bound {
				if s.release(t, port, key.Name) {
					freed = append(freed, port)
				}
			}
		}
		if done = isLast || !r.Gone; !done {
			return nil
		}
		t.delete(record)
		if r.Gone {
			t.delete(alive)
			t.delete(down)
			t.delete(s.layout.commands(key.Name), clientv3.WithPrefix())
			t.delete(s.layout.bindings(key.Name), clientv3.WithPrefix())
		}
		return nil
	})
	if err == nil {
		for _, port := range freed {
			released[port] = true
		}
	}
	return done, r, err
}

// presence returns what t has read of a chassis' agent: that it runs, or that it
// has been stopped, or neither.
func (s *Store) presence(t *txn, chassis string) (runs, isStopped bool) {
	key := topology.Presence{Chassis: chassis}.Key()
	value, ok := t.get(s.layout.path(key))
	if !ok {
		return false, false
	}
	e, err := topology.Parse(key, value)
	isStopped = err == nil && e.(topology.Presence).Stopped
	return !isStopped, isStopped
}

// boundTo returns the ports that an agent has bound to a chassis.
func (s *Store) boundTo(ctx context.Context, chassis string) ([]topology.Key, error) {
	ports, _, err := s.List(ctx, topology.KindSwitchPort, "")
	var bound []topology.Key
	for _, e := range ports {
		if isBoundTo(e, chassis) {
			bound = append(bound, e.Key())
		}
	}
	return bound, err
}

// isBoundTo reports whether an agent has bound e to a chassis.
func isBoundTo(e topology.Stored, chassis string) bool {
	port, ok := e.(topology.SwitchPort)
	return ok && port.Chassis == chassis && !(port.Outer() && port.Peer != "")
}

// release adds to t that a port is bound to chassis no more, and reports false
// if it was not.
func (s *Store) release(t *txn, key topology.Key, chassis string) bool {
	value, _ := t.get(s.layout.path(key))
	e, err := topology.Parse(key, value)
	port, ok := e.(topology.SwitchPort)
	switch {
	case err != nil || !ok:
		return false
	case isBoundTo(e, chassis):
		port.Chassis = ""
		t.put(s.layout.path(key), port.Value())
		return true
	case port.Chassis == "":
		t.delete(s.layout.path(bindingOf(key, chassis).Key()))
		return true
	}
	return false // somebody was faster
}
