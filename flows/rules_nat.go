package flows

import (
	"cmp"
	"slices"

	"tuplenet/internal/topology"
)

// NAT is done by the router that a rule belongs to, for what leaves by an exit:
// a port whose network the external address is in, or whose switch has an outer
// port. Nothing else is translated, so that virtual networks see each other's
// own addresses; but what came to an external address from inside is, as the
// answers would go astray.
//
// An snat and a dnat of the same two addresses make a floating IP, which is
// rewritten packet by packet; all else goes through connection tracking.

// exit is a router port by which translated packets leave.
type exit struct {
	port topology.RouterPort
	sp   topology.SwitchPort
	sw   topology.Switch
}

// Priorities among translations: what needs no connection, then ICMP errors,
// which belong to other packets' connections, then the longest prefix. prioReply
// stands behind them all.
const (
	prioFloating = 400
	prioRelated  = 300
	prioReply    = 1
)

func natPriority(bits int) uint16 { return uint16(10 + 2*bits) }

// natZone is the zone of a router's connections. Zone 0 is the host's own. Two
// routers whose ids are 65535 apart share one, which does no harm: addresses
// tell their connections apart.
func natZone(router topology.Router) uint16 { return uint16(1 + router.ID%0xffff) }

// natMAC is the MAC of an external address on the switch of an exit.
func natMAC(n topology.NAT, e exit) topology.MAC {
	if n.XlateIP == e.port.Net.Addr() {
		return e.port.MAC
	}
	return topology.MACFromIP(n.XlateIP)
}

// natRule makes the flows of one rule: the external address on the switches
// outside, and on the chassis of the router the translation.
func natRule(r *Reader, n topology.NAT) ([]Flow, []Note) {
	router, ok := r.Router(n.Router)
	if !ok {
		return nil, nil
	}
	if n.Type == topology.DNAT && !n.Single() {
		return nil, []Note{Problem{n.Key(), "a dnat rule translates to one address, not to " + n.Net.String()}}
	}
	floating, problem := floatingIP(r, n)
	if problem != "" {
		return nil, []Note{Problem{n.Key(), problem}}
	}
	exits := exitsOf(r, n)
	if len(exits) == 0 {
		return nil, []Note{Problem{n.Key(), "its external address " + n.XlateIP.String() +
			" is in the network of no port of the router, and none of them leads to the physical network"}}
	}
	var out []Flow
	var notes []Note
	for _, e := range exits {
		flows, said, problem := external(r, n, e)
		if problem != "" {
			return nil, []Note{Problem{n.Key(), problem}}
		}
		out, notes = append(out, flows...), append(notes, said...)
	}
	if !r.Here(router) {
		return out, nil
	}
	in := []Match{inDatapath(router.ID), isIP}
	address := where(in, Exact(IPDst, ipv4(n.XlateIP)))
	out = append(out, Flow{TableRouterAdmit, prioNormal, address, []Action{Goto{TableRouterLocal}}})
	switch {
	case floating && n.Type == topology.DNAT:
		out = append(out, floatingInside(in, n)...)
	case floating:
		out = append(out, floatingOutside(in, n, exits)...)
	default:
		out = append(out, tracked(r, router, n, exits)...)
		notes = append(notes, Translated{router.Name, natZone(router), n.Type, n.XlateIP})
	}
	return out, notes
}

// floatingIP reports whether the rule is half of a floating IP. A rule that
// shares the external address of one cannot work.
func floatingIP(r *Reader, n topology.NAT) (yes bool, problem string) {
	rules := r.NATsTo(n)
	for _, a := range rules {
		for _, b := range rules {
			if a.Type != topology.SNAT || b.Type != topology.DNAT || !a.Single() || a.Net.Addr() != b.Net.Addr() {
				continue
			}
			if n == a || n == b {
				return true, ""
			}
			return false, "its external address " + n.XlateIP.String() + " is the floating IP of " + a.Net.Addr().String()
		}
	}
	return false, ""
}

func exitsOf(r *Reader, n topology.NAT) []exit {
	var out []exit
	for _, port := range r.RouterPorts(n.Router) {
		sp, sw, ok := r.SwitchOf(port)
		if ok && (port.Net.Contains(n.XlateIP) || len(r.OuterPorts(sw.Name)) > 0) {
			out = append(out, exit{port, sp, sw})
		}
	}
	return out
}

// external makes the external address known in the switch of an exit: its MAC,
// and the way to the router.
func external(r *Reader, n topology.NAT, e exit) ([]Flow, []Note, string) {
	if !e.port.Net.Contains(n.XlateIP) || n.XlateIP == e.port.Net.Addr() {
		return nil, nil, "" // it is routed to the exit, or is known as the exit's own
	}
	if other, ok := r.PortWith(e.sw.Name, n.XlateIP); ok {
		return nil, nil, "its external address " + n.XlateIP.String() + " is that of " + other.Key().String()
	}
	way, ok := wayTo(r, e.sp)
	if !ok {
		return nil, nil, ""
	}
	mac, in := natMAC(n, e), inDatapath(e.sw.ID)
	flows := []Flow{
		{TableNeighbour, prioNormal, []Match{in, Exact(RegNextHop, ipv4(n.XlateIP))}, []Action{
			Load{All(EthDst), mac.Uint64()}, Goto{TableNeighbourDone},
		}},
		{TableSwitchLookup, prioNormal, []Match{in, Exact(EthDst, mac.Uint64())},
			append([]Action{setDstPort(e.sp.ID())}, way...)},
	}
	var notes []Note
	if i, ok := r.WayOut(e.sw.Name); ok {
		notes = append(notes, Address{i.OFPort, e.sw.Name, n.XlateIP, mac, 0})
	}
	return flows, notes, ""
}

// icmpErrors are the types of ICMP messages that quote a packet.
var icmpErrors = []uint64{icmpUnreachable, icmpExceeded, icmpParameter}

func icmpError(typ uint64) []Match {
	return []Match{Exact(IPProto, protoICMP), Exact(ICMPType, typ), Masked(RegEntry, 0, 1<<BitsMended.Ofs)}
}

// floatingInside rewrites the destination of what comes to a floating IP.
func floatingInside(in []Match, n topology.NAT) []Flow {
	address := where(in, Exact(IPDst, ipv4(n.XlateIP)))
	out := []Flow{{TableRouterLocal, prioFloating, address, []Action{
		Load{All(IPDst), ipv4(n.Net.Addr())}, Load{bitsTranslated, 1}, Goto{TableRouterRoute},
	}}}
	for _, typ := range icmpErrors {
		out = append(out, Flow{TableRouterLocal, prioFloating + 1, where(address, icmpError(typ)...), mend})
	}
	return out
}

// floatingOutside rewrites the source of what a floating IP's owner sends.
func floatingOutside(in []Match, n topology.NAT, exits []exit) []Flow {
	owner := where(in, Exact(IPSrc, ipv4(n.Net.Addr())))
	rewrite := Load{All(IPSrc), ipv4(n.XlateIP)}
	out := []Flow{{TableRouterNAT, prioFloating, where(owner, backInside), []Action{rewrite, Goto{TableRouterForward}}}}
	for _, e := range exits {
		leaving := where(owner, toPort(e.port.ID()))
		out = append(out, Flow{TableRouterNAT, prioFloating + 1, leaving,
			append([]Action{rewrite}, enterSwitch(e.sp, e.sw, natMAC(n, e))...)})
		// Whoever sends it, it may be about a packet to the floating IP.
		for _, typ := range icmpErrors {
			out = append(out, Flow{TableRouterNAT, prioFloating + 2,
				where(where(in, toPort(e.port.ID())), icmpError(typ)...), mend})
		}
	}
	return out
}

// backInside matches what was sent from inside to an external address.
var backInside = Masked(RegFlags, FlagTranslated, FlagTranslated)

// mend has the agent translate the packet that an ICMP error quotes.
var mend = []Action{LimitTo{MeterErrors}, Punt{QuotedAddress}}

// Ports that translated connections get: not those that a host gives to its
// own services.
const (
	minNATPort = 1024
	maxNATPort = 65535
)

// tracked translates by connections. Of several snat rules for one network,
// which make a pool, the source's address decides.
func tracked(r *Reader, router topology.Router, n topology.NAT, exits []exit) []Flow {
	in := []Match{inDatapath(router.ID), isIP}
	address := where(in, Exact(IPDst, ipv4(n.XlateIP)))
	zone := natZone(router)
	reply := Track{Zone: zone, Table: TableRouterOutside}
	var out []Flow
	add := func(t Table, priority uint16, match []Match, actions ...Action) {
		out = append(out, Flow{t, priority, match, actions})
	}
	// What connection tracking does not know goes no further.
	add(TableRouterInside, prioNormal, address, drop)
	for _, e := range exits {
		leaving := where(in, toPort(e.port.ID()))
		add(TableRouterOutside, prioNormal, where(leaving, Exact(IPSrc, ipv4(n.XlateIP))), enterSwitch(e.sp, e.sw, natMAC(n, e))...)
		for _, typ := range icmpErrors {
			add(TableRouterNAT, prioRelated, where(leaving, Exact(IPProto, protoICMP), Exact(ICMPType, typ)), reply)
		}
	}
	if n.Type == topology.DNAT {
		owner := Exact(IPSrc, ipv4(n.Net.Addr()))
		add(TableRouterLocal, prioGuard, address, Track{Zone: zone, Commit: true, Table: TableRouterInside,
			NAT: Translation{Type: topology.DNAT, Addr: n.Net.Addr()}})
		add(TableRouterNAT, prioReply, where(in, owner, backInside), reply)
		for _, e := range exits {
			add(TableRouterNAT, prioReply, where(in, owner, toPort(e.port.ID())), reply)
		}
		return out
	}
	add(TableRouterLocal, prioNormal-1, address, Track{Zone: zone, Table: TableRouterInside})
	source := prefixMatch(IPSrc, n.Net)
	translate := Track{Zone: zone, Commit: true, Table: TableRouterOutside,
		NAT: Translation{Type: topology.SNAT, Addr: n.XlateIP, MinPort: minNATPort, MaxPort: maxNATPort}}
	pool := poolOf(r, n)
	at := slices.Index(pool, n)
	first := []Action{translate}
	if len(pool) > 1 {
		first = []Action{Spread{HashIPSrc, uint16(len(pool)), BitsMember}, Goto{TableRouterPool}}
		member := Masked(RegRouter, uint64(at)<<BitsMember.Ofs, (1<<BitsMember.N-1)<<BitsMember.Ofs)
		add(TableRouterPool, natPriority(n.Net.Bits()), where(in, append(source, member)...), translate)
	}
	if at == 0 {
		add(TableRouterNAT, natPriority(n.Net.Bits()), where(where(in, backInside), source...), first...)
		for _, e := range exits {
			add(TableRouterNAT, natPriority(n.Net.Bits())+1, where(where(in, toPort(e.port.ID())), source...), first...)
		}
	}
	return out
}

// maxPool is how many addresses a pool can have: what fits into BitsMember.
const maxPool = 1 << 7

// poolOf returns the snat rules for n's network, ordered by address, without
// those that make a floating IP.
func poolOf(r *Reader, n topology.NAT) []topology.NAT {
	var pool []topology.NAT
	for _, o := range r.NATs(n) {
		if o.Type != topology.SNAT {
			continue
		}
		if floating, problem := floatingIP(r, o); !floating && problem == "" {
			pool = append(pool, o)
		}
	}
	slices.SortFunc(pool, func(a, b topology.NAT) int { return cmp.Or(a.XlateIP.Compare(b.XlateIP), cmp.Compare(a.Name, b.Name)) })
	return pool[:min(len(pool), maxPool)]
}
