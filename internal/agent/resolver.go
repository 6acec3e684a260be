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
	// askPatience is how long it is asked for: the address that the tunnels leave
	// from may come later than ovs-vswitchd.
	askPatience = 10 * time.Second
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
	done chan []tunnelPort // that packets need no longer keep off; for resolved
	wake chan struct{}     // capacity 1

	ready map[tunnelPort]bool // of the loop alone

	mu    sync.Mutex // guards asked
	asked []ovs.Tunnel

	// Of work alone.
	waiting  []ovs.Tunnel // in the order in which Open vSwitch is to be asked
	attempts map[tunnelPort]attempt
}

// attempt is what there is of a tunnel that waits for its next hop.
type attempt struct {
	since time.Time
	told  bool // done has told of it
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
		done: make(chan []tunnelPort), wake: make(chan struct{}, 1), attempts: map[tunnelPort]attempt{}}
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
		r.ask(t)
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
			r.ask(t)
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

func (r *resolver) ask(t ovs.Tunnel) {
	r.mu.Lock()
	r.asked = append(r.asked, t)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *resolver) work() {
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
		r.take()
		if done := r.round(); len(done) > 0 {
			pause = minResolvePause
			select {
			case r.done <- done:
			case <-r.ctx.Done():
				return
			}
		}
		next = nil
		if len(r.waiting) > 0 {
			next = time.After(pause)
			pause = min(2*pause, maxResolvePause)
		}
	}
}

// take has what was asked for wait from now on.
func (r *resolver) take() {
	r.mu.Lock()
	asked := r.asked
	r.asked = nil
	r.mu.Unlock()
	now := time.Now()
	for _, t := range asked {
		port := portOf(t)
		if _, waits := r.attempts[port]; !waits {
			r.waiting = append(r.waiting, t)
		}
		r.attempts[port] = attempt{since: now}
	}
}

// round looks once at what waits, and returns the ports that packets need no
// longer keep off.
func (r *resolver) round() (done []tunnelPort) {
	ctx, cancel := context.WithTimeout(r.ctx, resolvePatience) // for an ovs-vswitchd that hangs
	lossy, err := r.ovs.Resolve(ctx, r.waiting)
	cancel()
	before := r.attempts
	r.waiting, r.attempts = nil, map[tunnelPort]attempt{}
	for _, t := range lossy {
		port := portOf(t)
		a := before[port]
		took := time.Since(a.since)
		if took >= askPatience {
			r.log.Debug("a tunnel may lose its first packets: its next hop does not answer", "chassis", t.Chassis, "error", err)
			continue
		}
		if took >= resolvePatience && !a.told {
			a.told = true
			done = append(done, port)
		}
		r.waiting, r.attempts[port] = append(r.waiting, t), a
	}
	for port, a := range before {
		if _, waits := r.attempts[port]; !waits && !a.told {
			done = append(done, port)
		}
	}
	return done
}
