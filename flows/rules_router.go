package flows

import "tuplenet/internal/topology"

// routerEntry leads from a switch port into the router that it is joined to.
func routerEntry(r *Reader, port topology.SwitchPort) []Flow {
	rp, router, ok := r.RouterOf(port)
	if !ok || !r.Here(router) {
		return nil
	}
	sw, ok := r.Switch(port.Switch)
	if !ok {
		return nil
	}
	return []Flow{{TableSwitchDeliver, prioNormal, []Match{inDatapath(sw.ID), toPort(port.ID())}, []Action{
		enterDatapath(router.ID), setSrcPort(rp.ID()), Goto{TableRouterAdmit},
	}}}
}

// routeConnected ranks a route to a connected network among routes of one
// prefix length: last.
const routeConnected = 0

// routePriority orders routes: the longest prefix first, then the rank, 0 to 3.
// It stays below prioGuard.
func routePriority(bits, rank int) uint16 { return uint16(1 + bits*4 + rank) }

// routerPort takes in what is meant for a port of a router, routes to the
// network that is connected there, and leads out into the port's switch.
func routerPort(r *Reader, port topology.RouterPort) []Flow {
	router, ok := r.Router(port.Router)
	if !ok || !r.Here(router) {
		return nil
	}
	sp, sw, ok := r.SwitchOf(port)
	if !ok {
		return nil
	}
	in := inDatapath(router.ID)
	out := []Flow{
		{TableRouterAdmit, prioNormal, []Match{in, isIP, Exact(IPDst, ipv4(port.Net.Addr()))},
			[]Action{Goto{TableRouterLocal}}},
		// In the switch the packet may leave by the port that it came in by.
		{TableRouterForward, prioNormal, []Match{in, toPort(port.ID())}, []Action{
			Load{All(EthSrc), port.MAC.Uint64()},
			enterDatapath(sw.ID),
			setSrcPort(sp.ID()),
			Load{All(InPort), 0},
			Goto{TableNeighbour},
		}},
	}
	if first, ok := r.Connected(port); ok && first == port {
		out = append(out, Flow{TableRouterRoute, routePriority(port.Net.Bits(), routeConnected),
			connectedMatch(in, port), []Action{
				Move{All(IPDst), All(RegNextHop)},
				DecTTL{},
				setDstPort(port.ID()),
				Goto{TableRouterForward},
			}})
	}
	return out
}

func connectedMatch(in Match, port topology.RouterPort) []Match {
	bits := port.Net.Bits()
	if bits == 0 {
		return []Match{in, isIP}
	}
	mask := uint64(0xffffffff) << (32 - bits) & 0xffffffff
	return []Match{in, isIP, Masked(IPDst, ipv4(port.Net.Addr()), mask)}
}
