package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Attachment is a port of the bridge that was made for a workload of a
// container runtime, as plugins ask for it. Open vSwitch's database is where it
// is remembered, also over a restart of the host.
type Attachment struct {
	Device string // network device
	Port   string // iface-id: bare name of the logical switch port
	Owner  string // whose it is, as topology.SwitchPort.Owner
	// Failed says that Open vSwitch cannot open the device: it has gone, as when
	// the container's namespace has, or the host was started anew.
	Failed bool
	// Dark says that the device has no link. In userspace Open vSwitch says no
	// more than that of a device that has gone.
	Dark bool
}

// ownerID is where an interface's external_ids say whose attachment it is.
const ownerID = "tuplenet-owner"

// Attach makes a port of the bridge for a device, in place of one that an
// attachment had for the same device before. Events tells when Open vSwitch has
// given it a number. A port that somebody else made for the device is an error.
func (d *Driver) Attach(ctx context.Context, a Attachment) error {
	err := d.change(ctx, func(s *session) ([]ovsdb.Operation, error) {
		in := findBridge(s.cache, d.cfg.Bridge)
		if in == nil {
			return nil, fmt.Errorf("bridge %s is missing: %w", d.cfg.Bridge, ErrNotConnected)
		}
		var ops []ovsdb.Operation
		ids := map[string]string{"iface-id": a.Port, ownerID: a.Owner}
		at := readRows(s.cache).places()[a.Device]
		switch {
		case at.iface == nil:
		case at.iface.ExternalIDs[ownerID] == "" || at.bridge.UUID != in.UUID:
			return nil, at.taken()
		case maps.Equal(at.iface.ExternalIDs, ids) && at.iface.OFPort != nil && *at.iface.OFPort > 0:
			return nil, nil
		default: // its device may be another one by now
			gone, err := s.deletePortOps(at.bridge, at.port.UUID)
			if err != nil {
				return nil, err
			}
			ops = gone
		}
		made, err := s.createPortOps(in, &iface{Name: a.Device, ExternalIDs: ids})
		return append(ops, made...), err
	})
	if err != nil {
		return fmt.Errorf("attach device %s: %w", a.Device, err)
	}
	return nil
}

// Detach removes the ports of attachments' devices from the bridge. One that
// is not there, or that no attachment has, is left alone and no error.
func (d *Driver) Detach(ctx context.Context, devices ...string) error {
	err := d.change(ctx, func(s *session) (ops []ovsdb.Operation, err error) {
		places := readRows(s.cache).places()
		for _, device := range devices {
			if at := places[device]; at.iface != nil && at.iface.ExternalIDs[ownerID] != "" {
				more, opErr := s.deletePortOps(at.bridge, at.port.UUID)
				ops, err = append(ops, more...), errors.Join(err, opErr)
			}
		}
		return ops, err
	})
	if err != nil {
		return fmt.Errorf("detach devices: %w", err)
	}
	return nil
}

// change runs the operations that plan makes. Once it returns, Attachments shows
// what has become of them.
func (d *Driver) change(ctx context.Context, plan func(*session) ([]ovsdb.Operation, error)) error {
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	ops, err := plan(s)
	if err != nil {
		return err
	}
	if err := s.transact(ctx, ops); err != nil {
		return err
	}
	d.look(s)
	return nil
}

// Attachments returns the attachments that the bridge has, ordered by device.
// The caller must not change the slice. While OVSDB is away the last known ones
// are returned.
func (d *Driver) Attachments() []Attachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.attachments
}

// Userspace reports whether the bridge's packets are forwarded by
// ovs-vswitchd itself, which cannot complete checksums that a sender leaves to
// the NIC.
func (d *Driver) Userspace() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.userspace
}
