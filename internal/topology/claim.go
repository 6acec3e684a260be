package topology

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// claim is something that only one entity may have: an id, an address, a name.
// Entities that make the same claim contend; the one that ranks first gets it
// and the others are ignored until it is free (see Model).
type claim struct {
	kind  claimKind
	scope string
	num   uint64
}

type claimKind uint8

const (
	claimDatapath claimKind = iota + 1 // switches and routers: one space of ids
	claimPortID                        // within a switch: low 16 bits of the address
	claimPortMAC                       // within a switch
	claimPortName                      // everywhere: an iface-id names a port by it
	claimRouterPortID
	claimRouterPortMAC
	claimRouterPortName
	claimRoute
	claimNAT
	claimTunnelIP
	claimDNAT // external addresses of a router that lead inside
	claimTag  // VLAN ids of the children of a port

	// From here on shared: several entities may make the claim and all count.
	// Such a claim only serves to find them.
	claimShared
	claimRouterNet  // ports of a router in one network
	claimRouterPort // ports of a router
	claimRoutes     // routes of a router with one prefix
	claimNextHop    // routes of a router with one next hop
	claimNATs       // NAT rules of a router with one internal network
	claimNATAddress // NAT rules of a router with one external address
	claimOuter      // ports of a switch that lead to the physical network
	claimJoined     // ports of a switch that name a router port
	claimBlock      // ports of a switch in one block of addresses
	claimPinned     // routers that are pinned to a chassis
	claimPinnedAny  // routers that are pinned at all
	claimChild      // children of a port
	claimOwner      // ports of one owner
	claimPool       // ports of a switch that were made for one node
	claimBinding    // bindings of one port
)

func (k claimKind) shared() bool { return k > claimShared }

// claims returns what e claims, in the order in which a conflict is reported.
func claims(e Entity) []claim {
	switch e := e.(type) {
	case Switch:
		return []claim{{claimDatapath, "", uint64(e.ID)}}
	case Router:
		own := []claim{{claimDatapath, "", uint64(e.ID)}}
		if e.Chassis != "" {
			own = append(own, claim{claimPinned, e.Chassis, 0}, claim{claimPinnedAny, "", 0})
		}
		return own
	case SwitchPort:
		own := []claim{
			{claimPortID, e.Switch, uint64(e.ID())},
			{claimPortMAC, e.Switch, e.MAC.Uint64()},
			{claimPortName, e.Name, 0},
		}
		if e.Outer() {
			own = append(own, claim{claimOuter, e.Switch, 0})
			return own
		}
		if e.Parent != "" {
			own = append(own, claim{claimTag, e.Parent, uint64(e.Tag)}, claim{claimChild, e.Parent, 0})
		}
		if e.Owner != "" {
			own = append(own, claim{claimOwner, e.Owner, 0})
		}
		if e.Pool != "" {
			own = append(own, claim{claimPool, e.Switch + " " + e.Pool, 0})
		}
		own = append(own, claim{claimBlock, e.Switch, ipv4(Block(e.IP).Addr())})
		if e.Peer != "" {
			own = append(own, claim{claimJoined, e.Switch, 0})
		}
		return own
	case RouterPort:
		own := []claim{
			{claimRouterPortID, e.Router, uint64(e.ID())},
			{claimRouterPortMAC, e.Router, e.MAC.Uint64()},
			{claimRouterPortName, e.Name, 0},
			{claimRouterPort, e.Router, 0},
		}
		if e.Peer != "" { // without one it leads nowhere
			own = append(own, claim{claimRouterNet, e.Router + " " + e.Net.Masked().String(), 0})
		}
		return own
	case StaticRoute:
		net := e.Router + " " + e.Net.Masked().String()
		return []claim{
			{claimRoute, fmt.Sprintf("%s %s %s", net, e.NextHop, e.OutPort), 0},
			{claimRoutes, net, 0},
			{claimNextHop, e.Router + " " + e.NextHop.String(), 0},
		}
	case NAT:
		net, address := e.Router+" "+e.Net.Masked().String(), e.Router+" "+e.XlateIP.String()
		own := []claim{
			{claimNAT, net + " " + string(e.Type) + " " + e.XlateIP.String(), 0},
			{claimNATs, net, 0},
			{claimNATAddress, address, 0},
		}
		if e.Type == DNAT && e.Single() {
			own = append(own, claim{claimDNAT, address, 0})
		}
		return own
	case Binding:
		return []claim{bindingOf(e.PortKey())}
	case Chassis:
		return []claim{{claimTunnelIP, "", ipv4(e.IP)}}
	}
	return nil
}

// bindingOf is what the bindings of a port claim.
func bindingOf(port Key) claim { return claim{claimBinding, port.Parent + "/" + port.Name, 0} }

func ipv4(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// describe says what e has in common with the entity that it lost the claim to.
func (c claim) describe(e, to Entity) string {
	switch c.kind {
	case claimDatapath:
		return fmt.Sprintf("id %d", c.num)
	case claimPortID:
		p, q := e.(SwitchPort), to.(SwitchPort)
		if p.IP != q.IP {
			return fmt.Sprintf("port id %d (addresses %s and %s agree in their low 16 bits; a switch wider than /16 cannot tell them apart)", c.num, p.IP, q.IP)
		}
		return "address " + p.IP.String()
	case claimRouterPortID:
		p, q := e.(RouterPort), to.(RouterPort)
		if p.Net.Addr() != q.Net.Addr() {
			return fmt.Sprintf("port id %d (addresses %s and %s agree in their low 16 bits)", c.num, p.Net.Addr(), q.Net.Addr())
		}
		return "address " + p.Net.Addr().String()
	case claimPortMAC:
		return "MAC " + e.(SwitchPort).MAC.String()
	case claimRouterPortMAC:
		return "MAC " + e.(RouterPort).MAC.String()
	case claimPortName, claimRouterPortName:
		return "name " + c.scope
	case claimRoute:
		return "prefix, next hop and output port"
	case claimNAT:
		return "networks and translation"
	case claimDNAT:
		return "external address " + e.(NAT).XlateIP.String()
	case claimTag:
		return fmt.Sprintf("tag %d at parent %s", c.num, c.scope)
	case claimTunnelIP:
		return "tunnel address " + e.(Chassis).IP.String()
	}
	return "claim"
}

// compareRank orders records that contend. The one that was created first
// stays, which every node and every restart sees alike. Of two chassis the one
// that registered last owns an address.
func compareRank(a, b *record) int {
	if ca, ok := a.entity.(Chassis); ok {
		if cb, ok := b.entity.(Chassis); ok {
			if c := cmp.Compare(cb.Tick, ca.Tick); c != 0 {
				return c
			}
		}
	}
	if c := cmp.Compare(a.created, b.created); c != 0 {
		return c
	}
	return a.key.Compare(b.key)
}
