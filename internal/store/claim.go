package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// Want is what an attachment asks of a port that is made in advance.
type Want struct {
	IP      netip.Addr   // the zero Addr: any
	MAC     topology.MAC // zero: that of the port
	Chassis string       // that the port is bound to at once; empty: as it is
	Secured bool         // whether the port is to be secured
}

// ClaimPort gives a port of a pool to owner, in one write, and returns it: the
// one that owner has already, or the free one with the lowest address. ErrFull
// says that none is free, ErrNotFound that the switch has no port of the pool,
// ErrConflict that the address wanted is another's, or not in the pool.
func (s *Store) ClaimPort(ctx context.Context, sw, pool, owner string, want Want) (topology.SwitchPort, error) {
	for {
		free, taken, err := s.pool(ctx, sw, pool, owner)
		if err != nil {
			return topology.SwitchPort{}, err
		}
		if want.IP.IsValid() {
			free = slices.DeleteFunc(free, func(p topology.SwitchPort) bool { return p.IP != want.IP })
		}
		switch {
		case len(free) > 0:
		case want.IP.IsValid():
			return topology.SwitchPort{}, fmt.Errorf("switch %s: %s: %w: no free port of pool %s has it", sw, want.IP, ErrConflict, pool)
		case taken > 0:
			return topology.SwitchPort{}, fmt.Errorf("switch %s: %w in pool %s: all of its %d ports are in use", sw, ErrFull, pool, taken)
		default:
			return topology.SwitchPort{}, fmt.Errorf("pool %s of switch %s %w", pool, sw, ErrNotFound)
		}
		port, err := s.claim(ctx, free[0], owner, want)
		if !errors.Is(err, errLost) {
			return port, err
		}
	}
}

// errLost says that another was faster.
var errLost = errors.New("claimed by another meanwhile")

// pool returns the ports of a pool that owner has, or else those that are free,
// by address, and how many others have.
func (s *Store) pool(ctx context.Context, sw, pool, owner string) (free []topology.SwitchPort, taken int, err error) {
	ports, _, err := s.List(ctx, topology.KindSwitchPort, sw)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range ports {
		port := e.(topology.SwitchPort)
		switch {
		case port.Pool != pool:
		case port.Owner == owner:
			return []topology.SwitchPort{port}, 0, nil
		case port.Owner == "":
			free = append(free, port)
		default:
			taken++
		}
	}
	slices.SortFunc(free, func(a, b topology.SwitchPort) int { return a.IP.Compare(b.IP) })
	return free, taken, nil
}

func (s *Store) claim(ctx context.Context, port topology.SwitchPort, owner string, want Want) (topology.SwitchPort, error) {
	key := port.Key()
	path := s.layout.path(key)
	err := s.change(ctx, "claiming "+describe(key), []string{path}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return errLost
		}
		e, err := topology.Parse(key, value)
		now, isPort := e.(topology.SwitchPort)
		if err != nil || !isPort || now.Pool != port.Pool || now.Owner != "" && now.Owner != owner {
			return errLost
		}
		port = now
		port.Owner, port.Secured = owner, want.Secured
		if want.MAC != (topology.MAC{}) {
			port.MAC = want.MAC
		}
		if want.Chassis != "" {
			port.Chassis = want.Chassis
		}
		if err := checkValue(port); err != nil {
			return err
		}
		if port != now {
			t.put(path, port.Value())
		}
		return nil
	})
	return port, err
}

// ReleasePort takes from owner what it has of a port: one of a pool is free
// again, with the MAC that its address makes, any other is deleted. A port that is
// not owner's, or is not there, is no error, and stays.
func (s *Store) ReleasePort(ctx context.Context, key topology.Key, owner string) error {
	if err := checkNames(key); err != nil {
		return err
	}
	path := s.layout.path(key)
	return s.change(ctx, "releasing "+describe(key), []string{path, s.layout.book(key.ParentKey())}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return nil
		}
		e, err := topology.Parse(key, value)
		port, isPort := e.(topology.SwitchPort)
		if err != nil || !isPort || port.Owner != owner {
			return nil
		}
		if port.Pool == "" {
			t.delete(path)
			return s.givePort(ctx, t, port)
		}
		port.Owner, port.MAC = "", topology.MACFromIP(port.IP)
		if port.Parent == "" { // where a child is, its parent says
			port.Chassis = ""
		}
		t.put(path, port.Value())
		return nil
	})
}

// Owned returns the ports of a switch, or of all if sw is empty, whose owner
// begins with prefix, as one read shows them.
func (s *Store) Owned(ctx context.Context, sw, prefix string) ([]topology.SwitchPort, error) {
	ports, _, err := s.List(ctx, topology.KindSwitchPort, sw)
	var owned []topology.SwitchPort
	for _, e := range ports {
		if port := e.(topology.SwitchPort); port.Owner != "" && strings.HasPrefix(port.Owner, prefix) {
			owned = append(owned, port)
		}
	}
	return owned, err
}
