package agent

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Difference is what an agent that starts now would find amiss.
type Difference struct {
	Held    int // TupleNet's flows in the bridge
	Missing []FlowDifference
	Extra   []FlowDifference // flows that no rule makes
	Changed []FlowDifference // flows that somebody has changed: an agent cannot tell
	Other   []string         // what else is amiss
	// Stuck are the cookies of flows that have to be deleted before an agent that
	// starts makes them anew: by their cookies they look right.
	Stuck []uint64
	// Foreign are, by table, the flows of others that stand before TupleNet's and
	// may take packets from them. They are not amiss: somebody may want that.
	Foreign map[flows.Table]int
	Unsaid  error // why it is not known what flows do: they were told apart by their cookies alone
}

// FlowDifference is a flow that is not as it should be.
type FlowDifference struct {
	Table  flows.Table
	Cookie uint64
	Object string // that it is made for; empty if nobody knows
	Want   string // what it should be, in the words of ovs-ofctl(8); empty if it should not be
	Has    string // what it is, if somebody has changed it
}

func (f FlowDifference) where() string {
	text := fmt.Sprintf("table %d (%s)", f.Table, f.Table)
	if f.Object == "" {
		return fmt.Sprintf("%s, cookie %#x", text, f.Cookie)
	}
	return text + " of " + f.Object
}

// None reports whether all is as it should be.
func (d Difference) None() bool {
	return len(d.Missing)+len(d.Extra)+len(d.Changed)+len(d.Other) == 0
}

// maxTold bounds how many flows of a kind String tells of.
const maxTold = 3

// String says it in one line: what the bridge holds, how much is wrong, and the
// first of it.
func (d Difference) String() string {
	if d.None() {
		return fmt.Sprintf("%d flows, all as they should be", d.Held)
	}
	counts := fmt.Sprintf("%d flows, %d missing, %d too many", d.Held, len(d.Missing), len(d.Extra))
	if n := len(d.Changed); n > 0 {
		counts += fmt.Sprintf(", %d changed by hand", n)
	}
	parts := append([]string{counts}, d.Other[:min(len(d.Other), maxTold)]...)
	for _, list := range []struct {
		what  string
		flows []FlowDifference
	}{{"missing", d.Missing}, {"too many", d.Extra}, {"changed", d.Changed}} {
		told := len(parts)
		for _, f := range list.flows {
			if text := list.what + " in " + f.where(); !slices.Contains(parts[told:], text) && len(parts) < told+maxTold {
				parts = append(parts, text)
			}
		}
	}
	return strings.Join(parts, "; ")
}

// maxDetails bounds Details: a bridge may have lost all of its flows.
const maxDetails = 200

// Details says all of it, a line each, with the flows themselves.
func (d Difference) Details() []string {
	lines := slices.Clone(d.Other)
	for _, f := range d.Missing {
		lines = append(lines, fmt.Sprintf("missing in %s: %s", f.where(), f.Want))
	}
	for _, f := range d.Extra {
		lines = append(lines, "too many in "+f.where())
	}
	for _, f := range d.Changed {
		lines = append(lines, fmt.Sprintf("changed in %s: %s, and should be %s", f.where(), f.Has, f.Want))
	}
	if more := len(lines) - maxDetails; more > 0 {
		lines = append(lines[:maxDetails], fmt.Sprintf("and %d more", more))
	}
	return lines
}

// Verify compares what Open vSwitch holds with what an agent would give it that
// starts now on this host: it reads etcd, Open vSwitch and the run directory
// once, compiles the flows anew, and changes nothing. open connects to etcd. Of cfg
// it needs OVS, TunnelIP, RunDir and Log; how the agent runs it knows from the
// run directory (or not: ErrNotNoted).
//
// What changes between the reading of the one and the other is a difference,
// too: one that passes. A port whose interface is here and that is bound to
// another chassis is taken for one that has moved away, though an agent that
// starts would take it back.
func Verify(ctx context.Context, open func(context.Context) (*store.Store, error), cfg Config) (Difference, error) {
	var err error
	if cfg.Settings, err = ReadSettings(cfg.RunDir); err != nil {
		return Difference{}, err
	}
	now, err := ovs.Read(ctx, cfg.OVS)
	switch {
	case err != nil:
		return Difference{}, err
	case now.Bridge == "":
		return Difference{}, fmt.Errorf("there is no integration bridge; the agent makes it")
	case now.Chassis == "":
		return Difference{}, fmt.Errorf("this host has no system-id")
	}
	d := Difference{Held: len(now.Flows) + len(now.Doubles)}
	a, wanted, err := compileAnew(ctx, open, cfg, now, &d)
	if err != nil {
		return d, err
	}
	a.compareFlows(ctx, wanted, now, &d)
	a.comparePorts(now, &d)
	a.compareRecord(&d)
	return d, nil
}

// compileAnew returns an agent that has just started, on the Open vSwitch that
// was read, and the flows that it wants. Without a TunnelIP it takes that in the
// chassis record.
func compileAnew(ctx context.Context, open func(context.Context) (*store.Store, error), cfg Config, now ovs.Reading, d *Difference) (*agent, []flows.CookieFlow, error) {
	var err error
	if cfg.Store, err = open(ctx); err != nil {
		return nil, nil, err
	}
	defer cfg.Store.Close()
	watch, stop := context.WithCancel(ctx)
	u, ok := <-cfg.Store.Watch(watch)
	stop() // before the store is closed, which would be a loss to the watch
	if !ok {
		return nil, nil, fmt.Errorf("read etcd: %w", ctx.Err())
	}
	a := newAgent(cfg)
	a.self, a.synced = now.Chassis, true
	a.applyUpdate(u)
	if own, ok := a.ownRecord(); ok && !a.TunnelIP.IsValid() {
		a.TunnelIP = own.IP
	}
	if err := a.takeReading(now, d); err != nil {
		return nil, nil, err
	}
	for e := range a.model.All() {
		if e.Key().Kind == topology.KindSwitchPort {
			a.patchChanged(e.Key())
		}
	}
	delta := a.engine.Update(flows.Everything(a.model))
	for _, text := range delta.Conflicts {
		d.Other = append(d.Other, "mistake in the flow compiler: "+text)
	}
	a.carried(delta)
	return a, delta.Put, nil
}

// takeReading enters this node's own facts into the model.
func (a *agent) takeReading(now ovs.Reading, d *Difference) error {
	if nic, err := tunnelMTU(a.TunnelIP); err == nil {
		a.mtu = workloadMTU(nic)
	}
	facts := []topology.Entity{a.node()}
	seen := map[string]bool{}
	for _, i := range now.Interfaces {
		if seen[i.IfaceID] {
			continue
		}
		seen[i.IfaceID] = true
		port, ok := a.portNamed(i.IfaceID)
		switch {
		case port.Parent != "": // that one's interface counts
			continue
		case ok && port.Chassis == "":
			d.Other = append(d.Other, fmt.Sprintf("%s is not bound, and its interface %s is here", port.Key(), i.Name))
		case ok && port.Chassis != a.self && (!port.Outer() || port.Peer != ""):
			continue
		}
		facts = append(facts, topology.Interface{Port: i.IfaceID, OFPort: i.OFPort})
		if port.Chassis == a.self && port.CanHaveChildren() {
			facts = append(facts, a.takeChildren(port, i.OFPort, d)...)
		}
	}
	tunnels := map[string]bool{}
	for _, t := range now.Tunnels {
		if t.Chassis != "" && !tunnels[t.Chassis] {
			tunnels[t.Chassis] = true
			facts = append(facts, topology.Tunnel{Chassis: t.Chassis, OFPort: t.OFPort, Watched: t.Watched})
		}
	}
	if a.Untunnel && now.HostStack.OFPort != 0 {
		facts = append(facts, topology.HostStack(now.HostStack))
	}
	neighbours, err := readNeighbours(filepath.Join(a.RunDir, neighbourFile))
	if err != nil {
		return err
	}
	for _, n := range neighbours {
		facts = append(facts, n)
	}
	demands, err := ReadDemands(a.RunDir)
	if err != nil {
		return err
	}
	for _, wanted := range demands {
		facts = append(facts, wanted)
	}
	changes := make([]topology.Change, len(facts))
	for i, fact := range facts {
		changes[i] = topology.Change{Key: fact.Key(), Entity: fact}
	}
	a.model.Apply(changes)
	return nil
}

// takeChildren returns what stands for the interfaces of a port's children.
func (a *agent) takeChildren(parent topology.SwitchPort, ofport uint32, d *Difference) []topology.Entity {
	var facts []topology.Entity
	for _, child := range a.children(parent.Name) {
		facts = append(facts, topology.Interface{Port: child.Name, OFPort: ofport, Tag: child.Tag})
		if child.Chassis != a.self {
			d.Other = append(d.Other, fmt.Sprintf("%s is not bound, and its parent %s is here", child.Key(), parent.Name))
		}
	}
	return facts
}

// compareFlows finds flows that are missing, too many or changed, and those of
// others that stand before them.
func (a *agent) compareFlows(ctx context.Context, want []flows.CookieFlow, now ovs.Reading, d *Difference) {
	object := func(f *flows.Flow) string {
		_, key, ok := a.engine.OwnerOf(f)
		switch {
		case !ok:
			return ""
		case key.Kind == topology.KindNode:
			return "this host"
		}
		return key.String()
	}
	wanted := make(map[uint64]*flows.Flow, len(want))
	lowest := map[flows.Table]uint16{} // priority
	for _, f := range want {
		wanted[f.Cookie] = f.Flow
		if at, ok := lowest[f.Flow.Table]; !ok || f.Flow.Priority < at {
			lowest[f.Flow.Table] = f.Flow.Priority
		}
		if _, ok := now.Flows[f.Cookie]; ok {
			continue
		}
		text, err := openflow.Text(f.Flow, f.Cookie)
		if err != nil {
			text = err.Error()
		}
		d.Missing = append(d.Missing, FlowDifference{Table: f.Flow.Table, Cookie: f.Cookie, Object: object(f.Flow), Want: text})
	}
	extra := slices.Clone(now.Doubles)
	for _, f := range extra {
		d.Stuck = append(d.Stuck, f.Cookie)
	}
	for cookie, f := range now.Flows {
		if _, ok := wanted[cookie]; !ok {
			extra = append(extra, f)
		}
	}
	for _, f := range extra {
		d.Extra = append(d.Extra, FlowDifference{Table: f.Table, Cookie: f.Cookie})
	}
	changed, err := now.Changed(ctx, want)
	d.Unsaid = err
	for _, c := range changed {
		f := wanted[c.Cookie]
		d.Stuck = append(d.Stuck, c.Cookie)
		d.Changed = append(d.Changed, FlowDifference{Table: f.Table, Cookie: c.Cookie, Object: object(f), Want: c.Want, Has: c.Has})
	}
	for _, list := range [][]FlowDifference{d.Missing, d.Extra} {
		slices.SortFunc(list, func(f, g FlowDifference) int {
			return cmp.Or(cmp.Compare(f.Table, g.Table), strings.Compare(f.Object, g.Object), cmp.Compare(f.Cookie, g.Cookie))
		})
	}
	d.Foreign = map[flows.Table]int{}
	for _, f := range now.Foreign {
		if at, ok := lowest[f.Table]; ok && f.Priority > at && f.Table != flows.TableSwitchHook { // that table is for others
			d.Foreign[f.Table]++
		}
	}
}

// comparePorts finds tunnels and patch ports that are missing, or too many.
func (a *agent) comparePorts(now ovs.Reading, d *Difference) {
	say := func(format string, args ...any) { d.Other = append(d.Other, fmt.Sprintf(format, args...)) }
	if now.Held {
		say("Open vSwitch is told to wait for flows")
	}
	have := map[string]ovs.Tunnel{}
	for _, t := range now.Tunnels {
		have[t.Chassis] = t
	}
	w := a.wires(false)
	slices.SortFunc(w.tunnels, func(s, t ovs.TunnelSpec) int { return cmp.Compare(s.Chassis, t.Chassis) })
	for _, spec := range w.tunnels {
		t, ok := have[spec.Chassis]
		delete(have, spec.Chassis)
		switch {
		case !ok:
			say("no tunnel leads to chassis %s", spec.Chassis)
		case t.RemoteIP != spec.IP:
			say("the tunnel to chassis %s leads to %s instead of %s", spec.Chassis, t.RemoteIP, spec.IP)
		case spec.BFD.Enable && !t.Watched:
			say("BFD does not watch the tunnel to chassis %s", spec.Chassis)
		}
	}
	for _, t := range now.Tunnels {
		// An agent on demand keeps for a while what it has found at its start.
		inherited := a.onDemand() && a.model.Get(topology.Chassis{Name: t.Chassis}.Key()) != nil
		if _, left := have[t.Chassis]; left && !inherited {
			say("tunnel %s to chassis %q is of no use", t.Name, t.Chassis)
		}
	}
	for _, p := range w.patches {
		if !slices.ContainsFunc(now.Interfaces, func(i ovs.Interface) bool { return i.IfaceID == p.Port }) {
			say("there is no patch port %s to bridge %s", p.Port, p.Bridge)
		}
	}
	if w.hostStack && now.HostStack.OFPort == 0 {
		say("there is no port to the host's stack")
	}
}

// compareRecord compares the record by which other chassis find this one.
func (a *agent) compareRecord(d *Difference) {
	own, ok := a.ownRecord()
	switch {
	case !ok:
		d.Other = append(d.Other, "etcd has no record of chassis "+a.self)
	case own.IP != a.TunnelIP || own.MTU != a.mtu:
		d.Other = append(d.Other, fmt.Sprintf("the record of chassis %s has address %s and mtu %d instead of %s and %d",
			a.self, own.IP, own.MTU, a.TunnelIP, a.mtu))
	}
}
