package ovs

import (
	"context"
	"fmt"
	"time"

	"tuplenet/flows"
)

// countersTimeout bounds Counters. 500,000 flows take 1.2 s.
const countersTimeout = 5 * time.Second

// Counters returns how many packets each of the driver's flows of a table has
// matched, by cookie. Open vSwitch counts what its datapath does with a delay
// of up to a second. The connection stays as it is when there is no answer in
// time; the error is ErrNotConnected while the bridge cannot be reached.
func (d *Driver) Counters(ctx context.Context, table flows.Table) (map[uint64]uint64, error) {
	conn, _ := d.flow.current()
	if conn == nil {
		return nil, fmt.Errorf("count packets in bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	ctx, cancel := context.WithTimeout(ctx, countersTimeout)
	defer cancel()
	packets := map[uint64]uint64{}
	for f, err := range conn.DumpTable(ctx, uint8(table), flows.CookieTag, flows.CookieMask) {
		if err != nil {
			if conn.Err() != nil {
				err = fmt.Errorf("%w: %w", ErrNotConnected, err)
			}
			return nil, fmt.Errorf("count packets in table %s of bridge %s: %w", table, d.cfg.Bridge, err)
		}
		packets[f.Cookie] += f.Packets
	}
	return packets, nil
}
