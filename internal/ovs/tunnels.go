package ovs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// TunnelSpec asks for a tunnel to a chassis.
type TunnelSpec struct {
	Chassis string     // system-id of the other end, or FlowBased
	IP      netip.Addr // its tunnel address, IPv4; the zero Addr for FlowBased
	BFD     BFD        // whether and how the tunnel is watched; FlowBased never is
}

// FlowBased stands for the chassis of a tunnel port that receives from all
// addresses to which no port of their own leads. Nothing can be sent by it, as
// no flow sets its destination.
const FlowBased = "flow_base_tunnel"

// tunnelWishes is what the driver was asked for last.
type tunnelWishes struct {
	busy sync.Mutex     // held while tunnels are changed; guards bfd
	bfd  map[string]BFD // by the tunnel's name
}

// tunnelsPerTransaction bounds what ovs-vswitchd has to set up in one go, and
// the size of a transaction to 60 KB, see session.transact.
const tunnelsPerTransaction = 100

const tunnelPrefix = "tupleNet-"

// flowBasedName is what is behind the prefix in the name of FlowBased's port.
const flowBasedName = "flowbased"

func (t TunnelSpec) flowBased() bool { return t.Chassis == FlowBased }

func (t TunnelSpec) check() error {
	if t.flowBased() != !t.IP.IsValid() || t.IP.IsValid() && !t.IP.Is4() {
		return fmt.Errorf("%s is not an IPv4 address", t.IP)
	}
	return nil
}

// name returns the name of the tunnel's port.
func (t TunnelSpec) name() string {
	if t.flowBased() {
		return tunnelPrefix + flowBasedName
	}
	b := t.IP.As4()
	return tunnelPrefix + strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])), 10)
}

// options returns the options that make a Geneve tunnel whose VNI the flows
// set.
func (t TunnelSpec) options() map[string]string {
	remote := "flow"
	if !t.flowBased() {
		remote = t.IP.String()
	}
	return map[string]string{"remote_ip": remote, "key": "flow", "csum": "true"}
}

// isTunnelName reports whether a port of that name is the driver's.
func isTunnelName(name string) bool {
	rest, ok := strings.CutPrefix(name, tunnelPrefix)
	_, err := strconv.ParseUint(rest, 10, 32)
	return ok && (err == nil || rest == flowBasedName)
}

// SetTunnels makes the tunnel ports of the bridge those that are wanted, and
// writes nothing where they are already. A port is known by its name, and so
// by the address it leads to: one that exists, whoever made it, keeps its
// OpenFlow port. What there is of one chassis, the port to its new address and
// the one to its old, changes in one transaction. Whoever can send to the bridge
// before and after many transactions can so between them: what goes comes after
// what is new, and FlowBased is made first and removed last.
//
// The column bfd of a tunnel is written when the wish differs from that of the
// last call, and at the first call, or after one that failed, when the column
// does not say it; between, an operator may switch it by hand. A tunnel that
// need not be watched has the column empty, or {enable="false"} if it was
// watched before.
//
// A chassis is to be in the list once. A tunnel that cannot be had does not
// keep others out; the error names all of those. OpenFlow ports come later,
// with an event.
func (d *Driver) SetTunnels(ctx context.Context, want []TunnelSpec) error {
	d.tunnels.busy.Lock()
	defer d.tunnels.busy.Unlock()
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	changes, wishes, err := d.tunnelChanges(s, want)
	for batch := range slices.Chunk(changes, tunnelsPerTransaction) {
		ops, opsErr := d.setTunnelsOps(s, batch)
		if opsErr == nil {
			opsErr = s.transact(ctx, ops)
		}
		if opsErr != nil {
			// Some may be done, or will be yet: the next call goes by what
			// the columns say.
			d.tunnels.bfd = nil
			return errors.Join(err, fmt.Errorf("change tunnel ports of bridge %s: %w", d.cfg.Bridge, opsErr))
		}
	}
	d.tunnels.bfd = wishes
	return err
}

// tunnelChange is what has to be done about the tunnels of one chassis.
type tunnelChange struct {
	chassis string
	want    *TunnelSpec       // the tunnel, if it is to be made or changed
	bfd     map[string]string // its column bfd; nil leaves it as it is
	have    *iface            // its row, if it is to be changed
	stale   []string          // UUIDs of ports that are to go
}

// rank says when a change is due, see SetTunnels.
func (c *tunnelChange) rank() int {
	flowBased := c.chassis == FlowBased
	switch {
	case c.want != nil && flowBased:
		return 0
	case c.want != nil:
		return 1
	case !flowBased:
		return 2
	}
	return 3
}

// tunnelChanges compares the tunnel ports with what is wanted, and returns the
// differences in the order in which they are to be made, and how each tunnel is to be watched. The
// error is about tunnels that are left out.
func (d *Driver) tunnelChanges(s *session, want []TunnelSpec) ([]tunnelChange, map[string]BFD, error) {
	have := map[string]place{} // in the bridge, by name
	places := readRows(s.cache).places()
	for name, at := range places {
		if isTunnelName(name) && at.bridge.Name == d.cfg.Bridge {
			have[name] = at
		}
	}

	var problems []error
	changes := map[string]*tunnelChange{}
	change := func(chassis string) *tunnelChange {
		if changes[chassis] == nil {
			changes[chassis] = &tunnelChange{chassis: chassis}
		}
		return changes[chassis]
	}
	users := map[string]string{} // port name to chassis
	wishes := map[string]BFD{}
	for _, spec := range want {
		if err := spec.check(); err != nil {
			problems = append(problems, fmt.Errorf("tunnel to chassis %s: %w", spec.Chassis, err))
			continue
		}
		if spec.flowBased() {
			spec.BFD = BFD{}
		}
		name := spec.name()
		if user, used := users[name]; used {
			problems = append(problems, fmt.Errorf("tunnel to chassis %s: chassis %s has its address %s", spec.Chassis, user, spec.IP))
			continue
		}
		at, exists := places[name]
		if exists && at.bridge.Name != d.cfg.Bridge {
			problems = append(problems, fmt.Errorf("tunnel to chassis %s: %w", spec.Chassis, at.taken()))
			continue
		}
		users[name] = spec.Chassis
		before, wished := d.tunnels.bfd[name]
		switch {
		case !spec.BFD.Keep:
			wishes[name] = spec.BFD.normal()
		case wished:
			wishes[name] = before
		}
		if !exists {
			c := change(spec.Chassis)
			c.want = &spec
			if spec.BFD.Enable {
				c.bfd = spec.BFD.columnOver(nil)
			}
			continue
		}
		var bfd map[string]string
		if !spec.BFD.Keep {
			bfd = d.tunnels.bfdColumn(name, wishes[name], at.iface.BFD)
		}
		if bfd != nil || at.iface.Type != tunnelType || !contains(at.iface.Options, spec.options()) ||
			at.iface.ExternalIDs["chassis-id"] != spec.Chassis {
			c := change(spec.Chassis)
			c.want, c.bfd, c.have = &spec, bfd, at.iface
		}
	}
	for name, at := range have {
		if _, wanted := users[name]; !wanted {
			c := change(at.iface.ExternalIDs["chassis-id"])
			c.stale = append(c.stale, at.port.UUID)
		}
	}
	sorted := make([]tunnelChange, 0, len(changes))
	for _, c := range changes {
		sorted = append(sorted, *c)
	}
	slices.SortFunc(sorted, func(a, b tunnelChange) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.chassis, b.chassis))
	})
	return sorted, wishes, errors.Join(problems...)
}

// bfdColumn returns the column bfd that a tunnel is to have, given the one it
// has, or nil if that is to stay.
func (w *tunnelWishes) bfdColumn(name string, wish BFD, now map[string]string) map[string]string {
	last, known := w.bfd[name]
	if known && wish == last || !known && wish.isSaidBy(now) {
		return nil
	}
	return wish.columnOver(now)
}

// setTunnelsOps returns the operations that carry out the changes.
func (d *Driver) setTunnelsOps(s *session, changes []tunnelChange) (ops []ovsdb.Operation, err error) {
	b := findBridge(s.cache, d.cfg.Bridge)
	if b == nil {
		return nil, fmt.Errorf("the bridge is missing: %w", ErrNotConnected)
	}
	add := func(op []ovsdb.Operation, opErr error) {
		ops, err = append(ops, op...), errors.Join(err, opErr)
	}
	var made, stale []string
	for n, c := range changes {
		stale = append(stale, c.stale...)
		switch {
		case c.have != nil:
			row := &iface{
				Type:        tunnelType,
				Options:     merged(c.have.Options, c.want.options()),
				ExternalIDs: merged(c.have.ExternalIDs, map[string]string{"chassis-id": c.chassis}),
				BFD:         c.bfd,
			}
			columns := []any{&row.Type, &row.Options, &row.ExternalIDs}
			if c.bfd != nil {
				columns = append(columns, &row.BFD)
			}
			add(s.client.Where(c.have).Update(row, columns...))
		case c.want != nil:
			name, ifaceID, portID := c.want.name(), fmt.Sprintf("interface%d", n), fmt.Sprintf("port%d", n)
			add(s.client.Create(&iface{
				UUID: ifaceID, Name: name, Type: tunnelType,
				Options:     c.want.options(),
				ExternalIDs: map[string]string{"chassis-id": c.chassis},
				BFD:         c.bfd,
			}))
			add(s.client.Create(&port{UUID: portID, Name: name, Interfaces: []string{ifaceID}}))
			made = append(made, portID)
		}
	}
	if len(made) > 0 {
		add(s.insertPortOps(b, made...))
	}
	if len(stale) > 0 {
		add(s.deletePortOps(b, stale...))
	}
	return ops, err
}

const tunnelType = "geneve"

// contains reports whether all of part is in m.
func contains(m, part map[string]string) bool {
	for k, v := range part {
		if m[k] != v {
			return false
		}
	}
	return true
}

// merged returns m with part over it.
func merged(m, part map[string]string) map[string]string {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{}
	}
	maps.Copy(m, part)
	return m
}
