package agent

import (
	"context"
	"errors"
	"fmt"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Host is what plugins on an agent's host have of it, see Config.Plugins. Its
// methods may be called by several goroutines.
type Host struct {
	agent    *agent
	asks     chan func()   // for the loop
	ended    chan struct{} // closed when the loop has ended
	changed  chan struct{} // capacity 1, see Changed
	returned chan struct{} // capacity 1, see Returned

	waiting map[*waiter]struct{} // of the loop alone
}

// waiter waits for the flows of a port.
type waiter struct {
	port   topology.Key
	device string
	done   chan struct{}
}

func newHost(a *agent) *Host {
	return &Host{agent: a, asks: make(chan func()), ended: make(chan struct{}),
		changed: make(chan struct{}, 1), returned: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}}
}

// ErrNotReady says that the agent does not act yet: it has not read the
// topology, or not been admitted as this chassis, or Open vSwitch does not have
// its flows.
var ErrNotReady = errors.New("the agent of this host is not ready yet: it has not read the topology, or Open vSwitch does not have its flows")

// Chassis returns the host's system-id.
func (h *Host) Chassis() string { return h.agent.self }

// Bridge returns the name of the integration bridge.
func (h *Host) Bridge() string { return h.agent.ovs.Bridge() }

// Store returns the agent's access to the topology.
func (h *Host) Store() *store.Store { return h.agent.Store }

// View calls look with the topology as the agent sees it and the MTU that
// workloads here can have, in bytes, 0 if it is not known. It holds up the agent
// as long as look takes, and look must keep no reference to the model. It
// returns ErrNotReady as long as the agent does not act.
func (h *Host) View(ctx context.Context, look func(m *topology.Model, mtu int)) error {
	var notReady bool
	err := h.do(ctx, func() {
		if notReady = !h.agent.member || !h.agent.snapshot || !h.agent.synced; !notReady {
			look(h.agent.model, h.agent.mtu)
		}
	})
	if err == nil && notReady {
		return ErrNotReady
	}
	return err
}

// do has the loop call f, between two of its events.
func (h *Host) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case h.asks <- func() { f(); close(done) }:
		<-done
		return nil
	case <-h.ended:
		return ErrNotReady
	case <-ctx.Done():
		return fmt.Errorf("the agent of this host is busy: %w", ctx.Err())
	}
}

// Attach is ovs.Driver's.
func (h *Host) Attach(ctx context.Context, a ovs.Attachment) error { return h.agent.ovs.Attach(ctx, a) }

// Detach is ovs.Driver's.
func (h *Host) Detach(ctx context.Context, devices ...string) error {
	return h.agent.ovs.Detach(ctx, devices...)
}

// Attachments is ovs.Driver's.
func (h *Host) Attachments() []ovs.Attachment { return h.agent.ovs.Attachments() }

// Userspace is ovs.Driver's.
func (h *Host) Userspace() bool { return h.agent.ovs.Userspace() }

// Forwards reports whether Open vSwitch can be reached and has the agent's
// flows.
func (h *Host) Forwards() bool { return h.agent.ovs.InSync() }

// Carried returns once a device is plugged into a switch port, the store says that
// the port is here, and Open vSwitch has the flows that this takes. A port that
// does not count, because of another one, is an error at once.
func (h *Host) Carried(ctx context.Context, port topology.Key, device string) error {
	w := &waiter{port: port, device: device, done: make(chan struct{})}
	if err := h.do(ctx, func() { h.waiting[w] = struct{}{}; h.settle() }); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	return h.judge(context.WithoutCancel(ctx), w)
}

// judge ends the waiting of a waiter, and says what it has waited for in vain.
func (h *Host) judge(ctx context.Context, w *waiter) error {
	var missing string
	err := h.do(ctx, func() {
		delete(h.waiting, w)
		missing, _ = h.missing(w)
	})
	if err != nil || missing == "" {
		return err
	}
	return errors.New(missing)
}

// settle ends the waiting of those whose flows are in, or never will be. The loop
// calls it when it has brought the bridge up to date.
func (h *Host) settle() {
	for w := range h.waiting {
		if missing, comes := h.missing(w); missing == "" || !comes {
			delete(h.waiting, w)
			close(w.done)
		}
	}
}

// missing says what a waiter waits for, or nothing, and whether that may come.
func (h *Host) missing(w *waiter) (what string, comes bool) {
	a := h.agent
	p := a.plugs[w.port.Name]
	switch {
	case !a.member || !a.snapshot:
		return "the agent has not read the topology yet", true
	case a.model.Told(w.port) != nil && a.model.Get(w.port) == nil:
		return fmt.Sprintf("%s does not count, as another port has its name, address or MAC; see tpctl check", w.port), false
	case p == nil || p.iface.Name != w.device:
		return fmt.Sprintf("Open vSwitch has no port for device %s yet (see ovs-vsctl show)", w.device), true
	case p.state != bound:
		return fmt.Sprintf("etcd does not say yet that %s is here", w.port), true
	case !a.ovs.InSync():
		return "Open vSwitch does not have the agent's flows yet", true
	}
	return "", true
}

// Changed returns a channel that becomes readable when an attachment may have
// lost its device.
func (h *Host) Changed() <-chan struct{} { return h.changed }

// Returned returns a channel that becomes readable when the agent begins to act,
// and when the store is back after it was away: what is there may be left from
// before.
func (h *Host) Returned() <-chan struct{} { return h.returned }

func note(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
