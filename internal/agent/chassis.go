package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// register writes the chassis record, once in the life of the process and
// after the first flows are in: from then on others send. A record that is
// there already is kept, so that a restart is seen by nobody; one that the
// operator deletes later is not written again.
func (a *agent) register(ctx context.Context) {
	record := topology.Chassis{Name: a.self, IP: a.TunnelIP, Tick: time.Now().Unix(), MTU: a.mtu}
	if own, ok := a.ownRecord(); ok {
		record.Extra = own.Extra
		if own.IP == a.TunnelIP { // of the records with our address ours counts
			a.tellMTU(ctx)
			return
		}
	}
	for c := range a.model.Chassis() {
		if c.IP == a.TunnelIP {
			record.Tick = max(record.Tick, c.Tick+1)
		}
	}
	a.putRecord(ctx, record)
}

// tellMTU brings the MTU in the chassis record up to date, if there is one.
func (a *agent) tellMTU(ctx context.Context) {
	own, ok := a.ownRecord()
	if !a.synced || !ok || own.IP != a.TunnelIP || own.MTU == a.mtu {
		return
	}
	own.MTU = a.mtu
	a.putRecord(ctx, own)
}

func (a *agent) ownRecord() (topology.Chassis, bool) {
	own, ok := a.model.Get(topology.Chassis{Name: a.self}.Key()).(topology.Chassis)
	return own, ok
}

// putRecord writes the chassis record beside the agent's loop, as soon as etcd
// takes it.
func (a *agent) putRecord(ctx context.Context, record topology.Chassis) {
	go func() {
		said := false
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			try, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := a.Store.PutChassis(try, record)
			cancel()
			if err == nil {
				a.log.Info("chassis registered", "chassis", a.self, "tunnel_ip", record.IP, "workload_mtu", record.MTU)
				return
			}
			if !said && ctx.Err() == nil {
				said = true
				a.log.Warn("cannot register the chassis, will try again", "error", err)
			}
			if !pause(ctx, wait) {
				return
			}
		}
	}()
}

// presenceTTL is how long a node counts as alive that is not heard of any more.
const presenceTTL = 15 * time.Second

// presence keeps a key in the store that says under which address a chassis is
// alive. It is how two hosts with one system-id notice each other.
type presence struct {
	store   *store.Store
	chassis string
	ip      netip.Addr
	log     *slog.Logger
	left    chan struct{} // closed when the key has been taken back
}

func newPresence(cfg Config, chassis string) presence {
	return presence{store: cfg.Store, chassis: chassis, ip: cfg.TunnelIP, log: cfg.Log, left: make(chan struct{})}
}

// run announces the node until ctx ends. It sends once: nil when the node may
// take part, or why it must not.
func (p presence) run(ctx context.Context, admitted chan<- error) {
	defer close(p.left)
	held, err := p.admit(ctx)
	if err != nil {
		if ctx.Err() == nil {
			admitted <- err
		}
		return
	}
	admitted <- nil
	p.keep(ctx, held)
}

// stop waits until the key has been taken back, which is tried for a moment
// after run's ctx has ended.
func (p presence) stop() { <-p.left }

// admit waits for etcd, and for another host's key under our system-id to run
// out: it may be our own of before the address changed. A key that stays
// belongs to a host that is alive.
func (p presence) admit(ctx context.Context) (*store.Presence, error) {
	if err := p.store.Init(ctx); err != nil {
		return nil, err
	}
	var since time.Time
	said := false
	for {
		held, err := p.store.Appear(ctx, p.chassis, p.ip, presenceTTL)
		var taken *store.TakenError
		switch {
		case err == nil:
			return held, nil
		case !errors.As(err, &taken):
			if !said {
				said = true
				p.log.Warn("waiting for etcd", "error", err)
			}
		case since.IsZero():
			since = time.Now()
			p.log.Warn("another host with this system-id seems to be alive, waiting to see whether it is",
				"chassis", p.chassis, "its_ip", taken.IP, "ip", p.ip, "wait", presenceTTL)
		case time.Since(since) > presenceTTL+3*time.Second:
			return nil, fmt.Errorf("chassis %s is alive at %s, and this host is %s: two hosts must not have one system-id; "+
				"give this one its own: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME", p.chassis, taken.IP, p.ip)
		}
		if !pause(ctx, time.Second) {
			return nil, ctx.Err()
		}
	}
}

// keep holds the key until ctx ends, and enters it again after an outage of
// etcd that it did not survive.
func (p presence) keep(ctx context.Context, held *store.Presence) {
	said := ""
	for {
		select {
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if held != nil && held.Leave(bye) != nil {
				p.log.Debug("the chassis counts as alive until its lease is over", "lease", presenceTTL)
			}
			return
		case <-lost(held):
		}
		if ctx.Err() != nil {
			continue
		}
		again, err := p.store.Appear(ctx, p.chassis, p.ip, presenceTTL)
		held = again
		if err == nil {
			said = ""
			continue
		}
		if err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			var taken *store.TakenError
			if errors.As(err, &taken) {
				p.log.Error("another host has taken this system-id; give one of them its own",
					"chassis", p.chassis, "its_ip", taken.IP, "ip", p.ip)
			} else {
				p.log.Warn("etcd does not know that this node is alive", "error", err)
			}
		}
		pause(ctx, time.Second)
	}
}

// lost is held.Lost, and closed for no presence.
func lost(held *store.Presence) <-chan struct{} {
	if held != nil {
		return held.Lost()
	}
	closed := make(chan struct{})
	close(closed)
	return closed
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
