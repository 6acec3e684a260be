package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// portsPerAddress is how many connections an address of an snat rule has ports
// for; a port serves several if they go to different places, which is not
// counted on.
const portsPerAddress = 65536 - 1024

// translator looks after the connections of NAT rules, beside the agent's loop:
// it bounds them to what the addresses of a router have ports for, and removes
// those of a rule that is gone.
type translator struct {
	ovs  *ovs.Driver
	log  *slog.Logger
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	rules map[flows.Translated]bool
	gone  []flows.Translated // whose connections are to be removed
}

// newTranslator returns a translator that works until ctx ends.
func newTranslator(ctx context.Context, driver *ovs.Driver, log *slog.Logger) *translator {
	t := &translator{ovs: driver, log: log, wake: make(chan struct{}, 1), rules: map[flows.Translated]bool{}}
	go t.work(ctx)
	return t
}

func (t *translator) begun(n flows.Translated) { t.change(func() { t.rules[n] = true }) }

func (t *translator) ended(n flows.Translated) {
	t.change(func() {
		delete(t.rules, n)
		t.gone = append(t.gone, n)
	})
}

// renew sets the bounds again: ovs-vswitchd has forgotten them if it was
// restarted.
func (t *translator) renew() { t.change(func() {}) }

func (t *translator) change(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// limits returns how many connections each zone may have.
func (t *translator) limits() map[uint16]uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	limits := map[uint16]uint32{}
	for n := range t.rules {
		// A dnat rule's connections need no ports of ours; it gets as much
		// room, so that one guest cannot take all that the host has.
		limits[n.Zone] += portsPerAddress
	}
	return limits
}

// routers returns the routers whose connections are tracked, with their zones.
func (t *translator) routers() map[string]uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	zones := map[string]uint16{}
	for n := range t.rules {
		zones[n.Router] = n.Zone
	}
	return zones
}

func (t *translator) work(ctx context.Context) {
	var set map[uint16]uint32
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		t.mu.Lock()
		gone := t.gone
		t.gone = nil
		t.mu.Unlock()
		for _, n := range gone {
			if err := t.forget(ctx, n); err != nil && ctx.Err() == nil {
				t.log.Warn("cannot remove the connections of a NAT rule that is gone; they end by themselves",
					"router", n.Router, "type", n.Type, "address", n.Addr, "error", err)
			}
		}
		limits := t.limits()
		if len(limits) == 0 && len(set) == 0 {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := t.ovs.LimitConnections(try, limits)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.log.Warn("cannot bound the number of translated connections", "zones", slices.Sorted(maps.Keys(limits)), "error", err)
		}
		set = limits
	}
}

func (t *translator) forget(ctx context.Context, n flows.Translated) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return t.ovs.FlushConnections(ctx, n.Zone, n.Type, n.Addr)
}

// portNamed returns the switch port of a bare name.
func (a *agent) portNamed(name string) (topology.SwitchPort, bool) {
	p, ok := a.model.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	return p, ok
}
