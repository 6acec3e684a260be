package flows

import "tuplenet/internal/topology"

// routerEntry leads from a switch port into the router that it is joined to.
func routerEntry(r *Reader, port topology.SwitchPort) []Flow {
	rp, router, ok := r.RouterOf(port)
	if !ok || !r.Here(router) {
		return nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok || !r.Reaches(sw.Key()) {
		return nil
	}
	return []Flow{{TableSwitchDeliver, prioNormal, []Match{inDatapath(sw.ID), toPort(port.ID())}, []Action{
		enterDatapath(router.ID), setSrcPort(rp.ID()),
		Load{BitsRouter, uint64(router.ID)}, Load{bitsArrival, uint64(rp.ID())}, Load{bitsTranslated, 0},
		Goto{TableRouterAdmit},
	}}}
}

// pinnedRouter keeps what a router does not know from other edges, as it does
// not live there; and silences one whose chassis has no record any more: the
// operator has taken the host out, and it only goes on forwarding.
func pinnedRouter(r *Reader, router topology.Router) ([]Flow, []Note) {
	if router.Chassis == "" {
		return nil, nil
	}
	_, registered := r.Chassis(router.Chassis)
	if !r.Here(router) {
		if registered {
			return nil, nil
		}
		return nil, []Note{Problem{router.Key(), "the chassis " + router.Chassis + " that it is pinned to has no record"}}
	}
	out := []Flow{
		{TableRouterConnected, prioPinned, []Match{inDatapath(router.ID)}, []Action{drop}},
		{TableNeighbour, prioPinned, []Match{Masked(RegRouter, uint64(router.ID), 0xffffff), isIP}, []Action{drop}},
	}
	if registered {
		return out, nil
	}
	return append(out, Flow{TableRouterLocal, prioNormal + 1, []Match{inDatapath(router.ID), isIP,
		Exact(IPProto, protoICMP), Exact(ICMPType, icmpEcho)}, []Action{drop}}), nil
}

// Ranks of the routes of one prefix length.
const (
	rankConnected = iota
	rankStatic
	rankShared // by several paths, each watched
)

// routePriority orders routes: the longest prefix first, then the rank, 0 to 3.
// It stays below prioGuard.
func routePriority(bits, rank int) uint16 { return uint16(prioNobody + 1 + bits*4 + rank) }

// routerPort takes in what is meant for a port of a router, routes to the
// network that is connected there, and leads out into the port's switch.
func routerPort(r *Reader, port topology.RouterPort) ([]Flow, []Note) {
	router, ok := r.Router(port.Router)
	if !ok || !r.Here(router) || !r.Reaches(router.Key()) {
		return nil, nil
	}
	sp, sw, ok := r.SwitchOf(port)
	if !ok {
		if port.Peer == "" {
			return nil, nil
		}
		return nil, []Note{Problem{port.Key(), "it leads nowhere: no switch has a port " + port.Peer + " that leads back to it"}}
	}
	in := inDatapath(router.ID)
	out := []Flow{
		{TableRouterAdmit, prioNormal, []Match{in, isIP, Exact(IPDst, ipv4(port.Net.Addr()))},
			[]Action{Goto{TableRouterLocal}}},
		{TableRouterForward, prioNormal, []Match{in, toPort(port.ID())}, enterSwitch(sp, sw, port.MAC)},
	}
	if first, ok := r.Connected(port); ok && first == port {
		pass := []Action{Goto{TableRouterConnected}}
		if r.LeadsOut(sw.Name) { // nobody knows who is there
			pass = passConnected
		}
		out = append(out, Flow{TableRouterRoute, routePriority(port.Net.Bits(), rankConnected),
			where([]Match{in, isIP}, prefixMatch(IPDst, port.Net)...), append([]Action{setDstPort(port.ID())}, pass...)})
	}
	var notes []Note
	if i, ok := r.WayOut(sw.Name); ok {
		notes = append(notes, Address{i.OFPort, sw.Name, port.Net.Addr(), port.MAC, port.Net.Bits()})
	}
	return out, notes
}

// enterSwitch leads a routed packet into a switch by the router's port there;
// the packet may leave by the interface that it came in by.
func enterSwitch(sp topology.SwitchPort, sw topology.Switch, src topology.MAC) []Action {
	return []Action{
		Load{All(EthSrc), src.Uint64()},
		enterDatapath(sw.ID),
		setSrcPort(sp.ID()),
		Load{All(InPort), 0},
		Goto{TableNeighbour},
	}
}
