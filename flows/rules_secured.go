package flows

import "tuplenet/internal/topology"

// A secured port may send under its own MAC and its own address, and nothing
// else: IPv4 from the address, ARP that tells of both, and of other types what
// has no address. IPv6 has, and no port has one of those. A sender of 0.0.0.0 is
// taken for nobody: so does ARP ask whether an address is free (RFC 5227), and
// that is all it may do. A VLAN tag has no meaning to a switch, and none passes:
// of what stands behind two of them Open vSwitch sees no address, but who gets
// the frame may (Linux takes off tags that have no id, IEEE 802.1p), and beyond an
// outer port a tag leads into another network.

// secured lets pass what a secured port may send.
func secured(sw topology.Switch, port topology.SwitchPort) []Flow {
	own := []Match{inDatapath(sw.ID), fromPort(port.ID()), Exact(EthSrc, port.MAC.Uint64())}
	arp := where(own, isARP, Exact(ARPSha, port.MAC.Uint64()))
	pass := []Action{Goto{TableSwitchARP}}
	return []Flow{
		{TableSwitchSecurity, prioNormal, where(own, isIP, Exact(IPSrc, ipv4(port.IP))), pass},
		{TableSwitchSecurity, prioNormal, where(arp, Exact(ARPSpa, ipv4(port.IP))), pass},
		{TableSwitchSecurity, prioNormal, where(arp, Exact(ARPOp, arpRequest), Exact(ARPSpa, 0)), pass},
		{TableSwitchSecurity, prioNobody, own, pass},
	}
}

// impostors drops what tells of an address that is not the secured port's, or
// may hide one behind a tag.
func impostors(*Reader, topology.Node) []Flow {
	out := []Flow{{TableSwitchSecurity, prioGuard, []Match{tagged}, []Action{drop}}}
	for _, typ := range []uint64{ethTypeIPv4, ethTypeARP, ethTypeIPv6} {
		out = append(out, Flow{TableSwitchSecurity, prioBlock, []Match{Exact(EthType, typ)}, []Action{drop}})
	}
	return out
}
