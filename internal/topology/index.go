package topology

import (
	"iter"
	"net/netip"
	"strconv"
)

// The indexes of a Model: keys that find entities by something else than their
// names. Indexes and indexed are each other's inverse; an index is kept as the
// holders of a claim.

// Indexes yields the keys of the indexes that lead to e, but for KindPortMAC,
// KindRouterPortAt, KindOwned and KindPool, which nobody follows.
func Indexes(e Entity) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		switch e := e.(type) {
		case Switch:
			yield(Key{Kind: KindDatapath, Name: decimal(e.ID)})
		case Router:
			_ = yield(Key{Kind: KindDatapath, Name: decimal(e.ID)}) &&
				(e.Chassis == "" || yield(Key{Kind: KindPinned, Name: e.Chassis}) && yield(Key{Kind: KindPinned}))
		case SwitchPort:
			_ = yield(Key{Kind: KindPortName, Name: e.Name}) &&
				yield(Key{KindPortAt, e.Switch, decimal(e.ID())}) &&
				(e.Outer() || yield(BlockOf(e))) &&
				(!e.Outer() || yield(Key{Kind: KindOuterPorts, Name: e.Switch})) &&
				(e.Outer() || e.Peer == "" || yield(Key{Kind: KindJoinedPorts, Name: e.Switch})) &&
				(e.Parent == "" || yield(Key{Kind: KindChildren, Name: e.Parent}))
		case RouterPort:
			_ = yield(Key{Kind: KindRouterPortName, Name: e.Name}) &&
				yield(Key{KindRouterNet, e.Router, e.Net.Masked().String()}) &&
				yield(Key{Kind: KindRouterPorts, Name: e.Router})
		case StaticRoute:
			_ = yield(Key{KindRoutes, e.Router, e.Net.Masked().String()}) &&
				yield(Key{KindNextHop, e.Router, e.NextHop.String()})
		case NAT:
			_ = yield(e.Rule(e.Type)) &&
				(e.Type != DNAT || yield(Key{KindDNAT, e.Router, e.XlateIP.String()})) &&
				yield(Key{KindNATs, e.Router, e.Net.Masked().String()}) &&
				yield(Key{KindNATAddress, e.Router, e.XlateIP.String()})
		}
	}
}

// indexed returns the claim whose holders an index's key finds.
func indexed(key Key) (claim, bool) {
	switch key.Kind {
	case KindPortName:
		return claim{claimPortName, key.Name, 0}, true
	case KindRouterPortName:
		return claim{claimRouterPortName, key.Name, 0}, true
	case KindRouterNet:
		return claim{claimRouterNet, key.Parent + " " + key.Name, 0}, true
	case KindPortAt:
		return claim{claimPortID, key.Parent, number(key.Name)}, true
	case KindRouterPortAt:
		return claim{claimRouterPortID, key.Parent, number(key.Name)}, true
	case KindPortMAC:
		mac, err := ParseMAC(key.Name)
		return claim{claimPortMAC, key.Parent, mac.Uint64()}, err == nil
	case KindDatapath:
		return claim{claimDatapath, "", number(key.Name)}, true
	case KindRouterPorts:
		return claim{claimRouterPort, key.Name, 0}, true
	case KindRoutes:
		return claim{claimRoutes, key.Parent + " " + key.Name, 0}, true
	case KindNATRule:
		return claim{claimNAT, key.Parent + " " + key.Name, 0}, true
	case KindDNAT:
		return claim{claimDNAT, key.Parent + " " + key.Name, 0}, true
	case KindNextHop:
		return claim{claimNextHop, key.Parent + " " + key.Name, 0}, true
	case KindNATs:
		return claim{claimNATs, key.Parent + " " + key.Name, 0}, true
	case KindNATAddress:
		return claim{claimNATAddress, key.Parent + " " + key.Name, 0}, true
	case KindOuterPorts:
		return claim{claimOuter, key.Name, 0}, true
	case KindJoinedPorts:
		return claim{claimJoined, key.Name, 0}, true
	case KindChildren:
		return claim{claimChild, key.Name, 0}, true
	case KindOwned:
		return claim{claimOwner, key.Name, 0}, true
	case KindPool:
		return claim{claimPool, key.Parent + " " + key.Name, 0}, true
	case KindBlock:
		net, err := netip.ParsePrefix(key.Name)
		if err != nil {
			return claim{}, false
		}
		return claim{claimBlock, key.Parent, ipv4(net.Addr())}, true
	case KindPinned:
		if key.Name == "" {
			return claim{claimPinnedAny, "", 0}, true
		}
		return claim{claimPinned, key.Name, 0}, true
	}
	return claim{}, false
}

// PortAt returns the key that finds the port with an id in a switch.
func PortAt(sw string, id uint16) Key { return Key{KindPortAt, sw, decimal(id)} }

// BlockOf returns the key that lists the ports around a port's address.
func BlockOf(p SwitchPort) Key { return Key{KindBlock, p.Switch, Block(p.IP).String()} }

// RouterPortAt returns the key that finds the port with an id in a router.
func RouterPortAt(router string, id uint16) Key { return Key{KindRouterPortAt, router, decimal(id)} }

// PortWithMAC returns the key that finds the port with a MAC in a switch.
func PortWithMAC(sw string, mac MAC) Key { return Key{KindPortMAC, sw, mac.String()} }

// Pinned returns the key that lists the routers which are pinned to a chassis,
// or to any if chassis is empty.
func Pinned(chassis string) Key { return Key{Kind: KindPinned, Name: chassis} }

// Datapath returns the key that finds the switch or router with an id.
func Datapath(id uint32) Key { return Key{Kind: KindDatapath, Name: decimal(id)} }

// Rule returns the key that finds the rule of n's router which translates
// between the same addresses as n, as type t.
func (n NAT) Rule(t NATType) Key {
	return Key{KindNATRule, n.Router, n.Net.Masked().String() + " " + string(t) + " " + n.XlateIP.String()}
}

func decimal[N uint16 | uint32](n N) string { return strconv.FormatUint(uint64(n), 10) }

// number is decimal's inverse; what is no number no entity has.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 1 << 63
	}
	return n
}
