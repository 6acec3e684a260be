package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// countAtOnce bounds how many requests are on their way to ovs-vswitchd, which
// does nothing else while it answers those: some milliseconds.
const countAtOnce = 1000

// CountPackets returns how many packets the flows with these cookies have matched.
// It is like Counters, and far cheaper where a table has many more flows.
func (d *Driver) CountPackets(ctx context.Context, cookies []uint64) (map[uint64]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, countersTimeout)
	defer cancel()
	all := make(map[uint64]uint64, len(cookies))
	for some := range slices.Chunk(cookies, countAtOnce) {
		conn, _ := d.flow.current()
		if conn == nil {
			return nil, fmt.Errorf("count packets in bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
		}
		packets, err := conn.CountPackets(ctx, some)
		if err != nil {
			if conn.Err() != nil {
				err = fmt.Errorf("%w: %w", ErrNotConnected, err)
			}
			return nil, fmt.Errorf("count packets in bridge %s: %w", d.cfg.Bridge, err)
		}
		maps.Copy(all, packets)
	}
	return all, nil
}

// FlowAge returns a number that grows whenever Sync and Apply are called.
func (d *Driver) FlowAge() uint64 {
	d.flow.mu.Lock()
	defer d.flow.mu.Unlock()
	return d.flow.age
}

// ErrChanging is returned by CountFlows when flows were changed meanwhile.
var ErrChanging = errors.New("flows are being changed")

// CountFlows returns how many of the driver's flows the bridge holds, which
// differs from what Sync and Apply have left there if somebody else has deleted
// or added some. It waits for nobody but Open vSwitch, as long as ctx lasts; what
// it returns is of the flows as they were at an age, or else an ErrChanging.
func (d *Driver) CountFlows(ctx context.Context, age uint64) (int, error) {
	conn, _ := d.flow.current()
	if conn == nil {
		return 0, fmt.Errorf("count flows of bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	n, err := conn.Count(ctx, flows.CookieTag, flows.CookieMask)
	if err == nil && (!d.InSync() || d.FlowAge() != age) {
		err = ErrChanging
	}
	return n, err
}
