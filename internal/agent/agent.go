package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tuplenet/flows"
	"tuplenet/internal/metrics"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Config is what an agent works with. Store, TunnelIP, RunDir and Log are
// required.
type Config struct {
	Store    *store.Store
	OVS      ovs.Config
	TunnelIP netip.Addr // address that the other chassis' tunnels lead to, at the start
	RunDir   string     // directory of what has to survive a restart, see TakeRunDir
	Log      *slog.Logger

	// Interface is where TunnelIP is found when it changes, as for
	// TunnelAddress; empty if it does not.
	Interface string

	Gateway bool   // the node is an edge
	Metrics string // HOST:PORT to serve metrics on, in Prometheus' format; empty for none
	Version string // of the program, for those who ask for the node's status

	Settings                 // at the start
	Changes  <-chan Settings // all settings anew, while the agent runs; nil: they stay

	Plugins PluginServer // runs beside the agent; nil: none

	// Heartbeat, if set, is called again and again with what keeps the node from doing
	// all that is asked of it, as /readyz says it: often at first, every HeartbeatEvery
	// once nothing is missing. While the agent's loop hangs, it is not.
	Heartbeat      func(missing []string)
	HeartbeatEvery time.Duration
}

// PluginServer serves plugins that plug workloads in on an agent's host.
type PluginServer interface {
	// Serve returns when ctx ends.
	Serve(ctx context.Context, host *Host)
}

// agent keeps one node's bridge as the topology wants it.
type agent struct {
	Config
	log *slog.Logger

	// Set by open, for good.
	ovs        *ovs.Driver
	self       string // system-id
	binder     *binder
	wiring     *wiring
	restorer   *restorer
	resolver   *resolver
	translator *translator
	physical   *physical
	demands    *demands
	presence   *presence
	liveness   *liveness
	reporter   *reporter
	tracer     *tracer
	host       *Host
	commands   <-chan store.Command // what tools ask this node for; nil once ctx has ended
	started    time.Time
	updates    <-chan store.Update // what the store says, for the loop
	driven     chan struct{}       // closed when there is a connection to Open vSwitch
	opened     chan struct{}       // closed when all of the above is set

	// Of the loop alone.
	model     *topology.Model
	engine    *flows.Engine
	touched   []topology.Key // changed since the last flush
	member    bool           // the node may act, see join
	snapshot  bool           // the store has been read
	compiled  bool           // the rules have run at least once
	synced    bool           // the bridge has held all flows at least once
	syncedAt  time.Time      // when it was last compared with all flows
	refused   int            // flows that Open vSwitch has refused since
	revision  int64          // of the store, that the model shows
	shown     int64          // of the store, that the bridge shows
	counts    counts
	plugs     map[string]*plug // by iface-id
	twins     map[string]bool  // interfaces that are ignored because another has their iface-id
	tunnels   map[string]topology.Tunnel
	up        map[string]bool // tunnels that BFD finds alive
	cutOff    bool            // it finds none of those alive that it watches
	carriers  map[flows.Carrier]bool
	dests     map[string]bool                // chassis that flows lead to
	inherited map[string]bool                // chassis that the bridge has had tunnels to as the agent started
	patches   map[topology.Key]ovs.PatchSpec // by outer port
	bindings  map[string]topology.Binding    // this chassis' own, by the port's bare name
	hostPort  topology.HostStack             // the way to the host's stack; zero if there is none
	hostFault string                         // why it does not work, if that was said
	mtu       int                            // for workloads
	moved     []netip.Addr                   // what TunnelIP has been before
	bad       map[topology.Key]string        // values that were reported
	problems  map[flows.Problem]bool         // objects that cannot work as they are stored
}

// Run keeps the node's bridge as the topology wants it until ctx ends, and then
// returns nil, leaving bridge, flows and tunnels as they are. While etcd or Open
// vSwitch is away it waits. It returns an error if the node must not take part:
// it has no system-id, or another host is alive under it, or the store is of a
// later version.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newAgent(cfg)
	if cfg.Metrics != "" {
		l, err := metrics.Listen(cfg.Metrics)
		if err != nil {
			return err
		}
		go metrics.Serve(ctx, l, &scraper{a: a}, a.log)
	}
	if cfg.Heartbeat != nil {
		go a.beat(ctx)
	}
	a.updates = cfg.Store.Watch(ctx)
	admitted := make(chan error, 1)
	var plugins sync.WaitGroup
	err := a.open(ctx, admitted)
	if err == nil && ctx.Err() == nil {
		a.log.Info("agent starts", slices.Concat([]any{"chassis", a.self, "tunnel_ip", a.TunnelIP}, a.attrs())...)
		close(a.opened)
		a.noteSettings()
		a.leaveUntunnel()
		a.physical.load()
		a.demands.load()
		a.readOVS()
		a.inherit()
		if cfg.Plugins != nil {
			plugins.Go(func() { cfg.Plugins.Serve(ctx, a.host) })
		}
		err = a.loop(ctx, admitted)
	}
	stopped := ctx.Err() != nil
	cancel()
	close(a.host.ended)
	plugins.Wait()
	if a.ovs != nil {
		a.presence.stop()
		a.physical.close()
		a.demands.close()
		a.restorer.close()
		a.ovs.Close()
	}
	if stopped {
		a.log.Info("agent stops; flows and tunnels stay")
		return nil
	}
	return err
}

func newAgent(cfg Config) *agent {
	model := topology.NewModel()
	a := &agent{
		Config:    cfg,
		log:       cfg.Log,
		model:     model,
		engine:    flows.NewEngine(model),
		plugs:     map[string]*plug{},
		tunnels:   map[string]topology.Tunnel{},
		carriers:  map[flows.Carrier]bool{},
		dests:     map[string]bool{},
		inherited: map[string]bool{},
		patches:   map[topology.Key]ovs.PatchSpec{},
		bindings:  map[string]topology.Binding{},
		driven:    make(chan struct{}),
		opened:    make(chan struct{}),
		bad:       map[topology.Key]string{},
		problems:  map[flows.Problem]bool{},
		started:   time.Now(),
	}
	a.host = newHost(a)
	return a
}

// open reads etcd and Open vSwitch, both at the same time, and announces the
// node. Where one of them is away it waits: without either there is nothing to
// do.
func (a *agent) open(ctx context.Context, admitted chan error) error {
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		driver, err := ovs.Open(gctx, a.OVS)
		if err != nil {
			return err
		}
		if err := topology.CheckName(driver.SystemID()); err != nil {
			driver.Close()
			return fmt.Errorf("this host's system-id is an %w; set another one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME", err)
		}
		a.ovs, a.self = driver, driver.SystemID()
		close(a.driven)
		a.binder = newBinder(ctx, a.Store, a.self, a.log)
		a.wiring = newWiring(ctx, driver, a.log)
		a.restorer = newRestorer(driver, a.log)
		a.resolver = newResolver(ctx, driver, a.log)
		a.translator = newTranslator(ctx, driver, a.RunDir, a.log)
		a.physical = newPhysical(a)
		a.demands = newDemands(a)
		a.presence = newPresence(a.Config, a.self)
		a.liveness = newLiveness(ctx, a)
		a.reporter = newReporter(ctx, a)
		a.tracer = newTracer(ctx, a)
		a.commands = a.Store.Commands(ctx, a.self)
		go a.presence.run(ctx, admitted)
		return nil
	})
	var first topology.Result
	group.Go(func() error {
		for {
			select {
			case u := <-a.updates:
				first = a.applyUpdate(u)
				return nil
			case err := <-admitted: // also when the store cannot be read at all
				if err != nil {
					return err
				}
				a.member = true
			case <-gctx.Done():
				return nil
			}
		}
	})
	if err := group.Wait(); err != nil || ctx.Err() != nil {
		return err
	}
	a.took(first)
	a.liveness.survey()
	return nil
}

// loop follows events until ctx ends, or the node is not admitted.
func (a *agent) loop(ctx context.Context, admitted <-chan error) error {
	mtu, _ := tunnelMTU(a.TunnelIP) // followNIC says why it cannot be told
	a.setMTU(ctx, mtu)
	nics := make(chan nic)
	go followNIC(ctx, a.Interface, a.TunnelIP, nics, a.log)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-admitted:
			if err != nil {
				return err
			}
			a.join()
		case u, open := <-a.updates:
			// What has come meanwhile is taken in at once, so that the agent
			// keeps up with whatever etcd can do.
			for n := len(a.updates); open; n-- {
				a.readUpdate(ctx, u)
				if n <= 0 {
					break
				}
				u, open = <-a.updates
			}
			if !open { // ctx has ended
				a.updates = nil
			}
		case <-a.ovs.Events():
			a.restorer.follow()
			a.readOVS()
			note(a.host.changed)
		case ask := <-a.host.asks:
			ask()
		case ports := <-a.resolver.done:
			if a.resolver.resolved(ports) {
				a.readTunnels()
			}
		case c := <-a.binder.done:
			a.claimed(c)
		case p := <-a.ovs.Packets():
			// All that wait are taken in at once: several may want one thing.
			for n := len(a.ovs.Packets()); ; n-- {
				a.counts.packets[p.Why]++
				switch p.Why {
				case flows.Traced:
					a.tracer.packet(p)
				case flows.Wanted:
					a.demands.packet(p)
				default:
					a.physical.packet(p)
				}
				if n <= 0 {
					break
				}
				p = <-a.ovs.Packets()
			}
		case <-a.demands.saver.C:
			a.demands.save()
		case <-a.demands.ticker.C:
			a.demands.count(ctx)
			a.disinherit()
		case packets := <-a.demands.counted:
			a.demands.age(packets)
		case <-a.tracer.timer.C:
			a.tracer.tick()
		case <-a.physical.timer.C:
			a.physical.tick()
		case n := <-nics:
			a.nicChanged(ctx, n)
		case chassis := <-a.liveness.due:
			a.liveness.judge(chassis)
		case absence := <-a.liveness.denied:
			if a.liveness.keep(absence) {
				a.change(topology.Change{Entity: absence})
			}
		case c, open := <-a.commands:
			if !open { // ctx has ended
				a.commands = nil
				continue
			}
			a.command(ctx, c)
		case <-a.reporter.amiss:
			a.heal(ctx)
		case s, open := <-a.Changes:
			if !open { // nobody will change them any more
				a.Changes = nil
				continue
			}
			a.reconfigure(s)
		}
		// Before the store has been read nothing is known of what the flows
		// should be.
		if a.member && a.snapshot {
			a.flush(ctx)
			a.restorer.follow()
			a.host.settle()
		}
	}
}

// setMTU takes in the MTU of the device that carries the tunnels; 0 if it
// cannot be told.
func (a *agent) setMTU(ctx context.Context, nic int) {
	a.mtu = workloadMTU(nic)
	a.change(topology.Change{Entity: a.node()})
	a.tellRecord(ctx)
}

// node is this host as the flows see it.
func (a *agent) node() topology.Node {
	return topology.Node{Chassis: a.self, IP: a.TunnelIP, MTU: a.mtu, Hash: a.Hash, OnDemand: a.OnDemand, Redirect: a.Redirect}
}

// join begins to act: before, a host that must not take part could have taken
// another one's ports and tunnels.
func (a *agent) join() {
	a.member = true
	a.claimAll()
	a.wire()
}

// claimAll decides anew who has the ports that are plugged in here.
func (a *agent) claimAll() {
	for name := range a.plugs {
		a.portChanged(name)
	}
}

// readUpdate takes in what the store says.
func (a *agent) readUpdate(ctx context.Context, u store.Update) {
	if u.Resumed {
		a.liveness.unsettle()
	}
	own := topology.Chassis{Name: a.self}.Key()
	registered := a.model.Told(own) != nil
	a.took(a.applyUpdate(u))
	if u.Restored {
		a.claimAll() // also of ports of which the backup says what was known
	}
	if u.Restored && registered && a.synced {
		a.register(ctx) // the backup may be of before this host took part
	}
	if u.Snapshot {
		a.upholdVerdicts()
		a.liveness.survey()
	}
	if u.Snapshot || u.Resumed {
		note(a.host.returned)
	}
	if slices.ContainsFunc(u.Changes, func(c topology.Change) bool { return c.Key == own }) {
		if a.synced && a.model.Told(own) == nil {
			a.log.Warn("this host's record was deleted: nobody sends here any more until the agent is started anew", "chassis", a.self)
		}
		// What is in it may be of before: it can change again until the record
		// of the last change comes back.
		a.tellRecord(ctx)
	}
}

func (a *agent) applyUpdate(u store.Update) topology.Result {
	if u.Snapshot {
		a.log.Info("read the topology from etcd", "objects", len(u.Changes), "revision", u.Revision)
		a.snapshot = true
	}
	a.revision = u.Revision
	still := map[topology.Key]bool{}
	for _, c := range u.Changes {
		a.reportBad(c)
		still[c.Key] = true
	}
	if u.Snapshot {
		maps.DeleteFunc(a.bad, func(key topology.Key, _ string) bool { return !still[key] })
	}
	if u.Restored {
		// The backup may say of a port that it is where it once was.
		for _, p := range a.plugs {
			p.state, p.written = claiming, false
		}
	}
	if u.Snapshot {
		return a.model.Replace(u.Changes)
	}
	return a.model.Apply(u.Changes)
}

// reportBad says once that a value cannot be used, and once that it can again.
func (a *agent) reportBad(c topology.Change) {
	said, was := a.bad[c.Key]
	switch {
	case c.Err != nil && c.Err.Error() != said:
		a.bad[c.Key] = c.Err.Error()
		a.log.Warn("ignoring an invalid value in etcd", "key", a.Store.Path(c.Key), "error", c.Err)
	case c.Err == nil && was:
		delete(a.bad, c.Key)
		a.log.Info("the value in etcd is valid again or gone", "key", a.Store.Path(c.Key))
	}
}

// change takes in a fact of this node. A change without Key has its entity's.
func (a *agent) change(c topology.Change) {
	if c.Entity != nil {
		c.Key = c.Entity.Key()
	}
	a.took(a.model.Apply([]topology.Change{c}))
}

// took follows up on what the model made of changes.
func (a *agent) took(r topology.Result) {
	for _, c := range r.Conflicts {
		a.log.Warn("ignoring an object in conflict", "object", c.Ignored, "with", c.Because, "same", c.What)
	}
	for _, key := range r.Resolved {
		a.log.Info("the conflict is over, the object counts again", "object", key)
	}
	a.touched = append(a.touched, r.Touched...)
	chassis, shared := false, map[netip.Addr]bool{}
	for _, key := range r.Touched {
		switch key.Kind {
		case topology.KindPortName:
			a.portChanged(key.Name)
		case topology.KindSwitchPort:
			a.patchChanged(key)
		case topology.KindNATAddress:
			if ip, err := netip.ParseAddr(key.Name); err == nil {
				shared[ip] = true
			}
		case topology.KindChassis, topology.KindPinned:
			chassis = true
			a.reconsider(key.Name)
		case topology.KindPresence, topology.KindAbsence, topology.KindContender:
			a.liveness.changed(key)
			a.reconsider(key.Name)
		case topology.KindBinding:
			if key.Parent == a.self {
				a.bindingChanged(key)
			}
		}
	}
	if chassis {
		a.wire()
	}
	if a.synced && len(shared) > 0 {
		// Another edge may have begun or ceased to answer for them.
		a.physical.announceIf(func(n flows.Address) bool { return shared[n.IP] })
	}
}
