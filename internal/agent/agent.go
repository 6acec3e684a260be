package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Config is what an agent works with. All fields are required.
type Config struct {
	Store    *store.Store
	OVS      *ovs.Driver
	TunnelIP netip.Addr // address that the other chassis' tunnels lead to
	Log      *slog.Logger
}

// Agent keeps one node's bridge as the topology wants it.
type Agent struct {
	Config
	self string // system-id

	// Owned by Run's goroutine.
	model    *topology.Model
	engine   *flows.Engine
	touched  []topology.Key // changed since the last flush
	snapshot bool           // the store has been read
	synced   bool           // the bridge has held all flows at least once
	revision int64          // of the store, that the model shows
	plugs    map[string]*plug
	tunnels  map[string]topology.Tunnel
	bad      map[topology.Key]string // values that were reported

	binder   *binder
	tunneler *tunneler
	presence presence
}

// New returns an agent that Run starts.
func New(cfg Config) *Agent {
	model := topology.NewModel()
	return &Agent{
		Config:   cfg,
		self:     cfg.OVS.SystemID(),
		model:    model,
		engine:   flows.NewEngine(model),
		plugs:    map[string]*plug{},
		tunnels:  map[string]topology.Tunnel{},
		bad:      map[topology.Key]string{},
		binder:   newBinder(cfg.Store, cfg.OVS.SystemID(), cfg.Log),
		tunneler: newTunneler(cfg.OVS, cfg.Log),
		presence: newPresence(cfg),
	}
}

// Run works until ctx ends and then returns nil, leaving bridge, flows and
// tunnels as they are. It returns an error if the node must not take part:
// another host is alive under its system-id.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.Log.Info("agent starts", "chassis", a.self, "tunnel_ip", a.TunnelIP)
	a.change(topology.Change{Entity: topology.Node{Chassis: a.self}})
	a.readOVS()

	identity := a.presence.start(ctx)
	a.binder.start(ctx)
	a.tunneler.start(ctx)
	updates := a.Store.Watch(ctx)
	var admitted bool
	for {
		select {
		case <-ctx.Done():
			a.presence.stop()
			a.Log.Info("agent stops; flows and tunnels stay")
			return nil
		case err := <-identity:
			if err != nil {
				return err
			}
			admitted = true
		case u, open := <-updates:
			for more := true; open && more; {
				a.readUpdate(u)
				select {
				case u, open = <-updates:
				default:
					more = false
				}
			}
			if !open { // ctx has ended
				updates = nil
			}
		case <-a.OVS.Events():
			a.readOVS()
		case c := <-a.binder.done:
			a.claimed(c)
		}
		// Before the store has been read nothing is known of what the flows
		// should be; before the node is admitted it must not touch any.
		if admitted && a.snapshot {
			a.flush(ctx)
		}
	}
}

// readUpdate takes in what the store says.
func (a *Agent) readUpdate(u store.Update) {
	if u.Snapshot {
		a.Log.Info("read the topology from etcd", "objects", len(u.Changes), "revision", u.Revision)
		a.snapshot = true
	}
	a.revision = u.Revision
	for _, c := range u.Changes {
		a.reportBad(c)
	}
	apply := a.model.Apply
	if u.Snapshot {
		apply = a.model.Replace
	}
	a.took(apply(u.Changes))
}

// reportBad says once that a value cannot be used, and once that it can again.
func (a *Agent) reportBad(c topology.Change) {
	said, was := a.bad[c.Key]
	switch {
	case c.Err != nil && c.Err.Error() != said:
		a.bad[c.Key] = c.Err.Error()
		a.Log.Warn("ignoring an invalid value in etcd", "object", c.Key, "error", c.Err)
	case c.Err == nil && was:
		delete(a.bad, c.Key)
		a.Log.Info("the value in etcd is valid again or gone", "object", c.Key)
	}
}

// change takes in a fact of this node. A change without Key has its entity's.
func (a *Agent) change(c topology.Change) {
	if c.Entity != nil {
		c.Key = c.Entity.Key()
	}
	a.took(a.model.Apply([]topology.Change{c}))
}

// took follows up on what the model made of changes.
func (a *Agent) took(r topology.Result) {
	for _, c := range r.Conflicts {
		a.Log.Warn("ignoring an object in conflict", "object", c.Ignored, "with", c.Because, "same", c.What)
	}
	for _, key := range r.Resolved {
		a.Log.Info("the conflict is over, the object counts again", "object", key)
	}
	a.touched = append(a.touched, r.Touched...)
	chassis := false
	for _, key := range r.Touched {
		switch key.Kind {
		case topology.KindPortName:
			a.portChanged(key.Name)
		case topology.KindChassis:
			chassis = true
		}
	}
	if chassis {
		a.tunneler.want(a.wantedTunnels())
	}
}

// How long Open vSwitch may take to answer. While its database is away it
// answers nothing; what was not done then, the next sync does.
const (
	applyPatience = 5 * time.Second
	syncPatience  = time.Minute
)

// flush compiles what was touched and brings the bridge up to date.
func (a *Agent) flush(ctx context.Context) {
	delta := a.engine.Update(a.touched)
	a.touched = a.touched[:0]
	for _, text := range delta.Conflicts {
		a.Log.Error("mistake in the flow compiler, please report it", "what", text)
	}
	if a.OVS.NeedsSync() {
		a.sync(ctx)
		return
	}
	if len(delta.Put)+len(delta.Gone) == 0 {
		return
	}
	start := time.Now()
	try, cancel := context.WithTimeout(ctx, applyPatience)
	err := a.OVS.Apply(try, delta.Put, delta.Gone)
	cancel()
	a.Log.Debug("flows changed", "put", len(delta.Put), "gone", len(delta.Gone), "rule_runs", delta.Runs,
		"took", time.Since(start), "revision", a.revision, "error", err)
	a.reportFlows(err)
}

// sync makes the whole bridge right. Without a connection to ovs-vswitchd it
// does nothing: an event comes when there is one.
func (a *Agent) sync(ctx context.Context) {
	start := time.Now()
	try, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	n, err := a.OVS.Sync(try, a.engine.All())
	a.reportFlows(err)
	var refused *ovs.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return
	}
	a.Log.Info("flows are in", "flows", a.engine.Len(), "kept", n.Kept, "added", n.Added, "deleted", n.Deleted,
		"took", time.Since(start).Round(time.Millisecond), "revision", a.revision)
	if !a.synced {
		a.synced = true
		a.register(ctx)
	}
}

// reportFlows says which flows Open vSwitch refused, with the object that they
// were made for. That the bridge cannot be reached the driver says.
func (a *Agent) reportFlows(err error) {
	if err == nil || errors.Is(err, ovs.ErrNotConnected) || errors.Is(err, ovs.ErrNeedsSync) {
		return
	}
	var refused *ovs.RefusedError
	if !errors.As(err, &refused) {
		a.Log.Warn("cannot change flows, will bring them up to date when Open vSwitch is back", "error", err)
		return
	}
	for _, f := range refused.Flows {
		rule, object, _ := a.engine.Owner(f.Cookie)
		a.Log.Error("Open vSwitch refused a flow", "error", f.Err, "rule", rule, "object", object)
	}
}
