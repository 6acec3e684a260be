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

// Difference is what an agent that starts now would change.
type Difference struct {
	Held    int      // TupleNet's flows in the bridge
	Missing []string // flows that it would add: their object and what they do
	Extra   []string // flows that it would delete: their table and cookie
	Other   []string // what else it would change
}

// None reports whether all is as it should be.
func (d Difference) None() bool { return len(d.Missing)+len(d.Extra)+len(d.Other) == 0 }

// maxTold bounds how many flows of a kind String tells of.
const maxTold = 3

// String says it in one line: what the bridge holds, how much is wrong, and the
// first of it.
func (d Difference) String() string {
	if d.None() {
		return fmt.Sprintf("%d flows, all as they should be", d.Held)
	}
	parts := []string{fmt.Sprintf("%d flows, %d missing, %d too many", d.Held, len(d.Missing), len(d.Extra))}
	for _, list := range [][]string{d.Other, d.Missing, d.Extra} {
		parts = append(parts, list[:min(len(list), maxTold)]...)
	}
	return strings.Join(parts, "; ")
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
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cfg, err := cfg.noted()
	if err != nil {
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
	if cfg.Store, err = open(ctx); err != nil {
		return Difference{}, err
	}
	defer cfg.Store.Close()
	u, ok := <-cfg.Store.Watch(ctx)
	if !ok {
		return Difference{}, fmt.Errorf("read etcd: %w", ctx.Err())
	}
	a := newAgent(cfg)
	a.self, a.synced = now.Chassis, true
	a.applyUpdate(u)
	d := Difference{Held: len(now.Flows)}
	if err := a.takeReading(now, &d); err != nil {
		return d, err
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
	a.compareFlows(delta.Put, now.Flows, &d)
	a.comparePorts(now, &d)
	a.compareRecord(&d)
	return d, nil
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
		case ok && port.Chassis == "":
			d.Other = append(d.Other, fmt.Sprintf("%s is not bound, and its interface %s is here", port.Key(), i.Name))
		case ok && port.Chassis != a.self && (!port.Outer() || port.Peer != ""):
			continue
		}
		facts = append(facts, topology.Interface{Port: i.IfaceID, OFPort: i.OFPort})
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

// compareFlows finds flows that are missing and flows that are too many.
func (a *agent) compareFlows(want []flows.CookieFlow, have map[uint64]flows.Table, d *Difference) {
	wanted := make(map[uint64]bool, len(want))
	for _, f := range want {
		wanted[f.Cookie] = true
		if _, ok := have[f.Cookie]; ok {
			continue
		}
		text, err := openflow.Text(f.Flow, f.Cookie)
		if err != nil {
			text = err.Error()
		}
		_, object, _ := a.engine.Owner(f.Cookie)
		d.Missing = append(d.Missing, fmt.Sprintf("missing of %s: %s", object, text))
	}
	for cookie, table := range have {
		if !wanted[cookie] {
			d.Extra = append(d.Extra, fmt.Sprintf("too many: table=%d (%s), cookie=%#x", table, table, cookie))
		}
	}
	slices.Sort(d.Missing)
	slices.Sort(d.Extra)
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
		if _, left := have[t.Chassis]; left {
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
