package flows

import (
	"net/netip"
	"slices"

	"tuplenet/internal/topology"
)

// A node on demand has flows to the ports of its own interfaces, to routers, and
// to where its traffic goes. What goes to another port takes an edge, which
// knows all of them, and tells the agent that the port is wanted:
//
//	switch-target, router-connected, switch-lookup ──▶ redirect ──▶ an edge
//	                          │
//	                          └──▶ wanted ──▶ the agent ──▶ topology.Demand ──▶ flows
//
// These three tables look at addresses as they stand in the packet, not in a
// register, so that Open vSwitch sees one megaflow for many addresses that
// nobody has. Blocks of addresses with no port at all end at once: who scans an
// empty network costs nobody anything. (With ARP they end in a table of their
// own, switch-arp: Open vSwitch keeps prefixes apart for IP only.)

// Priorities of what is not a single address.
const (
	prioNobody = 1  // nobody here
	prioPinned = 2  // nobody in a router that lives here alone
	prioBlock  = 50 // somebody is there
)

// onlyWanted reports whether a port's flows wait until something here wants
// them. Switches with a way out do not take part: what is not known there goes
// out.
func onlyWanted(r *Reader, port topology.SwitchPort) bool {
	return r.OnDemand() && port.Peer == "" && !r.LeadsOut(port.Switch)
}

// demanded leads to a port that traffic goes to.
func demanded(r *Reader, d topology.Demand) ([]Flow, []Note) {
	port, ok := find[topology.SwitchPort](r, topology.SwitchPort{Switch: d.Switch, Name: d.Port}.Key())
	if !ok || !r.Reaches(topology.Switch{Name: d.Switch}.Key()) || !onlyWanted(r, port) {
		return nil, nil
	}
	return wayTo(r, port)
}

// resident makes the flows for an address that somebody has in a switch: its
// MAC, for routed packets and ARP requests alike. On a node on demand there is
// also to be seen that they are there.
func resident(r *Reader, sw topology.Switch, ip netip.Addr, mac topology.MAC) []Flow {
	out := []Flow{{TableNeighbour, prioNormal, []Match{inDatapath(sw.ID), Exact(RegNextHop, ipv4(ip))}, []Action{
		Load{All(EthDst), mac.Uint64()},
		Goto{TableNeighbourDone},
	}}}
	if !r.OnDemand() || r.LeadsOut(sw.Name) {
		return out
	}
	out = append(out, Flow{TableSwitchTarget, prioNormal, where(asksIn(sw), Exact(ARPTpa, ipv4(ip))), askNeighbour})
	return append(out, connected(r, sw, prioNormal, netip.PrefixFrom(ip, ip.BitLen()), passConnected)...)
}

// block is the rule for the ports around an address of a switch; port is one of
// them.
func block(r *Reader, port topology.SwitchPort) []Flow {
	sw, ok := r.Switch(port.Switch)
	if !ok || !r.Reaches(sw.Key()) || r.LeadsOut(sw.Name) {
		return nil
	}
	net := topology.Block(port.IP)
	if !r.OnDemand() {
		return connected(r, sw, prioBlock, net, passConnected)
	}
	out := []Flow{{TableSwitchARP, prioBlock, where(asksIn(sw), prefixMatch(ARPTpa, net)...), []Action{Goto{TableSwitchTarget}}}}
	return append(out, connected(r, sw, prioBlock, net, append([]Action{Load{All(EthDst), 0}}, askEdge...))...)
}

// connected makes a flow in every router here that has a port in the switch,
// for what its port's network and net have in common.
func connected(r *Reader, sw topology.Switch, priority uint16, net netip.Prefix, actions []Action) []Flow {
	var out []Flow
	for _, rp := range r.Routed(sw.Name) {
		router, ok := r.Router(rp.Router)
		if ok && rp.Net.Overlaps(net) {
			out = append(out, Flow{TableRouterConnected, priority,
				where([]Match{inDatapath(router.ID), isIP}, prefixMatch(IPDst, net)...), actions})
		}
	}
	return out
}

// outerARP lets a switch with a way out ask all its ports, and the physical
// network, on a node on demand.
func outerARP(r *Reader, sw topology.Switch) []Flow {
	if !r.Reaches(sw.Key()) || !r.OnDemand() || !r.LeadsOut(sw.Name) {
		return nil
	}
	return []Flow{
		{TableSwitchARP, prioNormal, asksIn(sw), []Action{Goto{TableSwitchTarget}}},
		{TableSwitchTarget, prioBlock, asksIn(sw), askNeighbour},
	}
}

// asksIn matches the ARP requests in a switch.
func asksIn(sw topology.Switch) []Match {
	return []Match{inDatapath(sw.ID), isARP, Exact(ARPOp, arpRequest)}
}

var (
	// askNeighbour looks for the MAC of an ARP request's target.
	askNeighbour = []Action{Move{All(ARPTpa), All(RegNextHop)}, Goto{TableNeighbour}}
	// askEdge has an edge deliver the packet, and the agent make it needless.
	askEdge = []Action{Resubmit{TableRedirect}, Goto{TableWanted}}
	// passConnected makes the destination of a routed packet its next hop.
	passConnected = []Action{Move{All(IPDst), All(RegNextHop)}, DecTTL{}, Goto{TableRouterReply}}
)

// redirect hands what this node cannot deliver to an edge: an unknown
// destination, or one whose chassis BFD finds no way to. What was redirected
// once is not again: the direct way is its last chance.
func redirect(r *Reader, node topology.Node) ([]Flow, []Note) {
	var edges []uint32
	var notes []Note
	for _, chassis := range r.Edges() {
		if _, ok := r.Chassis(chassis); !ok || !node.Redirect || chassis == node.Chassis {
			continue
		}
		notes = append(notes, Destination{chassis})
		if t, ok := r.Tunnel(chassis); ok && t.Watched && !r.Absent(chassis) {
			edges = append(edges, t.OFPort)
		}
	}
	direct := []Action{Move{All(RegDirect), All(RegTunnel)}, Resubmit{TableSwitchOutput}}
	out := []Flow{
		{TableRedirect, prioGuard + 1, []Match{redirected, Exact(RegDirect, 0)}, []Action{drop}},
		{TableRedirect, prioGuard, []Match{redirected}, direct},
	}
	if len(edges) == 0 {
		return append(out,
			Flow{TableRedirect, prioNobody, []Match{Exact(RegDirect, 0)}, []Action{drop}},
			Flow{TableRedirect, prioMiss, nil, direct}), notes
	}
	return append(out, Flow{TableRedirect, prioMiss, nil, []Action{
		Load{bitRedirected, 1},
		Choose{Fields: HashEthSrc, Ports: edges, Dst: All(RegTunnel)},
		Resubmit{TableSwitchOutput},
	}}), notes
}

var redirected = Masked(RegFlags, FlagRedirected, FlagRedirected)

// arrival takes in what an edge is asked to forward, which begins where the
// asker left off: in its router, without a MAC, or in its switch.
func arrival(*Reader, topology.Node) []Flow {
	return []Flow{
		{TableArrival, prioNormal + 1, []Match{redirected, isIP, Exact(EthDst, 0)}, []Action{
			Move{BitsDatapath, BitsRouter}, Move{BitsSrcPort, BitsEntry}, Load{All(InPort), 0}, Goto{TableRouterRoute},
		}},
		{TableArrival, prioNormal, []Match{redirected, isARP, Exact(ARPOp, arpRequest)}, []Action{
			Load{All(InPort), 0}, Goto{TableSwitchARP},
		}},
		{TableArrival, prioNobody, []Match{redirected}, []Action{Load{All(InPort), 0}, Goto{TableSwitchLookup}}},
		{TableNeighbourDone, prioNormal + 1, []Match{isARP, redirected}, append(slices.Clone(arpReplyActions),
			Load{bitLoopback, 1}, Resubmit{TableSwitchLookup})},
		// The asker's router is not here, or has no more to say here than there.
		{TableRouterRoute, prioNobody, []Match{redirected}, []Action{drop}},
		{TableRouterPath, prioNobody, []Match{redirected}, []Action{drop}},
		// Only routers send to no MAC.
		{TableSwitchLookup, prioGuard, []Match{Exact(EthDst, 0)}, []Action{drop}},
	}
}

// nobody says what becomes of packets whose destination no other flow of this
// node knows.
func nobody(r *Reader, node topology.Node) []Flow {
	out := []Flow{
		{TableSwitchLookup, prioNobody, []Match{toMany}, []Action{drop}},
		{TableWanted, prioMiss, nil, []Action{LimitTo{MeterWanted}, Punt{Wanted}}},
		{TableSwitchOutput, prioGuard, []Match{Exact(RegTunnel, NoPort)}, []Action{Goto{TableRedirect}}},
	}
	if r.OnDemand() {
		return append(out,
			Flow{TableSwitchARP, prioNobody, []Match{isARP, Exact(ARPOp, arpRequest)}, []Action{drop}},
			Flow{TableSwitchTarget, prioMiss, nil, askEdge},
			Flow{TableSwitchLookup, prioMiss, nil, askEdge},
			Flow{TableRouterConnected, prioMiss, nil, []Action{drop}})
	}
	out = append(out,
		Flow{TableSwitchARP, prioNormal, []Match{isARP, Exact(ARPOp, arpRequest)}, []Action{Goto{TableSwitchTarget}}},
		Flow{TableSwitchTarget, prioNobody, []Match{isARP}, askNeighbour},
		Flow{TableSwitchTarget, prioMiss, nil, []Action{drop}})
	if !node.Redirect {
		return append(out,
			Flow{TableSwitchLookup, prioMiss, nil, []Action{drop}},
			Flow{TableRouterConnected, prioMiss, nil, []Action{drop}})
	}
	// The agent may be dead, and an edge know more.
	return append(out,
		Flow{TableSwitchLookup, prioMiss, nil, []Action{Goto{TableRedirect}}},
		Flow{TableRouterConnected, prioMiss, nil, []Action{Load{All(EthDst), 0}, Goto{TableRedirect}}},
		Flow{TableNeighbour, prioNobody, []Match{isIP}, append(slices.Clone(backIntoRouter), Goto{TableRedirect})},
		Flow{TableNeighbour, prioNobody, []Match{isARP}, []Action{Goto{TableRedirect}}})
}

// backIntoRouter takes a packet that a router has led into a switch back to
// where it was, so that another chassis can route it.
var backIntoRouter = []Action{Move{BitsRouter, BitsDatapath}, Move{BitsEntry, BitsSrcPort}, Load{All(EthDst), 0}}

// toMany matches multicast and broadcast.
var toMany = Masked(EthDst, 1<<40, 1<<40)
