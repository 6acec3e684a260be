package ovs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

const (
	failModeSecure = "secure"
	openFlow14     = "OpenFlow14"
)

// ensureBridge makes the bridge when it is missing. One that is there is taken
// as it is, but for what the driver cannot do without: fail mode secure, lest
// it forwards on its own, and OpenFlow 1.4.
func (d *Driver) ensureBridge(ctx context.Context, s *session) error {
	ops, err := d.ensureBridgeOps(s)
	if err == nil {
		err = s.transact(ctx, ops)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", d.cfg.Bridge, err)
	}
	return nil
}

// ensureBridgeOps returns the operations of ensureBridge, none if nothing is
// to be done.
func (d *Driver) ensureBridgeOps(s *session) ([]ovsdb.Operation, error) {
	b := findBridge(s.cache, d.cfg.Bridge)
	if b == nil {
		d.log.Info("making the integration bridge", "bridge", d.cfg.Bridge, "datapath_type", d.cfg.DatapathType)
		return d.createBridgeOps(s)
	}
	if b.FailMode != nil && *b.FailMode == failModeSecure && speaks(b, openFlow14) {
		return nil, nil
	}
	want := &bridge{FailMode: new(failModeSecure), Protocols: slices.Clone(b.Protocols)}
	if !speaks(b, openFlow14) {
		want.Protocols = append(want.Protocols, openFlow14)
	}
	d.log.Info("adjusting the integration bridge", "bridge", b.Name, "fail_mode", *want.FailMode, "protocols", want.Protocols)
	ops, err := s.client.Where(b).Update(want, &want.FailMode, &want.Protocols)
	root := findRoot(s.cache)
	if err != nil || root == nil {
		return ops, err
	}
	more, err := s.client.Where(root).Mutate(root, model.Mutation{Field: &root.NextCfg, Mutator: ovsdb.MutateOperationAdd, Value: 1})
	d.adjusted = root.NextCfg + 1
	return append(ops, more...), err
}

// settled reports, once, that ovs-vswitchd has done what ensureBridge changed.
func (d *Driver) settled(s *session) bool {
	root := findRoot(s.cache)
	if d.adjusted == 0 || root == nil || root.CurCfg < d.adjusted {
		return false
	}
	d.adjusted = 0
	return true
}

// createBridgeOps returns the operations that make the bridge with its local
// port.
func (d *Driver) createBridgeOps(s *session) ([]ovsdb.Operation, error) {
	const brID, portID, ifaceID = "bridge", "port", "interface"
	root := findRoot(s.cache)
	if root == nil {
		return nil, errEmptyDatabase
	}
	var ops []ovsdb.Operation
	for _, row := range []model.Model{
		&iface{UUID: ifaceID, Name: d.cfg.Bridge, Type: "internal"},
		&port{UUID: portID, Name: d.cfg.Bridge, Interfaces: []string{ifaceID}},
		&bridge{UUID: brID, Name: d.cfg.Bridge, FailMode: new(failModeSecure), DatapathType: d.cfg.DatapathType, Ports: []string{portID}},
	} {
		op, err := s.client.Create(row)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op...)
	}
	op, err := s.client.Where(root).Mutate(root, model.Mutation{
		Field: &root.Bridges, Mutator: ovsdb.MutateOperationInsert, Value: []string{brID},
	})
	return append(ops, op...), err
}

// createPortOps returns the operations that make an interface, and the port of
// its name, in a bridge.
func (s *session) createPortOps(in *bridge, i *iface) ([]ovsdb.Operation, error) {
	i.UUID = fmt.Sprintf("interface_%x", i.Name)
	p := &port{UUID: fmt.Sprintf("port_%x", i.Name), Name: i.Name, Interfaces: []string{i.UUID}}
	makeIface, err1 := s.client.Create(i)
	makePort, err2 := s.client.Create(p)
	insert, err3 := s.insertPortOps(in, p.UUID)
	return slices.Concat(makeIface, makePort, insert), errors.Join(err1, err2, err3)
}

// insertPortOps returns the operations that put ports into a bridge.
func (s *session) insertPortOps(in *bridge, ports ...string) ([]ovsdb.Operation, error) {
	return s.client.Where(in).Mutate(in, model.Mutation{Field: &in.Ports, Mutator: ovsdb.MutateOperationInsert, Value: ports})
}

// deletePortOps returns the operations that take ports out of a bridge. The
// server removes those that no bridge has any more.
func (s *session) deletePortOps(from *bridge, ports ...string) ([]ovsdb.Operation, error) {
	return s.client.Where(from).Mutate(from, model.Mutation{Field: &from.Ports, Mutator: ovsdb.MutateOperationDelete, Value: ports})
}

// findBridge returns the bridge of that name, or nil.
func findBridge(c *cache.TableCache, name string) *bridge {
	return findRow(c, tableBridge, func(b *bridge) bool { return b.Name == name })
}

// speaks reports whether the bridge accepts a version of OpenFlow; without a
// list it accepts all.
func speaks(b *bridge, version string) bool {
	return len(b.Protocols) == 0 || slices.Contains(b.Protocols, version)
}
