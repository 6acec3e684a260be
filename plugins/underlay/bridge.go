package underlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// ovsPatience is how long Open vSwitch may take for one request.
const ovsPatience = 5 * time.Second

// bridge is a bridge of this node's own Open vSwitch, to which devices are added
// as access ports of a VLAN. The rows and columns are those of
// ovs-vswitchd.conf.db(5).
type bridge struct {
	name   string
	client client.Client
}

// ownerID is where an interface's external_ids say whose attachment it is.
const ownerID = "tuplenet-owner"

// openBridge connects to OVSDB. It does not ask whether there is such a bridge.
// The caller closes it.
func openBridge(ctx context.Context, name string) (*bridge, error) {
	endpoint := os.Getenv("TUPLENET_OVSDB_PATH")
	if endpoint == "" {
		endpoint = filepath.Join(cmp.Or(os.Getenv("OVS_RUNDIR"), "/var/run/openvswitch"), "db.sock")
	}
	if filepath.IsAbs(endpoint) {
		endpoint = "unix:" + endpoint
	}
	// Requests are made of columns, not of models: a connection that lives for
	// two of them needs no replica. One model is what libovsdb insists on.
	type row struct {
		UUID string `ovsdb:"_uuid"`
	}
	m, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{"Bridge": &row{}})
	if err != nil {
		return nil, fmt.Errorf("model of OVSDB: %w", err)
	}
	silent := logr.Discard()
	c, err := client.NewOVSDBClient(m, client.WithEndpoint(endpoint), client.WithLogger(&silent))
	if err != nil {
		return nil, fmt.Errorf("OVSDB endpoint %s: %w", endpoint, err)
	}
	ctx, cancel := context.WithTimeout(ctx, ovsPatience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("bridge %s: connect to OVSDB at %s: %w (is Open vSwitch running?)", name, endpoint, err)
	}
	return &bridge{name, c}, nil
}

func (b *bridge) close() { b.client.Close() }

// userspace reports whether the bridge's packets are forwarded by ovs-vswitchd
// itself, which completes no checksums. It is an error if there is no such bridge.
func (b *bridge) userspace(ctx context.Context) (bool, error) {
	results, err := b.transact(ctx, []ovsdb.Operation{
		{Op: ovsdb.OperationSelect, Table: "Bridge", Where: named(b.name), Columns: []string{"datapath_type"}}})
	if err != nil {
		return false, fmt.Errorf("look for bridge %s: %w", b.name, err)
	}
	for _, row := range results[0].Rows {
		return row["datapath_type"] == "netdev", nil
	}
	return false, fmt.Errorf("this node's Open vSwitch has no bridge %s", b.name)
}

// add makes a device a port of the bridge, in place of an older one for a device
// of the same name, and returns once packets pass.
func (b *bridge) add(ctx context.Context, device string, tag uint16, owner string) error {
	ops, err := b.removeOps(ctx, device)
	if err != nil {
		return err
	}
	const ifaceRow, portRow = "interface", "port"
	ids := ovsdb.OvsMap{GoMap: map[any]any{ownerID: owner}}
	ops = append(ops,
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Interface", UUIDName: ifaceRow,
			Row: ovsdb.Row{"name": device, "external_ids": ids}},
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Port", UUIDName: portRow,
			Row: ovsdb.Row{"name": device, "interfaces": uuids(ifaceRow), "tag": int(tag)}},
		ovsdb.Operation{Op: ovsdb.OperationMutate, Table: "Bridge", Where: named(b.name),
			Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.MutateOperationInsert, uuids(portRow))}},
	)
	if _, err := b.transact(ctx, ops); err != nil {
		return fmt.Errorf("add port %s to bridge %s: %w", device, b.name, err)
	}
	// ovs-vswitchd opens the device when it has read the row.
	timeout := int(ovsPatience.Milliseconds())
	results, err := b.transact(ctx, []ovsdb.Operation{
		{Op: ovsdb.OperationWait, Table: "Interface", Where: named(device), Columns: []string{"ofport"},
			Until: string(ovsdb.WaitConditionNotEqual), Rows: []ovsdb.Row{{"ofport": ovsdb.OvsSet{GoSet: []any{}}}}, Timeout: &timeout},
		{Op: ovsdb.OperationSelect, Table: "Interface", Where: named(device), Columns: []string{"ofport", "error"}},
	})
	if err != nil {
		return fmt.Errorf("wait until Open vSwitch has opened port %s of bridge %s: %w (does ovs-vswitchd run?)", device, b.name, err)
	}
	for _, row := range results[1].Rows {
		if fault, is := row["error"].(string); is && fault != "" {
			return fmt.Errorf("port %s of bridge %s: %s", device, b.name, fault)
		}
	}
	return nil
}

// remove takes a device's port out of the bridge, if it is one of ours.
func (b *bridge) remove(ctx context.Context, device string) error {
	ops, err := b.removeOps(ctx, device)
	if err == nil && len(ops) > 0 {
		_, err = b.transact(ctx, ops)
	}
	if err != nil {
		return fmt.Errorf("remove port %s from bridge %s: %w", device, b.name, err)
	}
	return nil
}

// removeOps returns the operation that removes a device's port, none if there is
// none. A port that is not of ours is an error: its device is somebody else's.
func (b *bridge) removeOps(ctx context.Context, device string) ([]ovsdb.Operation, error) {
	results, err := b.transact(ctx, []ovsdb.Operation{
		{Op: ovsdb.OperationSelect, Table: "Port", Where: named(device), Columns: []string{"_uuid"}},
		{Op: ovsdb.OperationSelect, Table: "Interface", Where: named(device), Columns: []string{"external_ids"}},
	})
	if err != nil {
		return nil, fmt.Errorf("look for port %s: %w", device, err)
	}
	for _, row := range results[1].Rows {
		if ids, is := row["external_ids"].(ovsdb.OvsMap); is && ids.GoMap[ownerID] == nil {
			return nil, fmt.Errorf("there is a port %s in Open vSwitch already that is no pod's; remove it with: ovs-vsctl del-port %[1]s", device)
		}
	}
	for _, row := range results[0].Rows {
		if id, is := row["_uuid"].(ovsdb.UUID); is {
			// Its rows go with the last reference.
			return []ovsdb.Operation{{Op: ovsdb.OperationMutate, Table: "Bridge", Where: named(b.name),
				Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.MutateOperationDelete, uuids(id.GoUUID))}}}, nil
		}
	}
	return nil, nil
}

// tag returns the VLAN of a device's port.
func (b *bridge) tag(ctx context.Context, device string) (uint16, error) {
	results, err := b.transact(ctx, []ovsdb.Operation{
		{Op: ovsdb.OperationSelect, Table: "Port", Where: named(device), Columns: []string{"tag"}}})
	if err != nil {
		return 0, fmt.Errorf("look for port %s of bridge %s: %w", device, b.name, err)
	}
	for _, row := range results[0].Rows {
		if tag, is := row["tag"].(float64); is {
			return uint16(tag), nil
		}
	}
	return 0, fmt.Errorf("bridge %s has no port %s", b.name, device)
}

func (b *bridge) transact(ctx context.Context, ops []ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*ovsPatience)
	defer cancel()
	results, err := b.client.Transact(ctx, ops...)
	if err != nil {
		return nil, err
	}
	if failed, err := ovsdb.CheckOperationResults(results, ops); len(failed) > 0 {
		return nil, fmt.Errorf("%w, the first with: %w", err, failed[0])
	} else if err != nil {
		return nil, err
	}
	if len(results) < len(ops) {
		return nil, errors.New("OVSDB has answered less than it was asked")
	}
	return results, nil
}

func named(name string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)}
}

func uuids(ids ...string) ovsdb.OvsSet {
	set := ovsdb.OvsSet{}
	for _, id := range ids {
		set.GoSet = append(set.GoSet, ovsdb.UUID{GoUUID: id})
	}
	return set
}
