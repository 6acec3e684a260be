package topology

import (
	"iter"
	"strconv"
)

// The indexes of a Model: keys that find entities by something else than their
// names. indexes and indexed are each other's inverse; an index is kept as the
// holders of a claim.

// indexes yields the keys of the indexes that lead to e.
func indexes(e Entity) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		switch e := e.(type) {
		case Switch:
			yield(Key{Kind: KindDatapath, Name: decimal(e.ID)})
		case Router:
			yield(Key{Kind: KindDatapath, Name: decimal(e.ID)})
		case SwitchPort:
			_ = yield(Key{Kind: KindPortName, Name: e.Name}) &&
				yield(Key{KindPortAt, e.Switch, decimal(e.ID())}) &&
				(!e.Outer() || yield(Key{Kind: KindOuterPorts, Name: e.Switch})) &&
				(e.Outer() || e.Peer == "" || yield(Key{Kind: KindJoinedPorts, Name: e.Switch}))
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
	}
	return claim{}, false
}

// PortAt returns the key that finds the port with an id in a switch.
func PortAt(sw string, id uint16) Key { return Key{KindPortAt, sw, decimal(id)} }

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
