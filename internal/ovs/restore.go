package ovs

import (
	"context"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// What HoldTraffic writes into the row of Open_vSwitch: the key of other_config
// that ovs-vswitchd heeds (ovs-vswitchd.conf.db(5)), and one of external_ids
// that says that it is ours.
const (
	flowRestoreWait = "flow-restore-wait"
	restoreMark     = "tuplenet-restore"
)

// HoldTraffic makes the ovs-vswitchd that starts next wait for its flows: it
// does not forward by those that it has so far, and leaves alone what its
// predecessor has put into the kernel's datapath, by which packets go on. It
// answers OpenFlow meanwhile. One that runs already goes on as it is. This is
// about all bridges of the Open vSwitch, so ReleaseTraffic has to follow.
//
// Somebody else may hold traffic already: ovs-ctl(8) does for as long as it
// takes to restart ovs-vswitchd and to put the flows back that it had saved.
// That hold is left alone, and left to them. If they come after us they cannot
// be told from us, and our release ends both; what they have not put back by
// then is in other bridges, as ours has all its flows.
func (d *Driver) HoldTraffic(ctx context.Context) error {
	return d.changeHold(ctx, "hold", (*session).holdOps)
}

// ReleaseTraffic takes back what HoldTraffic has done, also in another process,
// and writes nothing where there is nothing to take back.
func (d *Driver) ReleaseTraffic(ctx context.Context) error {
	return d.changeHold(ctx, "release", (*session).releaseOps)
}

// releasePatience bounds Release: an OVSDB that is away cannot be helped.
const releasePatience = 2 * time.Second

// Release takes back what a HoldTraffic of a process that is no more has done,
// for one that may not get as far as to open a driver. Without OVSDB it does
// nothing.
func Release(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	cfg.setDefaults()
	s, err := newSession(ctx, cfg.Database, cfg.Log)
	if err != nil {
		return nil
	}
	defer s.close()
	return s.changeHold(ctx, "release", (*session).releaseOps)
}

// TrafficHeld reports whether there is something for ReleaseTraffic to do. That
// it has changed is an event. While OVSDB is away the last known state counts.
func (d *Driver) TrafficHeld() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.held
}

func (d *Driver) changeHold(ctx context.Context, verb string, ops func(*session) ([]ovsdb.Operation, error)) error {
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	return s.changeHold(ctx, verb, ops)
}

func (s *session) changeHold(ctx context.Context, verb string, ops func(*session) ([]ovsdb.Operation, error)) error {
	change, err := ops(s)
	if err == nil {
		err = s.transact(ctx, change)
	}
	if err != nil {
		return fmt.Errorf("%s traffic of Open vSwitch (other_config:%s): %w", verb, flowRestoreWait, err)
	}
	return nil
}

// holdOps returns the operations of HoldTraffic, none if nothing is to be done.
func (s *session) holdOps() ([]ovsdb.Operation, error) {
	root := findRoot(s.cache)
	if root == nil {
		return nil, errEmptyDatabase
	}
	if _, set := root.OtherConfig[flowRestoreWait]; set {
		return nil, nil
	}
	return s.client.Where(root).Mutate(root,
		model.Mutation{Field: &root.OtherConfig, Mutator: ovsdb.MutateOperationInsert, Value: map[string]string{flowRestoreWait: "true"}},
		model.Mutation{Field: &root.ExternalIDs, Mutator: ovsdb.MutateOperationInsert, Value: map[string]string{restoreMark: "true"}})
}

// releaseOps returns the operations of ReleaseTraffic, none if nothing is to be
// done.
func (s *session) releaseOps() ([]ovsdb.Operation, error) {
	if !isHeld(s.cache) {
		return nil, nil
	}
	root := findRoot(s.cache)
	return s.client.Where(root).Mutate(root,
		model.Mutation{Field: &root.OtherConfig, Mutator: ovsdb.MutateOperationDelete, Value: []string{flowRestoreWait}},
		model.Mutation{Field: &root.ExternalIDs, Mutator: ovsdb.MutateOperationDelete, Value: []string{restoreMark}})
}

// isHeld reports whether HoldTraffic has been at work.
func isHeld(c *cache.TableCache) bool {
	root := findRoot(c)
	return root != nil && root.ExternalIDs[restoreMark] != ""
}
