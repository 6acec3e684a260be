package agent

import (
	"context"
	"log/slog"
	"time"

	"tuplenet/internal/ovs"
)

// resolvePatience is how long packets keep off a new tunnel whose next hop
// does not answer Open vSwitch.
const resolvePatience = 200 * time.Millisecond

// resolver keeps packets off new tunnels that would lose the first of them, see
// ovs.Driver.Resolve. The agent's loop owns it.
type resolver struct {
	ctx   context.Context
	ovs   *ovs.Driver
	log   *slog.Logger
	ready map[tunnelPort]bool
	done  chan tunnelPort // ports that are to be marked ready
}

// tunnelPort is a tunnel port that may come again as another one.
type tunnelPort struct {
	name   string
	ofport uint32
}

// newResolver returns a resolver that works until ctx ends.
func newResolver(ctx context.Context, driver *ovs.Driver, log *slog.Logger) *resolver {
	return &resolver{ctx: ctx, ovs: driver, log: log, ready: map[tunnelPort]bool{}, done: make(chan tunnelPort)}
}

// takes reports whether packets may be sent by a tunnel. One that is not known
// yet is made ready, which done tells of, unless it is old: then packets are
// sent by it already.
func (r *resolver) takes(t ovs.Tunnel, old bool) bool {
	port := tunnelPort{t.Name, t.OFPort}
	ready, known := r.ready[port]
	if known {
		return ready
	}
	r.ready[port] = old || t.Chassis == ovs.FlowBased
	if r.ready[port] {
		return true
	}
	go func() {
		ctx, cancel := context.WithTimeout(r.ctx, resolvePatience)
		defer cancel()
		if err := r.ovs.Resolve(ctx, t.OFPort, t.RemoteIP); err != nil {
			r.log.Debug("a tunnel may lose its first packets", "chassis", t.Chassis, "error", err)
		}
		select {
		case r.done <- port:
		case <-r.ctx.Done():
		}
	}()
	return false
}

// forget drops the ports that are gone.
func (r *resolver) forget(there []ovs.Tunnel) {
	if len(r.ready) <= len(there) {
		return
	}
	kept := make(map[tunnelPort]bool, len(there))
	for _, t := range there {
		port := tunnelPort{t.Name, t.OFPort}
		if ready, ok := r.ready[port]; ok {
			kept[port] = ready
		}
	}
	r.ready = kept
}
