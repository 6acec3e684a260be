package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// wantTunnels asks for a tunnel to every other chassis.
func (a *agent) wantTunnels() {
	if !a.member || !a.snapshot {
		return
	}
	var out []ovs.TunnelSpec
	for c := range a.model.Chassis() {
		if c.Name != a.self && c.IP != a.TunnelIP {
			out = append(out, ovs.TunnelSpec{Chassis: c.Name, IP: c.IP})
		}
	}
	a.tunneler.want(out)
}

// readTunnels takes in the tunnel ports that the bridge has now, and has those
// mended that are not as they should be.
func (a *agent) readTunnels() {
	now := map[string]topology.Tunnel{}
	for _, t := range a.ovs.Tunnels() {
		if _, ok := now[t.Chassis]; !ok && t.Chassis != "" {
			now[t.Chassis] = topology.Tunnel{Chassis: t.Chassis, OFPort: t.OFPort}
		}
	}
	var changes []topology.Change
	for name, t := range now {
		if a.tunnels[name] != t {
			changes = append(changes, topology.Change{Key: t.Key(), Entity: t})
		}
	}
	for name, t := range a.tunnels {
		if _, ok := now[name]; !ok {
			changes = append(changes, topology.Change{Key: t.Key()})
		}
	}
	a.tunnels = now
	if len(changes) > 0 {
		a.took(a.model.Apply(changes))
	}
	a.wantTunnels()
}

// tunneler makes the tunnel ports as they are wanted, beside the agent's loop:
// OVSDB may be away, and thousands of ports take their time.
type tunneler struct {
	ovs  *ovs.Driver
	log  *slog.Logger
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards wanted
	wanted []ovs.TunnelSpec
}

// newTunneler returns a tunneler that works until ctx ends.
func newTunneler(ctx context.Context, driver *ovs.Driver, log *slog.Logger) *tunneler {
	t := &tunneler{ovs: driver, log: log, wake: make(chan struct{}, 1)}
	go t.work(ctx)
	return t
}

// want sets what there should be. The last call counts.
func (t *tunneler) want(specs []ovs.TunnelSpec) {
	t.mu.Lock()
	t.wanted = specs
	t.mu.Unlock()
	t.signal()
}

func (t *tunneler) work(ctx context.Context) {
	var failed string
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		t.mu.Lock()
		wanted := t.wanted
		t.mu.Unlock()
		err := t.ovs.SetTunnels(ctx, wanted)
		if err == nil || ctx.Err() != nil {
			failed = ""
			continue
		}
		if err.Error() != failed {
			failed = err.Error()
			t.log.Warn("cannot set up tunnels, will try again", "error", err)
		}
		// An event of the driver wakes us when OVSDB is back; this is for
		// faults that pass without one.
		time.AfterFunc(time.Second, t.signal)
	}
}

func (t *tunneler) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
