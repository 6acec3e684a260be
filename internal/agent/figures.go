package agent

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/metrics"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// counts are what the loop counts for nobody but those who ask for metrics.
type counts struct {
	packets       [math.MaxUint8 + 1]uint64 // that flows sent here, by flows.Reason
	puts, deletes uint64                    // of flows
	applies       uint64                    // changes of flows, and how long Open vSwitch took
	applying      time.Duration
	syncs         uint64
}

// applied counts a change of flows in the bridge.
func (c *counts) applied(puts, deletes int, took time.Duration) {
	c.puts += uint64(puts)
	c.deletes += uint64(deletes)
	c.applies++
	c.applying += took
}

// synced counts a comparison of the bridge as a whole.
func (c *counts) synced(n ovs.SyncResult) {
	c.puts += uint64(n.Added)
	c.deletes += uint64(n.Deleted)
	c.syncs++
}

// figures are what the loop knows that metrics show, at one moment.
type figures struct {
	counts
	member, snapshot, synced bool
	inSync                   bool // the bridge can be reached and has its flows
	contended                bool
	self                     string
	tunnelIP                 netip.Addr
	edge                     bool
	revision                 int64 // of etcd, that the bridge shows
	objects                  [topology.KindPortName]topology.Count
	invalid, problems        int
	runs                     uint64
	tables                   []int // flows, in the order of flows.Tables
	refused                  int
	drops                    []flows.CookieFlow
	foreign                  []uint64 // cookies of the flows that count foreign frames
	demands                  int
	plugs                    [yielded + 1]int
	waysOut, dark            int
	tunnels                  int
	known                    int // neighbours
	neighbours               neighbourCounts
	errands                  errandCounts
	took                     time.Duration // to find all of this out
}

// figures has the loop tell what it knows. The error is ErrNotReady as long as it
// does not run.
func (a *agent) figures(ctx context.Context) (*figures, error) {
	if !a.hasOpened() {
		return nil, ErrNotReady
	}
	delivered := a.Store.Sight().Delivered // before the loop is asked what it has taken in
	f := new(figures)
	err := a.host.do(ctx, func() {
		start := time.Now()
		a.fill(f, delivered)
		f.took = time.Since(start)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// fill is figures in the loop, which it must not hold up: it copies what has been
// counted, and asks nobody. Nothing in it grows with the topology but with what is
// plugged in here.
func (a *agent) fill(f *figures, delivered int64) {
	f.counts = a.counts
	f.member, f.snapshot, f.synced = a.member, a.snapshot, a.synced
	f.inSync, f.contended = a.ovs.InSync(), a.liveness.rival
	f.self, f.tunnelIP, f.edge = a.self, a.TunnelIP, len(a.model.List(topology.Pinned(a.self))) > 0
	f.revision = a.shown
	if f.inSync && len(a.updates) == 0 && a.member {
		f.revision = max(f.revision, delivered) // what came since concerned others
	}
	for kind := range f.objects {
		f.objects[kind] = a.model.Count(topology.Kind(kind))
	}
	f.invalid, f.problems = len(a.bad), len(a.problems)
	f.runs, f.refused = a.engine.Runs(), a.refused
	for _, t := range flows.Tables {
		f.tables = append(f.tables, a.engine.Held(t.Table))
	}
	for cookie, flow := range a.engine.Drops() {
		f.drops = append(f.drops, flows.CookieFlow{Cookie: cookie, Flow: flow})
	}
	f.foreign = a.engine.Cookies(topology.Node{}.Key(), flows.TableForeign)
	f.demands = len(a.demands.ports)
	for _, p := range a.plugs {
		f.plugs[p.state]++
	}
	out, dark := a.waysOut()
	f.waysOut, f.dark = out, len(dark)
	f.tunnels = len(a.tunnels)
	f.known, f.neighbours = a.physical.neighbours.known, a.physical.neighbours.count
	f.errands = a.physical.errands.count
}

// shownKinds are the kinds of objects whose numbers are told, by their names there.
var shownKinds = map[topology.Kind]string{
	topology.KindSwitch:      "switch",
	topology.KindSwitchPort:  "switch_port",
	topology.KindRouter:      "router",
	topology.KindRouterPort:  "router_port",
	topology.KindStaticRoute: "static_route",
	topology.KindNAT:         "nat",
	topology.KindChassis:     "chassis",
	topology.KindInterface:   "interface",
	topology.KindTunnel:      "tunnel",
	topology.KindNeighbour:   "neighbour",
}

// put hands the figures over.
func (f *figures) put(put metrics.Put) {
	role := "node"
	if f.edge {
		role = "edge"
	}
	put(metrics.ChassisInfo, 1, f.self, f.tunnelIP.String(), role)
	put(metrics.Contended, truth(f.contended))
	put(metrics.ScrapeLoopSeconds, f.took.Seconds())
	put(metrics.FlowsRevision, float64(f.revision))
	for kind, name := range shownKinds {
		put(metrics.Objects, float64(f.objects[kind].All), name)
		if kind.Stored() {
			put(metrics.ObjectsIgnored, float64(f.objects[kind].Ignored), name)
		}
	}
	put(metrics.ObjectsInvalid, float64(f.invalid))
	put(metrics.Problems, float64(f.problems))
	put(metrics.RuleRuns, float64(f.runs))
	for i, t := range flows.Tables {
		put(metrics.Flows, float64(f.tables[i]), t.Name)
	}
	put(metrics.FlowsInSync, truth(f.inSync))
	put(metrics.FlowsRefused, float64(f.refused))
	put(metrics.FlowChanges, float64(f.puts), "put")
	put(metrics.FlowChanges, float64(f.deletes), "deleted")
	put(metrics.FlowApplies, float64(f.applies))
	put(metrics.FlowApplySeconds, f.applying.Seconds())
	put(metrics.FlowSyncs, float64(f.syncs))
	put(metrics.Demands, float64(f.demands))
	for state, n := range f.plugs {
		put(metrics.Interfaces, float64(n), plugState(state).String())
	}
	put(metrics.WaysOut, float64(f.waysOut-f.dark), "up")
	put(metrics.WaysOut, float64(f.dark), "down")
	put(metrics.Tunnels, float64(f.tunnels))
	f.putPackets(put)
}

// putPackets is put for what the agent does with packets.
func (f *figures) putPackets(put metrics.Put) {
	for why := flows.NoNeighbour; why <= flows.Traced; why++ {
		put(metrics.PacketIn, float64(f.packets[why]), why.String())
	}
	for why, n := range map[flows.Reason]uint64{flows.TTLExceeded: f.errands.TTLExceeded, flows.NoRoute: f.errands.NoRoute,
		flows.NoNeighbour: f.errands.NoNeighbour, flows.TooLarge: f.errands.TooLarge} {
		put(metrics.ICMPErrors, float64(n), why.String())
	}
	put(metrics.ErrandPackets, float64(f.errands.Fragmented), "fragmented")
	put(metrics.ErrandPackets, float64(f.errands.Translated), "translated")
	put(metrics.ErrandPackets, float64(f.errands.Refused), "refused")
	put(metrics.Neighbours, float64(f.known))
	put(metrics.NeighbourEvents, float64(f.neighbours.Learned), "learned")
	put(metrics.NeighbourEvents, float64(f.neighbours.Aged), "aged")
	put(metrics.NeighbourEvents, float64(f.neighbours.Evicted), "evicted")
	put(metrics.NeighbourEvents, float64(f.neighbours.Ignored), "ignored")
	put(metrics.NeighbourPackets, float64(f.neighbours.Failed), "unreachable")
	put(metrics.NeighbourPackets, float64(f.neighbours.Dropped), "dropped")
	put(metrics.ARPRequests, float64(f.neighbours.Requests))
}

// hasOpened reports whether etcd and Open vSwitch have been read, so that the
// agent's loop runs and all that it works with is there.
func (a *agent) hasOpened() bool { return isClosed(a.opened) }

// driver returns the connection to Open vSwitch, or nil as long as there has been
// none.
func (a *agent) driver() *ovs.Driver {
	if !isClosed(a.driven) {
		return nil
	}
	return a.ovs
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Turn implements metrics.Source. An agent that waits for etcd or Open vSwitch to
// begin with is at nothing else.
func (s *scraper) Turn(ctx context.Context) {
	if s.a.hasOpened() {
		_ = s.a.host.do(ctx, func() {}) // it fails when the agent ends
	}
}

// Missing implements metrics.Source.
func (s *scraper) Missing(ctx context.Context) []string { return s.a.missing(s.a.figures(ctx)) }

// linkNames say what a connection to Open vSwitch leads to.
var linkNames = map[string]string{
	"ovsdb":   "its database",
	"flows":   "the bridge, for flows",
	"packets": "the bridge, for packets",
}

// missing says what keeps the node from doing all that is asked of it.
func (a *agent) missing(f *figures, err error) (missing []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			missing = append(missing, fmt.Sprintf(format, args...))
		}
	}
	say(!a.Store.Sight().Connected, "etcd: no connection to %s", strings.Join(a.Store.Endpoints(), ", "))
	driver := a.driver()
	say(driver == nil, "Open vSwitch: no connection yet; is it running?")
	if driver != nil {
		for _, link := range driver.Links() {
			say(!link.Up, "Open vSwitch: no connection to %s", linkNames[link.Name])
		}
	}
	switch {
	case !a.hasOpened():
		say(len(missing) == 0, "topology: it has not been read yet")
	case err != nil:
		say(true, "agent: it is at one thing for longer than it should be")
	default:
		say(!f.snapshot, "topology: it has not been read yet")
		say(!f.member, "member: etcd does not say yet that this host is the chassis %s; the log tells if another one is", f.self)
		say(f.snapshot && f.member && !(f.synced && f.inSync), "flows: the bridge does not have all of them yet")
	}
	return missing
}
