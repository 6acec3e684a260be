package flows

import (
	"cmp"
	"net/netip"
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
// rewritten packet by packet (rules_floating.go); all else goes through
// connection tracking (rules_tracked.go).

// exit is a router port by which translated packets leave.
type exit struct {
	port topology.RouterPort
	sp   topology.SwitchPort
	sw   topology.Switch
}

// nat is a NAT rule that works, with what its flows need.
type nat struct {
	topology.NAT
	router   topology.Router
	exits    []exit
	floating bool // half of a floating IP
}

// in matches IP packets in the router.
func (n nat) in(more ...Match) []Match {
	return append([]Match{inDatapath(n.router.ID), isIP}, more...)
}

// address matches what goes to the external address, source what comes from the
// internal ones.
func (n nat) address() []Match { return n.in(Exact(IPDst, ipv4(n.XlateIP))) }
func (n nat) source() []Match  { return n.in(prefixMatch(IPSrc, n.Net)...) }

// leaving matches what leaves by an exit.
func (e exit) leaving() Match { return toPort(e.port.ID()) }

// arriving matches what has come by an exit.
func (e exit) arriving() Match { return Masked(RegEntry, uint64(e.port.ID()), 1<<BitsEntry.N-1) }

// backInside matches what was sent from inside to an external address.
var backInside = Masked(RegFlags, FlagTranslated, FlagTranslated)

// mac is the MAC of the external address on the switch of an exit.
func (n nat) mac(e exit) topology.MAC {
	if n.XlateIP == e.port.Net.Addr() {
		return e.port.MAC
	}
	return topology.MACFromIP(n.XlateIP)
}

// natRule makes the flows of one rule: the external address on the switches
// outside, and on the chassis of the router the translation.
func natRule(r *Reader, rule topology.NAT) ([]Flow, []Note) {
	n, problem, ok := readNAT(r, rule)
	switch {
	case problem != "":
		return nil, []Note{Problem{rule.Key(), problem}}
	case !ok:
		return nil, nil
	}
	out, notes := external(r, n)
	if !r.Here(n.router) || !r.Reaches(n.router.Key()) {
		return out, notes
	}
	out = append(out, Flow{TableRouterAdmit, prioNormal, n.address(), []Action{Goto{TableRouterLocal}}})
	switch {
	case n.floating && n.Type == topology.DNAT:
		out = append(out, floatingInside(n)...)
	case n.floating:
		out = append(out, floatingOutside(n)...)
	case n.Type == topology.DNAT:
		out = append(out, trackedInside(r, n)...)
	default:
		flows, problem := trackedOutside(r, n)
		if problem != "" {
			return nil, []Note{Problem{rule.Key(), problem}}
		}
		if wider, overlaps := r.Wider(rule); overlaps && !rule.Single() {
			notes = append(notes, Problem{rule.Key(), "its network lies in that of " + wider.Key().String() + "; the longer prefix counts"})
		}
		out = append(out, flows...)
	}
	if !n.floating {
		notes = append(notes, Translated{n.router.Name, natZone(n.router, n.Type), n.Type, n.Net, n.XlateIP})
	}
	return out, notes
}

// readNAT reads what a rule needs. If the rule cannot work, ok is false, and
// problem says why if that is the rule's fault.
func readNAT(r *Reader, rule topology.NAT) (n nat, problem string, ok bool) {
	n.NAT = rule
	if n.router, ok = r.Router(rule.Router); !ok {
		return n, "", false
	}
	if !topology.IsUnicast(rule.XlateIP) {
		return n, "its external address " + rule.XlateIP.String() + " is no machine's", false
	}
	if rule.Type == topology.DNAT && !rule.Single() {
		return n, "a dnat rule translates to one address, not to " + rule.Net.String(), false
	}
	var owner topology.NAT
	if n.floating, owner = floatingIP(r, rule); !n.floating && owner.Router != "" {
		return n, "its external address " + rule.XlateIP.String() + " is the floating IP of " + owner.Net.Addr().String(), false
	}
	for _, port := range r.RouterPorts(rule.Router) {
		sp, sw, ok := r.SwitchOf(port)
		if ok && (port.Net.Contains(rule.XlateIP) || r.LeadsOut(sw.Name)) {
			n.exits = append(n.exits, exit{port, sp, sw})
		}
	}
	if len(n.exits) == 0 {
		return n, "its external address " + rule.XlateIP.String() +
			" is in the network of no port of the router, and none of them leads to the physical network", false
	}
	is := "its external address " + rule.XlateIP.String() + " is "
	if route, ok := r.RouteBy(rule); ok {
		return n, is + "the next hop of " + route.Key().String(), false
	}
	for _, e := range n.exits {
		if !e.port.Net.Contains(rule.XlateIP) {
			continue
		}
		if !topology.IsHost(rule.XlateIP, e.port.Net) {
			return n, is + "no machine's, but that of the network " + e.port.Net.Masked().String() + " or its broadcast address", false
		}
		if other, taken := r.PortWith(e.sw.Name, rule.XlateIP); taken && other != e.sp {
			return n, is + "that of " + other.Key().String(), false
		}
	}
	return n, "", true
}

// floatingIP reports whether a rule is half of a floating IP. If it is not, but
// has the external address of one, owner is that one's dnat rule.
func floatingIP(r *Reader, rule topology.NAT) (yes bool, owner topology.NAT) {
	dnat, ok := r.DNAT(rule)
	if !ok || !dnat.Single() || !r.HasRule(dnat, topology.SNAT) {
		return false, topology.NAT{}
	}
	return rule.Net.Masked() == dnat.Net.Masked(), dnat
}

// external makes the external address known in the switches of the exits: its
// MAC, and the way to the router. Where a switch leads to the physical network
// only the router's own chassis does it: there may be others with the address.
func external(r *Reader, n nat) ([]Flow, []Note) {
	var out []Flow
	var notes []Note
	here := r.Here(n.router)
	known := map[string]bool{}
	for _, e := range n.exits {
		if known[e.sw.Name] || !e.port.Net.Contains(n.XlateIP) || n.XlateIP == e.port.Net.Addr() {
			continue // it is routed to the exit, or is known as the exit's own
		}
		if !here && r.LeadsOut(e.sw.Name) {
			continue
		}
		if !r.Reaches(e.sw.Key()) {
			continue
		}
		way, there, ok := deliver(r, e.sp)
		notes = append(notes, there...)
		if !ok {
			continue
		}
		known[e.sw.Name] = true
		mac := n.mac(e)
		out = append(out, resident(r, e.sw, n.XlateIP, mac)...)
		if !r.LeadsOut(e.sw.Name) {
			// It may stand in no block.
			out = append(out, connected(r, e.sw, prioNormal, netip.PrefixFrom(n.XlateIP, n.XlateIP.BitLen()), passConnected)...)
			out = append(out, Flow{TableSwitchARP, prioNormal + 1, where(asksIn(e.sw), Exact(ARPTpa, ipv4(n.XlateIP))), []Action{Goto{TableSwitchTarget}}})
		}
		out = append(out, Flow{TableSwitchLookup, prioNormal, []Match{inDatapath(e.sw.ID), Exact(EthDst, mac.Uint64())},
			append([]Action{setDstPort(e.sp.ID())}, way...)})
		if i, ok := r.WayOut(e.sw.Name); ok {
			notes = append(notes, Address{i.OFPort, e.sw.Name, n.XlateIP, mac, 0})
		}
	}
	return out, notes
}

// icmpErrors are the types of ICMP messages that quote a packet.
var icmpErrors = []uint64{icmpUnreachable, icmpExceeded, icmpParameter}

func icmpError(typ uint64) []Match { return []Match{Exact(IPProto, protoICMP), Exact(ICMPType, typ)} }

// poolOf returns the snat rules that work for n's network, ordered by address,
// without those that make a floating IP. The source's address decides which of
// them it is translated by.
func poolOf(r *Reader, n nat) []topology.NAT {
	var pool []topology.NAT
	for _, rule := range r.NATs(n.NAT) {
		if rule.Type != topology.SNAT {
			continue
		}
		if o, _, ok := readNAT(r, rule); ok && !o.floating {
			pool = append(pool, rule)
		}
	}
	slices.SortFunc(pool, func(a, b topology.NAT) int {
		return cmp.Or(a.XlateIP.Compare(b.XlateIP), cmp.Compare(a.Name, b.Name))
	})
	return pool
}
