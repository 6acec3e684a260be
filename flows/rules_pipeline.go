package flows

import (
	"slices"

	"tuplenet/internal/topology"
)

// pipeline makes the flows that are there whatever the topology: where a
// packet goes on when no flow of a table matches, and what is done to all
// packets alike.
func pipeline(_ *Reader, node topology.Node) []Flow {
	var out []Flow
	for _, t := range Tables {
		if t.Miss != 0 {
			out = append(out, Flow{Table: t.Table, Priority: prioMiss, Actions: []Action{Goto{t.Miss}}})
		}
	}
	out = append(out,
		Flow{TableNeighbourDone, prioNormal, []Match{isARP}, append(slices.Clone(arpReplyActions), OutputInPort{})},
		Flow{TableNeighbourDone, prioMiss, nil, []Action{Resubmit{TableSwitchHook}}},

		// The one way into a tunnel.
		Flow{TableTunnel, prioMiss, nil, []Action{
			Move{BitsDatapath, BitsVNI},
			Move{All(RegOption), All(TunMetadata0)},
			OutputField{All(RegTunnel)},
		}},

		Flow{TableRouterAdmit, prioMiss + 1, []Match{isIP}, []Action{Goto{TableRouterRoute}}},
		// ARP replies to the router have been read on their way here.
		Flow{TableRouterAdmit, prioNormal, []Match{isARP}, []Action{foreign}},
		Flow{TableRouterLocal, prioNormal, []Match{isIP, Exact(IPProto, protoICMP),
			Exact(ICMPType, icmpEcho), Exact(ICMPCode, 0)}, echoReplyActions},
		Flow{TableRouterTranslated, prioMiss, nil, []Action{Load{bitsTranslated, 1}, Goto{TableRouterRoute}}},
		// A packet whose TTL is used up goes no further.
		Flow{TableRouterRoute, prioGuard, []Match{isIP, Exact(IPTTL, 0)}, owed(TTLExceeded)},
		Flow{TableRouterRoute, prioGuard, []Match{isIP, Exact(IPTTL, 1)}, owed(TTLExceeded)},
		Flow{TableRouterRoute, prioMiss, nil, owed(NoRoute)},
		Flow{TableRouterPath, prioMiss, nil, owed(NoRoute)}, // no path is alive

		Flow{Table: TableDrop, Priority: prioMiss},
		// Does nothing, in a way that does not read as a drop.
		Flow{TableForeign, prioMiss, nil, []Action{Load{All(RegNextHop), 0}}},
	)
	if node.MTU > 0 {
		out = append(out,
			Flow{TableSwitchOutput, prioNormal, []Match{isIP}, []Action{
				CheckLarger{uint16(node.MTU + ethernetHeader), BitsTooLarge},
				Goto{TableTunnel},
			}},
			Flow{TableTunnel, prioNormal, []Match{Masked(RegRouter, 1<<BitsTooLarge.Ofs, 1<<BitsTooLarge.Ofs), isIP}, []Action{
				// Not by way of the table drop: Open vSwitch counts the packets of
				// both outcomes of the check in what lies behind either.
				LimitTo{MeterErrors}, Punt{TooLarge},
			}},
		)
	}
	return out
}

// arpReplyActions turn an ARP request, whose target's MAC the neighbour table
// has put in place of the destination, into the reply (RFC 826).
var arpReplyActions = []Action{
	Move{All(ARPSha), All(ARPTha)},
	Move{All(ARPSpa), All(ARPTpa)},
	Move{All(EthDst), All(ARPSha)},
	Move{All(RegNextHop), All(ARPSpa)},
	Move{All(EthSrc), All(EthDst)},
	Move{All(ARPSha), All(EthSrc)},
	Load{All(ARPOp), arpReply},
}

// echoReplyActions turn an ICMP echo request to a router into the reply
// (RFC 792), which the router then routes like any packet.
var echoReplyActions = []Action{
	Move{All(IPDst), All(RegNextHop)},
	Move{All(IPSrc), All(IPDst)},
	Move{All(RegNextHop), All(IPSrc)},
	Load{All(ICMPType), 0},
	Load{All(IPTTL), 255},
	Goto{TableRouterRoute},
}
