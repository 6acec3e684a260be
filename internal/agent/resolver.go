package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tuplenet/internal/ovs"
)

const (
	// resolvePatience is how long packets keep off a new tunnel whose next hop
	// does not answer Open vSwitch.
	resolvePatience = 200 * time.Millisecond
	// againPatience is how long the next hops of tunnels in use are asked for:
	// the address that the tunnels leave from may come later than ovs-vswitchd.
	againPatience = 10 * time.Second
	// An answer is looked for after longer and longer times, and so is noticed
	// after at most twice the time that it took.
	minResolvePause = time.Millisecond
	maxResolvePause = 500 * time.Millisecond
)

// resolver keeps packets off new tunnels that would lose the first of them, see
// ovs.Driver.Resolve, which it calls beside the agent's loop for all such tunnels
// at once.
type resolver struct {
	ctx  context.Context
	ovs  *ovs.Driver
	log  *slog.Logger
	done chan []tunnelPort // of which nothing more is awaited; for resolved
	wake chan struct{}     // capacity 1

	ready map[tunnelPort]bool // of the loop alone

	mu    sync.Mutex // guards asked
	asked []attempt
}

// attempt asks for the next hop of a tunnel.
type attempt struct {
	tunnel ovs.Tunnel
	until  time.Time
}

// tunnelPort is a tunnel port that may come again as another one.
type tunnelPort struct {
	name   string
	ofport uint32
}

func portOf(t ovs.Tunnel) tunnelPort { return tunnelPort{t.Name, t.OFPort} }

// newResolver returns a resolver that works until ctx ends.
func newResolver(ctx context.Context, driver *ovs.Driver, log *slog.Logger) *resolver {
	r := &resolver{ctx: ctx, ovs: driver, log: log, ready: map[tunnelPort]bool{},
		done: make(chan []tunnelPort), wake: make(chan struct{}, 1)}
	go r.work()
	return r
}

// takes reports whether packets may be sent by a tunnel. One that is not known
// yet is made ready, which done tells of, unless it is from before the first
// sync: the bridge may have flows that send by it, and again follows.
func (r *resolver) takes(t ovs.Tunnel, old bool) bool {
	port := portOf(t)
	ready, known := r.ready[port]
	if known {
		return ready
	}
	ready = old || t.Chassis == ovs.FlowBased
	r.ready[port] = ready
	if !ready {
		r.ask(t, resolvePatience)
	}
	return ready
}

// resolved takes in what done yields, and reports whether there are tunnels that
// packets may be sent by now.
func (r *resolver) resolved(ports []tunnelPort) (more bool) {
	for _, port := range ports {
		if ready, known := r.ready[port]; known && !ready {
			r.ready[port], more = true, true
		}
	}
	return more
}

// again asks for the next hops of all tunnels that packets are sent by: an
// ovs-vswitchd that was restarted has forgotten them. The packets go on
// meanwhile, as most of those tunnels may be idle.
func (r *resolver) again() {
	for _, t := range r.ovs.Tunnels() {
		if r.ready[portOf(t)] && t.Chassis != ovs.FlowBased {
			r.ask(t, againPatience)
		}
	}
}

// forget drops the ports that are gone.
func (r *resolver) forget(there []ovs.Tunnel) {
	if len(r.ready) <= len(there) {
		return
	}
	kept := make(map[tunnelPort]bool, len(there))
	for _, t := range there {
		port := portOf(t)
		if ready, ok := r.ready[port]; ok {
			kept[port] = ready
		}
	}
	r.ready = kept
}

func (r *resolver) ask(t ovs.Tunnel, patience time.Duration) {
	r.mu.Lock()
	r.asked = append(r.asked, attempt{t, time.Now().Add(patience)})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *resolver) work() {
	var waiting []ovs.Tunnel
	until := map[tunnelPort]time.Time{} // of waiting
	pause := minResolvePause
	var next <-chan time.Time
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
			pause = minResolvePause
		case <-next:
		}
		r.mu.Lock()
		asked := r.asked
		r.asked = nil
		r.mu.Unlock()
		for _, a := range asked {
			port := portOf(a.tunnel)
			if _, ok := until[port]; !ok {
				waiting = append(waiting, a.tunnel)
			}
			until[port] = a.until
		}

		var ended []tunnelPort
		waiting, ended = r.round(waiting, until)
		if len(ended) > 0 {
			pause = minResolvePause
			select {
			case r.done <- ended:
			case <-r.ctx.Done():
				return
			}
		}
		next = nil
		if len(waiting) > 0 {
			next = time.After(pause)
			pause = min(2*pause, maxResolvePause)
		}
	}
}

// round looks once at tunnels that wait, and returns those that still do, and the
// ports of those that do no longer, which it takes out of until.
func (r *resolver) round(tunnels []ovs.Tunnel, until map[tunnelPort]time.Time) (waiting []ovs.Tunnel, ended []tunnelPort) {
	ctx, cancel := context.WithTimeout(r.ctx, resolvePatience) // for an ovs-vswitchd that hangs
	lossy, err := r.ovs.Resolve(ctx, tunnels)
	cancel()
	now := time.Now()
	waits := make(map[tunnelPort]bool, len(lossy))
	for _, t := range lossy {
		if now.Before(until[portOf(t)]) {
			waiting = append(waiting, t)
			waits[portOf(t)] = true
		} else {
			r.log.Debug("a tunnel may lose its first packets: its next hop does not answer", "chassis", t.Chassis, "error", err)
		}
	}
	for port := range until {
		if !waits[port] {
			ended = append(ended, port)
			delete(until, port)
		}
	}
	return waiting, ended
}
