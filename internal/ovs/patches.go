package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// PatchSpec asks for a pair of patch ports that joins the integration bridge
// and another bridge.
type PatchSpec struct {
	Port   string // the logical switch port that the pair is bound to
	Bridge string // the other bridge
}

// peerSuffix makes the name of the other bridge's end from that of ours.
const peerSuffix = "-peer"

// patchPairs is what the driver knows of patch ports beyond the replica.
type patchPairs struct {
	busy sync.Mutex // held while pairs are changed; guards held
	// held has the pairs that were wanted and in place. Once its bridge is
	// deleted, a pair looks like one that somebody is making by hand.
	held map[string]bool
}

// SetPatches makes the pairs of patch ports those that are wanted, and writes
// nothing where they are already: interface <Port> in the integration bridge
// and <Port>-peer in the other one, both with the iface-id <Port>. Either is
// made again when it was deleted.
//
// The iface-id of the other end shows that a pair is the driver's, or of an
// earlier version: such a pair is removed when it is not wanted. One without,
// as people make them, is left alone, and serves where it is wanted.
//
// A pair that cannot be had keeps no others out; the error names all of those.
// A bridge that is missing is such a case: its coming, like all that happens
// to bridges and patch ports, is an event, at which the caller tries again.
func (d *Driver) SetPatches(ctx context.Context, want []PatchSpec) error {
	d.patches.busy.Lock()
	defer d.patches.busy.Unlock()
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	places := readRows(s.cache).places()
	bridges := map[string]string{} // of the wanted pairs, by port
	var problems []error
	for _, spec := range want {
		if first, twice := bridges[spec.Port]; twice && first != spec.Bridge {
			problems = append(problems, fmt.Errorf("patch port %s to bridge %s: it leads to bridge %s already", spec.Port, spec.Bridge, first))
			continue
		}
		bridges[spec.Port] = spec.Bridge
	}
	for _, name := range d.unwantedPatches(places, bridges) {
		ops, err := d.removePatchOps(s, places, name)
		if err == nil {
			err = s.transact(ctx, ops)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("remove patch port %s: %w", name, err))
			continue
		}
		delete(d.patches.held, name)
	}
	for _, name := range slices.Sorted(maps.Keys(bridges)) {
		ops, byHand, err := d.makePatchOps(s, places, name, bridges[name])
		if err == nil {
			err = s.transact(ctx, ops)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("patch port %s to bridge %s: %w", name, bridges[name], err))
			continue
		}
		d.patches.held[name] = !byHand
	}
	return errors.Join(problems...)
}

// unwantedPatches returns the names of pairs that may have to go.
func (d *Driver) unwantedPatches(places map[string]place, bridges map[string]string) []string {
	names := maps.Clone(d.patches.held)
	for _, at := range places {
		if id := at.iface.ExternalIDs["iface-id"]; id != "" && at.iface.Type == patchType {
			names[id] = true
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { _, wanted := bridges[name]; return wanted })
	return slices.Sorted(maps.Keys(names))
}

// removePatchOps returns the operations that remove what there is of a pair,
// if it is the driver's.
func (d *Driver) removePatchOps(s *session, places map[string]place, name string) (ops []ovsdb.Operation, err error) {
	for _, end := range d.ownEnds(places, name) {
		op, opErr := s.deletePortOps(end.bridge, end.port.UUID)
		ops, err = append(ops, op...), errors.Join(err, opErr)
	}
	return ops, err
}

// ownEnds returns what there is of a pair, if it is the driver's.
func (d *Driver) ownEnds(places map[string]place, name string) (ends []place) {
	near, far := places[name], places[name+peerSuffix]
	ourNear := near.isPatch(name, name+peerSuffix) && near.bridge.Name == d.cfg.Bridge
	ourFar := far.isPatch(name, name) && far.bridge.Name != d.cfg.Bridge
	if ourNear && (ourFar || far.iface == nil && d.patches.held[name]) {
		ends = append(ends, near)
	}
	if ourFar && (ourNear || near.iface == nil) {
		ends = append(ends, far)
	}
	return ends
}

// makePatchOps returns the operations that complete a pair, none if nothing is
// to be done. byHand says that somebody made the other end, which then stays
// as it is, wherever it is.
func (d *Driver) makePatchOps(s *session, places map[string]place, name, bridgeName string) (ops []ovsdb.Operation, byHand bool, err error) {
	near, peer := places[name], name+peerSuffix
	if near.iface != nil && near.iface.Options["peer"] != "" {
		peer = near.iface.Options["peer"]
	}
	if byHand = places[peer].isPatch("", name); byHand && near.isPatch(name, peer) {
		return nil, true, nil
	}
	own, other := findBridge(s.cache, d.cfg.Bridge), findBridge(s.cache, bridgeName)
	switch {
	case own == nil:
		return nil, byHand, fmt.Errorf("bridge %s is missing: %w", d.cfg.Bridge, ErrNotConnected)
	case other == nil:
		return nil, byHand, errors.New("the bridge is missing; the port will be made when it is there")
	case other == own:
		return nil, byHand, errors.New("this is the integration bridge, which the port is to join to another one")
	}
	if byHand {
		ops, err = s.makeEndOps(near, own, name, name, peer)
		return ops, byHand, err
	}
	ops, err = s.makeEndOps(near, own, name, name, name+peerSuffix)
	if err != nil {
		return nil, byHand, err
	}
	more, err := s.makeEndOps(places[name+peerSuffix], other, name+peerSuffix, name, name)
	return append(ops, more...), byHand, err
}

// makeEndOps returns the operations that make one end of a pair in a bridge, or
// of what is at its place what it should be. An end in a wrong bridge moves.
func (s *session) makeEndOps(at place, in *bridge, name, ifaceID, peer string) (ops []ovsdb.Operation, err error) {
	row := &iface{
		Name: name, Type: patchType,
		Options:     map[string]string{"peer": peer},
		ExternalIDs: map[string]string{"iface-id": ifaceID},
	}
	switch {
	case at.iface == nil:
		return s.createPortOps(in, row)
	case at.iface.Type != patchType || at.iface.ExternalIDs["iface-id"] != ifaceID:
		return nil, at.taken()
	}
	add := func(op []ovsdb.Operation, opErr error) {
		ops, err = append(ops, op...), errors.Join(err, opErr)
	}
	if row.Options = merged(at.iface.Options, row.Options); !maps.Equal(row.Options, at.iface.Options) {
		add(s.client.Where(at.iface).Update(row, &row.Options))
	}
	if at.bridge.UUID != in.UUID {
		add(s.deletePortOps(at.bridge, at.port.UUID))
		add(s.insertPortOps(in, at.port.UUID))
	}
	return ops, err
}

// isPatch reports whether there is a patch port that has the iface-id, none if
// that is empty, and leads to the peer.
func (at place) isPatch(ifaceID, peer string) bool {
	return at.iface != nil && at.iface.Type == patchType &&
		at.iface.ExternalIDs["iface-id"] == ifaceID && at.iface.Options["peer"] == peer
}
