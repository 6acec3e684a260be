package agent

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
)

// How long Open vSwitch may take to answer. While its database is away it
// answers nothing; what was not done then, the next sync does.
const (
	applyPatience = 5 * time.Second
	syncPatience  = time.Minute
)

// flush compiles what was touched and brings the bridge up to date.
func (a *agent) flush(ctx context.Context) {
	delta := a.engine.Update(a.touched)
	a.touched = a.touched[:0]
	for _, text := range delta.Conflicts {
		a.log.Error("mistake in the flow compiler, please report it", "what", text)
	}
	if len(delta.Put)+len(delta.Gone) > 0 {
		a.tracer.changed(delta)
	}
	a.carried(delta)
	whole := a.ovs.NeedsSync() && a.sync(ctx)
	if !whole {
		a.apply(ctx, delta)
	}
	a.noted(delta)
	inSync := a.ovs.InSync()
	if inSync {
		a.shown = a.revision
	}
	a.demands.flushed(inSync)
	if whole {
		a.renew(ctx)
	}
}

// apply makes a difference in the bridge.
func (a *agent) apply(ctx context.Context, delta flows.Delta) {
	if len(delta.Put)+len(delta.Gone) == 0 {
		return
	}
	start := time.Now()
	try, cancel := context.WithTimeout(ctx, applyPatience)
	err := a.ovs.Apply(try, delta.Put, delta.Gone)
	cancel()
	if err == nil || errors.As(err, new(*ovs.RefusedError)) {
		a.counts.applied(len(delta.Put), len(delta.Gone), time.Since(start))
	}
	a.log.Debug("flows changed", "put", len(delta.Put), "gone", len(delta.Gone), "rule_runs", delta.Runs,
		"took", time.Since(start), "revision", a.revision, "error", err)
	a.reportFlows(err)
}

// sync makes the whole bridge right, and reports whether it is. Without a
// connection to ovs-vswitchd it does nothing: an event comes when there is one.
func (a *agent) sync(ctx context.Context) bool {
	start := time.Now()
	try, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	n, err := a.ovs.Sync(try, a.engine.All())
	a.refused = 0
	a.reportFlows(err)
	var refused *ovs.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return false
	}
	a.counts.synced(n)
	a.syncedAt = time.Now()
	a.log.Info("flows are in", "flows", a.engine.Len(), "kept", n.Kept, "added", n.Added, "deleted", n.Deleted,
		"took", time.Since(start).Round(time.Millisecond), "revision", a.revision)
	return true
}

// heal makes the flows right that somebody has deleted or added beside the agent.
func (a *agent) heal(ctx context.Context) {
	if !a.ovs.InSync() {
		return // they will be, once Open vSwitch is there
	}
	a.log.Warn("the bridge holds other flows than it was given; making them right")
	a.sync(ctx)
}

// renew does, once all flows are in, what an ovs-vswitchd that was restarted
// has forgotten, and tells the others that this node is there.
func (a *agent) renew(ctx context.Context) {
	a.translator.renew()
	a.resolver.again()
	a.physical.announceAll()
	a.prepareHostStack()
	if !a.synced {
		a.synced = true
		note(a.host.returned)
		a.unbindAll()
		a.register(ctx)
		// What the start took for a moment is half of the memory.
		go debug.FreeOSMemory()
	} else {
		// etcd may be behind a bridge of the ovs-vswitchd that was away. TCP
		// would try again later and later.
		a.Store.Reconnect()
	}
	a.wire() // the other chassis may send here
}

// reportFlows says which flows Open vSwitch refused, with the object that they
// were made for. That the bridge cannot be reached the driver says.
func (a *agent) reportFlows(err error) {
	if err == nil || errors.Is(err, ovs.ErrNotConnected) || errors.Is(err, ovs.ErrNeedsSync) {
		return
	}
	var refused *ovs.RefusedError
	if !errors.As(err, &refused) {
		a.log.Warn("cannot change flows, will bring them up to date when Open vSwitch is back", "error", err)
		return
	}
	a.refused += len(refused.Flows)
	for _, f := range refused.Flows {
		rule, object, _ := a.engine.Owner(f.Cookie)
		a.log.Error("Open vSwitch refused a flow", "error", f.Err, "rule", rule, "object", object)
	}
}
