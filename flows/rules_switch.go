package flows

import "tuplenet/internal/topology"

// localPort joins an interface of this node to its switch port, or a child port
// to the interface of its parent.
func localPort(r *Reader, i topology.Interface) ([]Flow, []Note) {
	port, ok := r.PortNamed(i.Port)
	if !ok || port.Peer != "" || port.Outer() || port.Tag != i.Tag {
		return nil, nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil, nil
	}
	var parent topology.SwitchPort
	if i.Tag != 0 {
		if parent, ok = r.Parent(port); !ok {
			return nil, nil
		}
	}
	id := port.ID()
	out, notes := wayTo(r, port)
	out = append(out,
		// A host that asks for its own address looks for somebody else who
		// has it (RFC 5227); an answer would make it give the address up.
		Flow{TableSwitchTarget, prioGuard, []Match{inDatapath(sw.ID), fromPort(id), isARP,
			Exact(ARPOp, arpRequest), Exact(ARPTpa, ipv4(port.IP))}, []Action{drop}},
		// Nothing returns to the port that it came from, unless a router sent
		// it there.
		Flow{TableSwitchLoopback, prioGuard, []Match{inDatapath(sw.ID),
			Exact(RegPorts, uint64(id)<<16|uint64(id)), Masked(RegFlags, 0, FlagLoopback)}, []Action{drop}})
	enter := []Action{enterDatapath(sw.ID), setSrcPort(id), Goto{TableSwitchARP}}
	if port.Secured || sw.Secured {
		enter[2] = Goto{TableSwitchSecurity}
		out = append(out, secured(sw, port)...)
	}
	if i.Tag != 0 {
		return append(out, throughParent(r, parent, sw, port, i, enter)...), notes
	}
	return append(out,
		Flow{TableClassify, prioNormal, []Match{Exact(InPort, uint64(i.OFPort))}, enter},
		Flow{TableSwitchDeliver, prioNormal, []Match{inDatapath(sw.ID), toPort(id)}, []Action{Output{i.OFPort}}}), notes
}

// switchPort leads to a port that this node has flows for whether or not traffic
// goes there.
func switchPort(r *Reader, port topology.SwitchPort) ([]Flow, []Note) {
	if !r.Reaches(topology.Switch{Name: port.Switch}.Key()) {
		return nil, nil
	}
	var notes []Note
	if problem := orphaned(r, port); problem != "" {
		notes = append(notes, Problem{port.Key(), problem})
	}
	if onlyWanted(r, port) {
		return nil, notes
	}
	out, more := wayTo(r, port)
	return out, append(notes, more...)
}

// wayTo makes the flows that lead to a port: in the switch the way to its MAC,
// and the MAC of its address.
func wayTo(r *Reader, port topology.SwitchPort) ([]Flow, []Note) {
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil, nil
	}
	way, notes, found := deliver(r, port)
	if port.Outer() {
		if !found {
			return nil, notes
		}
		return unknown(r, sw, port, way), notes
	}
	out := resident(r, sw, port.IP, port.MAC)
	if !found && port.Peer == "" {
		way, found = noWayTo(r, port)
	}
	if found {
		out = append(out, Flow{TableSwitchLookup, prioNormal, []Match{inDatapath(sw.ID), Exact(EthDst, port.MAC.Uint64())},
			append([]Action{setDstPort(port.ID())}, way...)})
	}
	return out, notes
}

// noWayTo says what becomes of packets to a port that is bound to this chassis
// without an interface, nowhere, or to a chassis that is not known: an edge may
// know more, but the agent need not be asked. The way to a chassis that is
// known comes with its tunnel.
func noWayTo(r *Reader, port topology.SwitchPort) ([]Action, bool) {
	if port.Chassis == r.Node().Chassis {
		return []Action{drop}, true
	}
	_, known := r.Chassis(port.Chassis)
	return []Action{Goto{TableRedirect}}, !known && r.OnDemand()
}

// deliver finds the way from a switch to a port: this chassis, or the tunnel to
// the one that it is bound to. A port that is bound nowhere, or to a chassis
// without a tunnel, is unknown.
func deliver(r *Reader, port topology.SwitchPort) (way []Action, notes []Note, ok bool) {
	here := []Action{Goto{TableSwitchLoopback}}
	chassis := port.Chassis
	if port.Peer != "" && !port.Outer() {
		_, router, ok := r.RouterOf(port)
		if !ok {
			return nil, nil, false
		}
		if r.Here(router) {
			return here, nil, true
		}
		chassis = router.Chassis
	} else if _, ok := r.Interface(port); ok {
		return here, nil, true
	}
	if chassis == "" || chassis == r.Node().Chassis {
		return nil, nil, false
	}
	notes = []Note{Destination{chassis}}
	t, ok := r.Tunnel(chassis)
	if !ok {
		return nil, notes, false
	}
	if t.Watched && r.Node().Redirect {
		// Where BFD finds no way to it, an edge may.
		return []Action{
			Load{All(RegDirect), uint64(t.OFPort)},
			Choose{Fields: HashEthSrc, Ports: []uint32{t.OFPort}, Dst: All(RegTunnel)},
			Goto{TableSwitchOutput},
		}, notes, true
	}
	return []Action{Load{All(RegTunnel), uint64(t.OFPort)}, Goto{TableSwitchOutput}}, notes, true
}
