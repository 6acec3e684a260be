package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"tuplenet/internal/store"
)

// presenceTTL is how long a node counts as alive that is not heard of any more.
const presenceTTL = 15 * time.Second

// refusedWait is when a node tries again that etcd refuses: somebody has to do
// something first, and each time it logs in costs etcd 0.1 s of its processor.
const refusedWait = 5 * time.Second

// presence keeps a key in the store that says under which address a chassis is
// alive, so that a second host with the same system-id is noticed, and so is
// the end of this one.
type presence struct {
	store   *store.Store
	chassis string
	ttl     time.Duration // whole seconds
	log     *slog.Logger
	wake    chan struct{} // capacity 1: the announcement is to be confirmed
	left    chan struct{} // closed when run has ended

	mu sync.Mutex // guards ip
	ip netip.Addr
}

func newPresence(cfg Config, chassis string) *presence {
	return &presence{store: cfg.Store, chassis: chassis, ttl: presenceTTL, ip: cfg.TunnelIP, log: cfg.Log,
		wake: make(chan struct{}, 1), left: make(chan struct{})}
}

// run announces the node until ctx ends. It sends nil when the node may take
// part, and why it must not, then or later: after an outage that the
// announcement did not survive another host may have the system-id.
func (p *presence) run(ctx context.Context, admitted chan<- error) {
	defer close(p.left)
	send := func(err error) {
		select {
		case admitted <- err:
		case <-ctx.Done():
		}
	}
	if err := p.store.Init(ctx); err != nil {
		send(p.explained(err))
		return
	}
	var held *store.Presence
	for ctx.Err() == nil {
		next, err := p.enter(ctx, held)
		if err != nil {
			send(err)
			return
		}
		if held == nil {
			send(nil)
		}
		held = next
		p.hold(ctx, held)
	}
}

// explained adds to what etcd refuses who was refused, and what to do about it.
func (p *presence) explained(err error) error {
	if !errors.Is(err, store.ErrDenied) {
		return err
	}
	return fmt.Errorf("%w; %s is not the node %s, or not any more: tpctl auth add USER --node %[3]s", err, p.store.Who(), p.chassis)
}

// stop waits until the store knows that the agent has been stopped, which is
// tried for a moment after run's ctx has ended.
func (p *presence) stop() { <-p.left }

// move sets the address that the node is alive at.
func (p *presence) move(ip netip.Addr) {
	p.mu.Lock()
	p.ip = ip
	p.mu.Unlock()
	p.confirm()
}

// confirm makes sure that the announcement is in the store.
func (p *presence) confirm() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *presence) address() netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ip
}

// enter announces the node, and waits for etcd, and for another host's key
// under our system-id to run out: it may be our own of before a crash, and the
// address has changed since. A key that stays belongs to a host that is alive.
// That host is told. before is the presence that was lost, or nil.
func (p *presence) enter(ctx context.Context, before *store.Presence) (*store.Presence, error) {
	var since time.Time
	said := false
	for {
		wait := time.Second
		ip := p.address()
		held, err := p.store.Appear(ctx, p.chassis, ip, p.ttl, before)
		var taken *store.TakenError
		switch {
		case err == nil:
			return held, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.As(err, &taken):
			since = time.Time{} // leases start anew with etcd
			if store.Refused(err) {
				wait = refusedWait
			}
			if !said {
				said = true
				p.log.Warn("etcd does not know that this node is alive, waiting for etcd", "error", p.explained(err))
			}
		case since.IsZero():
			since = time.Now()
			p.log.Warn("another host with this system-id seems to be alive, waiting to see whether it is",
				"chassis", p.chassis, "its_ip", taken.IP, "ip", ip, "wait", p.ttl)
		case time.Since(since) > p.ttl+3*time.Second:
			// The word lasts until this host is started again and refused again.
			if err := p.store.Contend(ctx, p.chassis, ip, 4*p.ttl); err != nil {
				p.log.Debug("cannot tell the other host", "its_ip", taken.IP, "error", err)
			}
			p.log.Error("another host is alive with this system-id, this one does not take part",
				"chassis", p.chassis, "its_ip", taken.IP, "ip", ip)
			return nil, fmt.Errorf("chassis %s is alive at %s, and this host is %s: two hosts must not have one system-id; "+
				"give this one its own: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME", p.chassis, taken.IP, ip)
		}
		if !pause(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// hold keeps the announcement until it is lost or ctx ends.
func (p *presence) hold(ctx context.Context, held *store.Presence) {
	for {
		select {
		case <-ctx.Done():
		case <-held.Lost(): // by ctx, too
		case <-p.wake:
			if err := held.Confirm(ctx, p.address()); err != nil && ctx.Err() == nil {
				p.log.Debug("cannot confirm in etcd that this node is alive, trying again", "error", err)
				time.AfterFunc(time.Second, p.confirm)
			}
			continue
		}
		if ctx.Err() != nil {
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if held.Leave(bye) != nil {
				p.log.Debug("the chassis counts as alive until its lease is over", "lease", p.ttl)
			}
		}
		return
	}
}

// pause waits for d, or reports false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
