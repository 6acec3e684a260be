package flows

import (
	"slices"

	"tuplenet/internal/topology"
)

// The physical network hangs on a switch by an outer port, to which everything
// goes that the switch does not know.

// Priorities of what the switch does not know.
const (
	prioUnknown  = prioPinned + 1
	prioOuterARP = prioPinned + 2 // asked for from outside
)

// wayOut joins the interface of an outer port to its switch.
func wayOut(r *Reader, i topology.Interface) []Flow {
	port, ok := r.PortNamed(i.Port)
	if !ok || !port.Outer() || i.Tag != 0 {
		return nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil
	}
	in, id := inDatapath(sw.ID), port.ID()
	return []Flow{
		{TableClassify, prioNormal, []Match{Exact(InPort, uint64(i.OFPort))}, []Action{
			enterDatapath(sw.ID), setSrcPort(id), Goto{TableSwitchARP},
		}},
		// The agent learns from replies; those to a workload go on.
		{TableSwitchARP, prioNormal, []Match{in, fromPort(id), isARP, Exact(ARPOp, arpReply)}, []Action{
			LimitTo{MeterARP}, Punt{NeighbourSaid}, Goto{TableSwitchHook},
		}},
		{TableSwitchLookup, prioUnknown + 1, []Match{in, fromPort(id)}, []Action{foreign}},
		{TableSwitchDeliver, prioNormal, []Match{in, toPort(id)}, []Action{Output{i.OFPort}}},
		{TableNeighbour, prioOuterARP, []Match{in, fromPort(id), isARP}, []Action{foreign}},
		// A routed packet waits at the agent until ARP has the answer.
		{TableNeighbour, prioUnknown, []Match{in, isIP}, []Action{LimitTo{MeterWaiting}, Punt{NoNeighbour}}},
	}
}

// unknown sends what a switch does not know out by its outer port: frames to
// unknown MACs, and ARP requests for unknown addresses. What a router sends to an
// unknown address goes back into that router on the chassis of the outer port,
// which can ask for the MAC.
func unknown(r *Reader, sw topology.Switch, port topology.SwitchPort, way []Action) []Flow {
	in := inDatapath(sw.ID)
	out := []Flow{
		{TableSwitchLookup, prioUnknown, []Match{in}, append([]Action{setDstPort(port.ID())}, way...)},
		{TableNeighbour, prioUnknown, []Match{in, isARP}, []Action{Resubmit{TableSwitchHook}}},
	}
	if _, here := r.WayOut(sw.Name); !here {
		there := slices.Concat(backIntoRouter, []Action{Load{bitRedirected, 1}}, way[:len(way)-1], []Action{Resubmit{TableSwitchOutput}})
		out = append(out, Flow{TableNeighbour, prioUnknown, []Match{in, isIP}, there})
	}
	return out
}

// learned tells routed packets the MAC of a machine in the physical network.
// ARP requests for it get no answer from us: the machine gives that itself.
func learned(r *Reader, n topology.Neighbour) []Flow {
	sw, ok := r.Switch(n.Switch)
	if !ok {
		return nil
	}
	if _, ok := r.WayOut(n.Switch); !ok {
		return nil
	}
	in, ip := inDatapath(sw.ID), ipv4(n.IP)
	asks := []Match{in, fromPort(topology.PortID(topology.OuterIP)), isARP, Exact(ARPOp, arpRequest), Exact(ARPSpa, ip)}
	answer := []Action{Move{All(ARPTpa), All(RegNextHop)}, Goto{TableNeighbour}}
	return []Flow{
		{TableNeighbour, prioNormal - 1, []Match{in, Exact(RegNextHop, ip), isIP}, []Action{
			Load{All(EthDst), n.MAC.Uint64()}, Goto{TableNeighbourDone},
		}},
		// What it asks shows that it is as it was, or has another MAC now (RFC
		// 826); it gets its answer all the same.
		{TableSwitchARP, prioGuard + 1, where(asks, Exact(ARPSha, n.MAC.Uint64())), answer},
		{TableSwitchARP, prioGuard, asks, append([]Action{LimitTo{MeterARP}, Punt{NeighbourSaid}}, answer...)},
	}
}

// Untunnel mode: what leaves the virtual network does so by the host's own
// stack. It comes back through an edge.

// hostStack leads IP packets out to the host's stack before they meet a router,
// unless they stay in the virtual network.
func hostStack(_ *Reader, h topology.HostStack) []Flow {
	stay := []Action{Goto{TableSwitchLookup}}
	return []Flow{
		{TableClassify, prioNormal, []Match{Exact(InPort, uint64(h.OFPort))}, []Action{foreign}},
		{TableSwitchDirect, prioUnknown, []Match{Masked(RegRouter, 0, 0xffffff), isIP}, []Action{
			Load{All(EthDst), h.MAC.Uint64()}, Output{h.OFPort},
		}},
		// Not what came from outside, and not multicast and broadcast.
		{TableSwitchDirect, prioGuard, []Match{fromPort(topology.PortID(topology.OuterIP))}, stay},
		{TableSwitchDirect, prioGuard, []Match{isIP, Masked(IPDst, 0xe0000000, 0xe0000000)}, stay},
	}
}

// notDirect keeps what goes to the network of a router port in the virtual
// network.
func notDirect(r *Reader, port topology.RouterPort) []Flow {
	if _, on := r.HostStack(); !on {
		return nil
	}
	return []Flow{{TableSwitchDirect, prioNormal, append([]Match{isIP}, prefixMatch(IPDst, port.Net)...),
		[]Action{Goto{TableSwitchLookup}}}}
}
