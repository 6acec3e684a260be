package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/internal/topology"
)

// Create makes all entities, or none, in one transaction, and returns them as
// they were stored. A switch or router without an id gets the lowest free one.
// None of the entities may exist (ErrExists), their parents must, unless they
// are among the entities (ErrNotFound), and no other port of a switch or router
// may have the same 16-bit id (ErrConflict). One call can involve 128 keys: the
// entities, their parents and the books of what is in use.
func (s *Store) Create(ctx context.Context, entities ...topology.Stored) ([]topology.Stored, error) {
	return s.CreateIf(ctx, nil, entities...)
}

// CreateIf is Create on a condition: check, which is called once the entities'
// own conditions are met and as often as others write what it has read, returns
// nil, or the error that CreateIf then returns. What check reads counts with
// the keys that one call can involve. Without a check CreateIf is Create.
func (s *Store) CreateIf(ctx context.Context, check func(*View) error, entities ...topology.Stored) ([]topology.Stored, error) {
	if len(entities) == 0 {
		return nil, nil
	}
	for _, e := range entities {
		if err := checkNames(e.Key()); err != nil {
			return nil, err
		}
	}
	doing := "creating " + describe(entities[0].Key())
	if n := len(entities); n > 1 {
		doing += fmt.Sprintf(" and %d more", n-1)
	}
	var made []topology.Stored
	err := s.change(ctx, doing, s.createPaths(entities), func(t *txn) error {
		if err := s.checkParents(t, entities); err != nil {
			return err
		}
		made = made[:0]
		for _, e := range entities {
			stored, err := s.create(ctx, t, e)
			if err != nil {
				return err
			}
			made = append(made, stored)
		}
		if check == nil {
			return nil
		}
		return check(&View{ctx, s, t})
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// checkNames refuses names that are no path element.
func checkNames(key topology.Key) error {
	if !key.Kind.Stored() {
		return fmt.Errorf("the store holds no %s", key.Kind)
	}
	if key.Kind.Parent() != 0 {
		if err := topology.CheckName(key.Parent); err != nil {
			return fmt.Errorf("%s: %w", key.Kind.Parent(), err)
		}
	}
	if err := topology.CheckName(key.Name); err != nil {
		return fmt.Errorf("%s: %w", key.Kind, err)
	}
	return nil
}

// createPaths returns the keys that Create has to see, each once.
func (s *Store) createPaths(entities []topology.Stored) []string {
	var paths []string
	for _, e := range entities {
		key := e.Key()
		paths = append(paths, s.layout.path(key))
		if key.Kind.Parent() != 0 {
			paths = append(paths, s.layout.path(key.ParentKey()))
		}
		switch key.Kind {
		case topology.KindSwitch, topology.KindRouter:
			paths = append(paths, s.layout.deviceIDs())
		case topology.KindSwitchPort, topology.KindRouterPort:
			paths = append(paths, s.layout.book(key.ParentKey()))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// checkParents refuses entities whose parent neither exists nor is made with
// them.
func (s *Store) checkParents(t *txn, entities []topology.Stored) error {
	for _, e := range entities {
		key := e.Key()
		if key.Kind.Parent() == 0 {
			continue
		}
		parent := key.ParentKey()
		if _, ok := t.get(s.layout.path(parent)); ok {
			continue
		}
		if !slices.ContainsFunc(entities, func(o topology.Stored) bool { return o.Key() == parent }) {
			return fmt.Errorf("%s %w", describe(parent), ErrNotFound)
		}
	}
	return nil
}

// create adds to t what it takes to make e, and returns e with its id.
func (s *Store) create(ctx context.Context, t *txn, e topology.Stored) (topology.Stored, error) {
	key := e.Key()
	path := s.layout.path(key)
	if _, ok := t.get(path); ok || t.writes(path) {
		return nil, fmt.Errorf("%s %w", describe(key), ErrExists)
	}
	var err error
	switch device := e.(type) {
	case topology.Switch:
		device.ID, err = s.takeDeviceID(ctx, t, key, device.ID)
		e = device
	case topology.Router:
		device.ID, err = s.takeDeviceID(ctx, t, key, device.ID)
		e = device
	case topology.SwitchPort, topology.RouterPort:
		err = s.takePortID(ctx, t, e)
	}
	if err != nil {
		return nil, err
	}
	if err := checkValue(e); err != nil {
		return nil, err
	}
	t.put(path, e.Value())
	return e, nil
}

// checkValue sees to it that what is written reads as what was meant, also by
// others.
func checkValue(e topology.Stored) error {
	again, err := topology.Parse(e.Key(), e.Value())
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", describe(e.Key()), err)
	case again != e:
		return fmt.Errorf("%s: invalid value %q: names of peers and chassis cannot contain commas", describe(e.Key()), e.Value())
	}
	return nil
}

// takeDeviceID enters an id, or the lowest free one for 0, into device_ids.
func (s *Store) takeDeviceID(ctx context.Context, t *txn, key topology.Key, id uint32) (uint32, error) {
	used, err := s.deviceIDs(ctx, t)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", describe(key), err)
	}
	if id == 0 {
		free, ok := lowestFree(used, 1, topology.MaxID)
		if !ok {
			return 0, fmt.Errorf("%s: all %d ids of switches and routers are in use", describe(key), topology.MaxID)
		}
		id = free
	}
	if !used.CheckedAdd(id) {
		return 0, fmt.Errorf("%s: a switch or router with id %d %w", describe(key), id, ErrExists)
	}
	return id, nil
}

// takePortID enters a port's id into its parent's ip_book.
func (s *Store) takePortID(ctx context.Context, t *txn, port topology.Stored) error {
	key := port.Key()
	if !addrOf(port).Is4() {
		return fmt.Errorf("%s: invalid IP %q, want an IPv4 address", describe(key), addrOf(port))
	}
	used, err := s.ipBook(ctx, t, key.ParentKey())
	if err != nil {
		return fmt.Errorf("%s: %w", describe(key), err)
	}
	if used.CheckedAdd(idOf(port)) {
		return nil
	}
	return s.conflict(ctx, t, port)
}

// conflict finds out why the id of a port is taken.
func (s *Store) conflict(ctx context.Context, t *txn, port topology.Stored) error {
	key, ip := port.Key(), addrOf(port)
	others, err := s.ports(ctx, key.ParentKey())
	if err != nil {
		return err
	}
	for _, other := range others {
		switch {
		case idOf(other) != idOf(port):
		case addrOf(other) == ip:
			return fmt.Errorf("%s: %s: %w, port %s has it", describe(key), ip, ErrConflict, other.Key().Name)
		default:
			return fmt.Errorf("%s: %s: %w, %s of port %s: ports of a %s are told apart by the low 16 bits of their addresses%s",
				describe(key), ip, ErrConflict, addrOf(other), other.Key().Name, key.Kind.Parent(), wider(key))
		}
	}
	text, _ := t.get(s.layout.book(key.ParentKey()))
	if before, err := decodeBitmap(text); err == nil && !before.Contains(idOf(port)) {
		return fmt.Errorf("%s: %s: %w that is created with it", describe(key), ip, ErrConflict)
	}
	return fmt.Errorf(`%s: %s: %w, which no port has any more; "tpctl toolbox rebuild-ip-book" frees it`, describe(key), ip, ErrConflict)
}

// wider says what the 16 bits mean for a switch.
func wider(port topology.Key) string {
	if port.Kind == topology.KindSwitchPort {
		return ", so a switch cannot be wider than /16"
	}
	return ""
}

// addrOf returns the address of a port.
func addrOf(port topology.Stored) netip.Addr {
	switch p := port.(type) {
	case topology.SwitchPort:
		return p.IP
	case topology.RouterPort:
		return p.Net.Addr()
	}
	return netip.Addr{}
}

// AllocatePort makes port with the lowest free address of subnet, in one
// transaction, and returns it as it was stored. The network's own address, its
// broadcast address and those that isReserved reports, if it is not nil, are not
// given out; ErrFull says that there is no other. The MAC is made from the address
// unless port has one.
func (s *Store) AllocatePort(ctx context.Context, port topology.SwitchPort, subnet netip.Prefix, isReserved func(netip.Addr) bool) (topology.SwitchPort, error) {
	key := port.Key()
	if err := checkNames(key); err != nil {
		return port, err
	}
	if !subnet.Addr().Is4() {
		return port, fmt.Errorf("%s: invalid subnet %s, want an IPv4 network", describe(key), subnet)
	}
	made := port
	one := []topology.Stored{port}
	err := s.change(ctx, "creating "+describe(key), s.createPaths(one), func(t *txn) error {
		if err := s.checkParents(t, one); err != nil {
			return err
		}
		used, err := s.ipBook(ctx, t, key.ParentKey())
		if err != nil {
			return fmt.Errorf("%s: %w", describe(key), err)
		}
		made = port
		for made.IP = range hosts(subnet) {
			if !used.Contains(idOf(made)) && (isReserved == nil || !isReserved(made.IP)) {
				if made.MAC == (topology.MAC{}) {
					made.MAC = topology.MACFromIP(made.IP)
				}
				_, err := s.create(ctx, t, made)
				return err
			}
		}
		return fmt.Errorf("%s: %w in %s", describe(key), ErrFull, subnet.Masked())
	})
	if err != nil {
		return port, err
	}
	return made, nil
}

// hosts yields the addresses that subnet's hosts can have and that a port id
// can tell apart, in their order.
func hosts(subnet netip.Prefix) func(yield func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		size := uint64(1) << (32 - subnet.Bits())
		first := binary.BigEndian.Uint32(subnet.Masked().Addr().AsSlice())
		for i := uint64(1); i < min(size-1, 1<<16+1); i++ {
			if !yield(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+uint32(i))))) {
				return
			}
		}
	}
}
