package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// wire asks for the ports that the bridge is to have: a tunnel to every other
// chassis (on demand, to those that packets go to, and one for what comes from
// the others), a patch for every outer port that is bound to this one by name, and
// in untunnel mode the way to the host's own stack; and for whom to tell of its
// packets.
//
// Before the rules have said where routes lead it asks for nothing, or an agent's
// start would end BFD for a moment.
func (a *agent) wire() {
	if a.member && a.compiled {
		a.wiring.want(a.wires(a.pathDown()))
	}
}

// wires is what wire asks for; down says that packets must not come here to go
// on from here.
func (a *agent) wires(down bool) wires {
	w := wires{hostStack: a.Untunnel, ipfix: a.IPFIX(a.TunnelIP)}
	watched, onDemand := a.watched(), a.onDemand()
	if onDemand {
		w.tunnels = append(w.tunnels, ovs.TunnelSpec{Chassis: ovs.FlowBased})
	}
	for c := range a.model.Chassis() {
		if c.Name == a.self || c.IP == a.TunnelIP {
			continue
		}
		if onDemand && !a.dests[c.Name] && !watched(c.Name) && !a.inherited[c.Name] {
			continue
		}
		spec := ovs.TunnelSpec{Chassis: c.Name, IP: c.IP}
		switch {
		case !a.synced:
			// What the last agent, or what starts Open vSwitch, has said of
			// this bridge holds until its flows are in.
			spec.BFD.Keep = true
		case watched(c.Name):
			spec.BFD = ovs.BFD{Enable: true, MinRx: a.BFDMinRx, MinTx: a.BFDMinTx, PathDown: down}
		}
		w.tunnels = append(w.tunnels, spec)
	}
	for _, p := range a.patches {
		w.patches = append(w.patches, p)
	}
	slices.SortFunc(w.patches, func(p, q ovs.PatchSpec) int { return strings.Compare(p.Port, q.Port) })
	return w
}

// inherit takes note of the tunnels that the bridge has as the agent starts. One on
// demand keeps them for an idle time, as packets may go there of which it knows
// nothing yet: when it takes over from an agent that makes all flows.
func (a *agent) inherit() {
	for chassis := range a.tunnels {
		a.inherited[chassis] = true
	}
}

// disinherit gives up the tunnels that nothing has gone through since the agent
// started.
func (a *agent) disinherit() {
	if len(a.inherited) > 0 && time.Since(a.started) >= a.IdleTimeout {
		clear(a.inherited)
		a.wire()
	}
}

// onDemand reports whether this node has flows only to where its traffic goes. A
// chassis that a router is pinned to forwards for others, and has all.
func (a *agent) onDemand() bool {
	return a.OnDemand && len(a.model.List(topology.Pinned(a.self))) == 0
}

// watched returns which tunnels BFD has to watch: those between a chassis whose
// routes lead to a router that lives on another chassis alone, and that one. A
// host whose record the operator has deleted watches none.
func (a *agent) watched() func(chassis string) bool {
	if _, ok := a.ownRecord(); !ok {
		return func(string) bool { return false }
	}
	peers, all := map[string]bool{}, false
	for c := range a.carriers {
		switch {
		case c.To == a.self && c.From == "":
			all = true
		case c.To == a.self:
			peers[c.From] = true
		case c.From == "" || c.From == a.self:
			peers[c.To] = true
		}
	}
	return func(chassis string) bool { return all || peers[chassis] }
}

// pathDown reports whether the other chassis must not send packets here that
// are to go on from here, although the tunnel is alive: the bridge has lost its
// flows and does not have them again yet, or no way out has a link.
func (a *agent) pathDown() bool {
	if !a.ovs.InSync() {
		return true
	}
	out, dark := a.waysOut()
	return out > 0 && out == len(dark)
}

// waysOut returns how many ways lead from here to the physical network, and those
// of them that have no link.
func (a *agent) waysOut() (out int, dark []ovs.Interface) {
	for name, p := range a.plugs {
		if port, ok := a.portNamed(name); !ok || !port.Outer() || p.state == yielded {
			continue
		}
		if out++; p.iface.Dark {
			dark = append(dark, p.iface)
		}
	}
	return out, dark
}

// readTunnels takes in the tunnel ports that the bridge has now, and has those
// mended that are not as they should be.
func (a *agent) readTunnels() {
	now, up := map[string]topology.Tunnel{}, map[string]bool{}
	there := a.ovs.Tunnels()
	a.resolver.forget(there)
	for _, t := range there {
		if _, ok := now[t.Chassis]; !ok && t.Chassis != "" && a.resolver.takes(t, !a.synced) {
			now[t.Chassis] = topology.Tunnel{Chassis: t.Chassis, OFPort: t.OFPort, Watched: t.Watched}
			up[t.Chassis] = t.Up
		}
	}
	var changes []topology.Change
	was := a.tunnels
	for name, t := range now {
		if was[name] != t {
			changes = append(changes, topology.Change{Key: t.Key(), Entity: t})
		}
	}
	for name, t := range was {
		if _, ok := now[name]; !ok {
			changes = append(changes, topology.Change{Key: t.Key()})
		}
	}
	before := a.up
	a.tunnels, a.up = now, up
	for name, was := range before {
		if was != up[name] {
			a.peerChanged(name, up[name])
		}
	}
	a.cutOff = isCutOff(now, up)
	if len(changes) > 0 {
		a.took(a.model.Apply(changes))
	}
	a.wire()
}

// peerChanged follows up on what BFD found out about a chassis.
func (a *agent) peerChanged(chassis string, up bool) {
	level := slog.LevelInfo
	if !up {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "BFD: the way to a chassis has changed", "chassis", chassis, "up", up)
	// An edge that is gone may have shared addresses with this one, and the
	// physical network looks for them there. If it was this node that was gone,
	// others have announced them since.
	if !up && a.isEdge(chassis) || up && a.cutOff {
		a.physical.announceShared()
	}
}

// isEdge reports whether routes lead to a chassis.
func (a *agent) isEdge(chassis string) bool {
	for c := range a.carriers {
		if c.To == chassis {
			return true
		}
	}
	return false
}

// isCutOff reports whether BFD finds no way to any chassis that it looks for:
// then this node is the one that is gone.
func isCutOff(tunnels map[string]topology.Tunnel, up map[string]bool) bool {
	watched := false
	for name, t := range tunnels {
		if up[name] {
			return false
		}
		watched = watched || t.Watched
	}
	return watched
}

// patchChanged notes whether an outer port wants a pair of patch ports on this
// host.
func (a *agent) patchChanged(key topology.Key) {
	port, ok := a.model.Get(key).(topology.SwitchPort)
	want := ovs.PatchSpec{Port: port.Name, Bridge: port.Peer}
	switch have, had := a.patches[key]; {
	case ok && port.Outer() && port.Chassis == a.self && port.Peer != "":
		if had && have == want {
			return
		}
		a.patches[key] = want
	case had:
		delete(a.patches, key)
	default:
		return
	}
	a.wire()
}

// carried follows up on where routes and other flows lead. BFD begins ahead of
// the flows that rely on it.
func (a *agent) carried(d flows.Delta) {
	changed := !a.compiled
	a.compiled = true
	for _, n := range d.Ended {
		switch n := n.(type) {
		case flows.Carrier:
			delete(a.carriers, n)
			changed = true
		case flows.Destination:
			delete(a.dests, n.Chassis)
			changed = true
		}
	}
	for _, n := range d.Begun {
		switch n := n.(type) {
		case flows.Carrier:
			a.carriers[n] = true
			changed = true
		case flows.Destination:
			a.dests[n.Chassis] = true
			changed = true
		}
	}
	if changed {
		a.wire()
	}
}

// noted follows up on what else the rules say, once their flows are in the
// bridge.
func (a *agent) noted(d flows.Delta) {
	for _, n := range d.Ended {
		switch n := n.(type) {
		case flows.Problem:
			a.log.Info("a problem is over", "object", n.Object, "was", n.What)
			delete(a.problems, n)
		case flows.Address:
			a.physical.address(n, false)
		case flows.Gateway:
			a.physical.gateway(n, false)
		case flows.Translated:
			a.translator.ended(n)
		}
	}
	for _, n := range d.Begun {
		switch n := n.(type) {
		case flows.Problem:
			a.log.Warn("an object cannot work as it is stored", "object", n.Object, "problem", n.What)
			a.problems[n] = true
		case flows.Address:
			a.physical.address(n, true)
		case flows.Gateway:
			a.physical.gateway(n, true)
		case flows.Translated:
			a.translator.begun(n)
		}
	}
}
