package flows

import "tuplenet/internal/topology"

// localPort joins an interface of this node to its switch port.
func localPort(r *Reader, i topology.Interface) []Flow {
	port, ok := r.PortNamed(i.Port)
	if !ok || port.Peer != "" || port.Outer() {
		return nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil
	}
	id := port.ID()
	return []Flow{
		{TableClassify, prioNormal, []Match{Exact(InPort, uint64(i.OFPort))}, []Action{
			enterDatapath(sw.ID), setSrcPort(id), Goto{TableSwitchARP},
		}},
		// A host that asks for its own address looks for somebody else who
		// has it (RFC 5227); an answer would make it give the address up.
		{TableSwitchARP, prioGuard, []Match{inDatapath(sw.ID), fromPort(id), isARP,
			Exact(ARPOp, arpRequest), Exact(ARPTpa, ipv4(port.IP))}, []Action{drop}},
		// Nothing returns to the port that it came from, unless a router sent
		// it there.
		{TableSwitchLoopback, prioGuard, []Match{inDatapath(sw.ID),
			Exact(RegPorts, uint64(id)<<16|uint64(id)), Masked(RegFlags, 0, FlagLoopback)}, []Action{drop}},
		{TableSwitchDeliver, prioNormal, []Match{inDatapath(sw.ID), toPort(id)}, []Action{Output{i.OFPort}}},
	}
}

// lookup finds, in the switch, the port that a MAC belongs to, and the way to
// it: this chassis, or the tunnel to the one that it is bound to. A port that
// is bound nowhere, or to a chassis without a tunnel, is unknown.
func lookup(r *Reader, port topology.SwitchPort) []Flow {
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil
	}
	actions, ok := wayTo(r, port)
	if !ok {
		return nil
	}
	if port.Outer() {
		return unknown(sw, port, actions)
	}
	return []Flow{{TableSwitchLookup, prioNormal, []Match{inDatapath(sw.ID), Exact(EthDst, port.MAC.Uint64())},
		append([]Action{setDstPort(port.ID())}, actions...)}}
}

func wayTo(r *Reader, port topology.SwitchPort) ([]Action, bool) {
	here := []Action{Goto{TableSwitchLoopback}}
	chassis := port.Chassis
	if port.Peer != "" && !port.Outer() {
		_, router, ok := r.RouterOf(port)
		if !ok {
			return nil, false
		}
		if r.Here(router) {
			return here, true
		}
		chassis = router.Chassis
	} else if _, ok := r.Interface(port.Name); ok {
		return here, true
	}
	if chassis == "" {
		return nil, false
	}
	t, ok := r.Tunnel(chassis)
	if !ok {
		return nil, false
	}
	return []Action{Load{All(RegTunnel), uint64(t.OFPort)}, Goto{TableSwitchOutput}}, true
}

// neighbour tells the MAC of an address in a switch.
func neighbour(r *Reader, port topology.SwitchPort) []Flow {
	if port.Outer() {
		return nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil
	}
	return []Flow{{TableNeighbour, prioNormal, []Match{inDatapath(sw.ID), Exact(RegNextHop, ipv4(port.IP))}, []Action{
		Load{All(EthDst), port.MAC.Uint64()},
		Goto{TableNeighbourDone},
	}}}
}
