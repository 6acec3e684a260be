package flows

import (
	"slices"

	"tuplenet/internal/topology"
)

// Connection tracking. Each router has two zones, one for each type of rule,
// as a connection can be translated once in a zone: what comes from inside to a
// dnat address has its destination translated by one and its source by the other.
//
//	to an external address    local ──snat zone──▶ inside ──dnat zone──▶ route
//	from inside               route ──dnat zone──▶ nat ──snat zone──▶ outside

// Priorities among translations: ICMP errors, which belong to other packets'
// connections, then the longest prefix.
const prioRelated = 300

func natPriority(bits int) uint16 { return uint16(10 + 2*bits) }

// natZone is the zone of a router's connections. Zone 0 is the host's own.
// Routers whose ids are 32767 apart share theirs, which does no harm: addresses
// tell their connections apart.
func natZone(router topology.Router, t topology.NATType) uint16 {
	zone := uint16(1 + 2*(router.ID%0x7fff))
	if t == topology.DNAT {
		zone++
	}
	return zone
}

// Ports that translated connections get: not those that a host gives to its
// own services.
const (
	minNATPort = 1024
	maxNATPort = 65535
)

// trackedInside leads what comes to the external address of a dnat rule to the
// internal one, and its answers back.
func trackedInside(r *Reader, n nat) []Flow {
	zone := natZone(n.router, topology.DNAT)
	translate := Track{Zone: zone, Commit: true, Table: TableRouterTranslated,
		NAT: Translation{Type: topology.DNAT, Addr: n.Net.Addr()}}
	var out []Flow
	if slices.ContainsFunc(r.NATsTo(n.NAT), func(o topology.NAT) bool { return o.Type == topology.SNAT }) {
		// It may be an answer to what was sent under the same address.
		out = append(out,
			Flow{TableRouterLocal, prioGuard, n.address(), []Action{
				Track{Zone: natZone(n.router, topology.SNAT), Table: TableRouterInside}}},
			Flow{TableRouterInside, prioGuard, n.address(), []Action{translate}})
	} else {
		out = append(out, Flow{TableRouterLocal, prioGuard, n.address(), []Action{translate}})
	}
	reply := []Action{Track{Zone: zone, Table: TableRouterNAT}}
	out = append(out,
		Flow{TableRouterTranslated, prioNormal, n.address(), []Action{drop}}, // the zone is full
		Flow{TableRouterReply, prioNormal, where(n.source(), backInside), reply})
	for _, e := range n.exits {
		out = append(out,
			Flow{TableRouterReply, prioNormal, where(n.source(), e.leaving()), reply},
			Flow{TableRouterNAT, prioRelated + 1, n.in(e.leaving(), Exact(IPSrc, ipv4(n.XlateIP))), enterSwitch(e.sp, e.sw, n.mac(e))})
		for _, typ := range icmpErrors {
			out = append(out, Flow{TableRouterReply, prioNormal, where(n.in(e.leaving()), icmpError(typ)...), reply})
		}
	}
	return out
}

// trackedOutside hides a network behind the external address of an snat rule,
// and leads the answers back. Of several rules for one network, which make a
// pool, the source's address decides.
func trackedOutside(r *Reader, n nat) (out []Flow, problem string) {
	pool := poolOf(r, n)
	at := slices.Index(pool, n.NAT)
	if at >= maxPool {
		return nil, "the addresses before it make a pool of 128, and no pool has more"
	}
	zone := natZone(n.router, topology.SNAT)
	translate := Track{Zone: zone, Commit: true, Table: TableRouterOutside,
		NAT: Translation{Type: topology.SNAT, Addr: n.XlateIP, MinPort: minNATPort, MaxPort: maxNATPort}}
	first := []Action{translate}
	if size := min(len(pool), maxPool); size > 1 {
		first = []Action{Spread{HashIPSrc, uint16(size), BitsMember}, Goto{TableRouterPool}}
		member := Masked(RegRouter, uint64(at)<<BitsMember.Ofs, (1<<BitsMember.N-1)<<BitsMember.Ofs)
		out = append(out, Flow{TableRouterPool, natPriority(n.Net.Bits()), where(n.source(), member), []Action{translate}})
	}
	add := func(t Table, priority uint16, match []Match, actions ...Action) {
		out = append(out, Flow{t, priority, match, actions})
	}
	// What connection tracking does not know goes no further, and what it
	// cannot translate does not leave.
	add(TableRouterLocal, prioNormal-1, n.address(), Track{Zone: zone, Table: TableRouterInside})
	add(TableRouterInside, prioNormal, n.address(), drop)
	add(TableRouterOutside, prioUnknown, where(n.source(), backInside), drop)
	if at == 0 {
		add(TableRouterNAT, natPriority(n.Net.Bits()), where(n.source(), backInside), first...)
	}
	// What comes from outside to an internal address is answered under it.
	answered := append(n.source(), Masked(CTState, ctReply, ctReply|ctInvalid))
	for _, e := range n.exits {
		add(TableRouterAdmit, prioUnknown+1, where(n.in(prefixMatch(IPDst, n.Net)...), e.arriving()),
			Track{Zone: zone, Commit: true, Table: TableRouterRoute})
		add(TableRouterOutside, prioUnknown+1, where(answered, e.leaving()), Goto{TableRouterForward})
		if at == 0 {
			add(TableRouterNAT, natPriority(n.Net.Bits())+1, where(n.source(), e.leaving()), first...)
		}
		add(TableRouterOutside, prioNormal, n.in(e.leaving(), Exact(IPSrc, ipv4(n.XlateIP))), enterSwitch(e.sp, e.sw, n.mac(e))...)
		add(TableRouterOutside, prioUnknown, where(n.source(), e.leaving()), drop)
		for _, typ := range icmpErrors {
			add(TableRouterNAT, prioRelated, where(n.in(e.leaving()), icmpError(typ)...), Track{Zone: zone, Table: TableRouterOutside})
		}
	}
	return out, ""
}

// maxPool is how many addresses a pool can have: what fits into BitsMember.
const maxPool = 1 << 7
