package ovs

import (
	"context"
	"fmt"
	"net/netip"

	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/topology"
)

// FlushConnections removes the connections of a conntrack zone that are
// translated to (snat) or from (dnat) an external address, so that a
// translation that was removed ends at once. Open vSwitch before 3.1 removes
// all of the zone.
func (d *Driver) FlushConnections(ctx context.Context, zone uint16, t topology.NATType, external netip.Addr) error {
	conn, _ := d.flow.current()
	if conn == nil {
		return fmt.Errorf("remove connections in bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	// The external address is where the answers go to what left under it, and
	// where what came to it went at first.
	tuple := openflow.Reply
	if t == topology.DNAT {
		tuple = openflow.Original
	}
	for range flushPasses {
		if err := conn.FlushConnections(ctx, zone, tuple, external); err != nil {
			return err
		}
	}
	return nil
}

// flushPasses is how often the table is walked through. Open vSwitch 3.1 removes
// while it walks, which moves others to where it has been already: of 121
// connections one pass left 31, the next 15, then 6, 3. So many passes leave none
// of 60,000.
const flushPasses = 20
