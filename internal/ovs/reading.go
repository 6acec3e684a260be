package ovs

import (
	"context"
	"fmt"
	"path/filepath"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
)

// Reading is what an Open vSwitch has at one moment of what a Driver looks after.
type Reading struct {
	Chassis    string      // the name of the host, its system-id; empty if it has none
	Bridge     string      // the integration bridge; empty if there is none
	Interfaces []Interface // as Driver.Interfaces returns them
	Tunnels    []Tunnel    // as Driver.Tunnels returns them
	HostStack  HostStack   // zero if there is none
	Held       bool        // traffic waits for flows, see Driver.HoldTraffic
	Flows      map[uint64]flows.Table
}

// Read reads an Open vSwitch and changes nothing, unlike a Driver, which makes
// the bridge. It does not wait for one that is away, and for one that hangs as
// long as ctx lasts. With an error about the flows, which are TupleNet's alone
// and go by their cookies, it returns the rest.
func Read(ctx context.Context, cfg Config) (Reading, error) {
	cfg.setDefaults()
	s, err := newSession(ctx, cfg.Database, cfg.Log)
	if err != nil {
		return Reading{}, fmt.Errorf("%w (is Open vSwitch running?)", err)
	}
	defer s.close()
	v, whole := readView(s.cache, cfg.Bridge)
	for !whole {
		select {
		case <-s.dirty:
			v, whole = readView(s.cache, cfg.Bridge)
		case <-ctx.Done():
			return Reading{}, fmt.Errorf("read OVSDB at %s: %w", cfg.Database, ctx.Err())
		}
	}
	r := Reading{Interfaces: v.interfaces, Tunnels: v.tunnels, HostStack: v.hostStack, Held: v.held}
	r.Chassis, _ = systemID(s)
	if findBridge(s.cache, cfg.Bridge) == nil {
		return r, nil
	}
	r.Bridge = cfg.Bridge
	r.Flows, err = readFlows(ctx, filepath.Join(cfg.RunDir, cfg.Bridge+".mgmt"))
	if err != nil {
		return r, fmt.Errorf("flows of bridge %s: %w (is ovs-vswitchd running?)", cfg.Bridge, err)
	}
	return r, nil
}

// readFlows returns the tables of TupleNet's flows by their cookies.
func readFlows(ctx context.Context, socket string) (map[uint64]flows.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := openflow.Dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	tables := map[uint64]flows.Table{}
	for f, err := range conn.Dump(ctx, flows.CookieTag, flows.CookieMask) {
		if err != nil {
			return nil, err
		}
		tables[f.Cookie] = flows.Table(f.Table)
	}
	return tables, nil
}
