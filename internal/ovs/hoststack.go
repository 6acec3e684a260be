package ovs

import (
	"context"
	"fmt"
)

// hostStackPort is the port by which packets enter the host's own stack. Its
// name does not depend on that of the bridge: earlier versions make it, too.
const (
	hostStackPort = "br-int-dsrgw"
	internalType  = "internal"
)

func isHostStack(i *iface) bool { return i.Name == hostStackPort && i.Type == internalType }

// SetHostStack makes the internal port br-int-dsrgw in the bridge, or removes
// it, and writes nothing when that is done already. Its OpenFlow port and its
// MAC come later, with an event; see HostStack. The device in the host's stack
// has no address and is down.
func (d *Driver) SetHostStack(ctx context.Context, want bool) error {
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	if err := d.setHostStack(ctx, s, want); err != nil {
		return fmt.Errorf("port %s of bridge %s: %w", hostStackPort, d.cfg.Bridge, err)
	}
	return nil
}

func (d *Driver) setHostStack(ctx context.Context, s *session, want bool) error {
	b := findBridge(s.cache, d.cfg.Bridge)
	if b == nil {
		return fmt.Errorf("the bridge is missing: %w", ErrNotConnected)
	}
	at, exists := readRows(s.cache).places()[hostStackPort]
	ours := exists && at.bridge.Name == b.Name && isHostStack(at.iface)
	switch {
	case want == ours:
		return nil
	case !want:
		ops, err := s.deletePortOps(at.bridge, at.port.UUID)
		if err != nil {
			return err
		}
		return s.transact(ctx, ops)
	case exists:
		return at.taken()
	}
	ops, err := s.createPortOps(b, &iface{Name: hostStackPort, Type: internalType})
	if err != nil {
		return err
	}
	return s.transact(ctx, ops)
}

// HostStack returns the port that SetHostStack makes; ok says that its OpenFlow
// port and its MAC are known. While OVSDB is away the last known ones are
// returned.
func (d *Driver) HostStack() (h HostStack, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.hostStack, d.view.hostStack != HostStack{}
}
