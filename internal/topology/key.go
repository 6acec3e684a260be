package topology

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Kind tells what sort of thing a Key names.
type Kind uint8

// The kinds that the store holds, then the kinds that only this node knows,
// then the indexes of a Model (see Model.Get).
const (
	KindSwitch Kind = iota + 1
	KindSwitchPort
	KindRouter
	KindRouterPort
	KindStaticRoute
	KindNAT
	KindChassis
	KindPresence
	KindContender
	KindAbsence
	KindBinding

	KindNode
	KindInterface
	KindTunnel
	KindNeighbour
	KindHostStack
	KindDemand

	// KindPortName finds a switch port by its bare name, which is what an
	// interface's iface-id and a router port's peer hold.
	KindPortName
	// KindRouterPortName finds a router port by its bare name, which is what
	// a switch port's peer holds.
	KindRouterPortName
	// KindRouterNet finds the router port that a network is connected
	// through: Parent is the router, Name the masked prefix. Several ports
	// may have one network; the one created first is found.
	KindRouterNet
	// KindPortAt finds a switch port by its id: Parent is the switch, Name the
	// id in decimal.
	KindPortAt
	// KindDatapath finds a switch or router by its id: Name is the id in decimal.
	KindDatapath
	// KindNATRule finds a NAT rule by what it does, see NAT.Rule.
	KindNATRule
	// KindDNAT finds the dnat rule of an external address: Parent is the
	// router, Name the address.
	KindDNAT
	// KindRouterPortAt finds a router port by its id: Parent is the router, Name
	// the id in decimal.
	KindRouterPortAt
	// KindPortMAC finds a switch port by its MAC: Parent is the switch, Name the
	// MAC.
	KindPortMAC

	// The indexes from here on find several entities, see Model.List.

	// KindRouterPorts lists the ports of the router Name.
	KindRouterPorts
	// KindRoutes lists the static routes of a router that have one prefix:
	// Parent is the router, Name the masked prefix.
	KindRoutes
	// KindNextHop lists the static routes of a router that have one next hop:
	// Parent is the router, Name the address.
	KindNextHop
	// KindNATs lists the NAT rules of a router that have one internal network:
	// Parent is the router, Name the masked prefix.
	KindNATs
	// KindNATAddress lists the NAT rules of a router that have one external
	// address: Parent is the router, Name the address.
	KindNATAddress
	// KindOuterPorts lists the ports of the switch Name that lead to the
	// physical network.
	KindOuterPorts
	// KindJoinedPorts lists the ports of the switch Name that name a router
	// port as their peer.
	KindJoinedPorts
	// KindBlock lists the ports of a switch whose addresses are in one block,
	// see Block: Parent is the switch, Name the block.
	KindBlock
	// KindPinned lists the routers that are pinned to the chassis Name, or
	// with an empty name those that are pinned to any.
	KindPinned
	// KindChildren lists the child ports of the switch port with the bare name
	// Name.
	KindChildren
	// KindOwned lists the switch ports of the owner Name.
	KindOwned
	// KindPool lists the ports of the switch Parent that were made in advance
	// for the node Name.
	KindPool
)

var kindNames = [...]string{
	KindSwitch:         "switch",
	KindSwitchPort:     "switch port",
	KindRouter:         "router",
	KindRouterPort:     "router port",
	KindStaticRoute:    "static route",
	KindNAT:            "NAT",
	KindChassis:        "chassis",
	KindPresence:       "presence of chassis",
	KindContender:      "contender for chassis",
	KindAbsence:        "absence of chassis",
	KindBinding:        "binding by chassis",
	KindNode:           "node",
	KindInterface:      "interface",
	KindTunnel:         "tunnel",
	KindNeighbour:      "neighbour",
	KindHostStack:      "host stack",
	KindDemand:         "demand for port",
	KindPortName:       "switch port name",
	KindRouterPortName: "router port name",
	KindRouterNet:      "connected network",
	KindPortAt:         "switch port id",
	KindDatapath:       "datapath id",
	KindNATRule:        "NAT rule",
	KindDNAT:           "dnat of address",
	KindRouterPortAt:   "router port id",
	KindPortMAC:        "switch port MAC",
	KindRouterPorts:    "ports of router",
	KindRoutes:         "routes of router",
	KindNextHop:        "next hop of router",
	KindNATs:           "NAT rules of router",
	KindNATAddress:     "NAT address of router",
	KindOuterPorts:     "outer ports of switch",
	KindJoinedPorts:    "router links of switch",
	KindBlock:          "ports of address block",
	KindPinned:         "routers pinned to chassis",
	KindChildren:       "children of switch port",
	KindOwned:          "ports of owner",
	KindPool:           "ports of pool",
}

// String returns the kind as people write it: "switch port".
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Stored reports whether entities of this kind come from the store (and not
// from this node).
func (k Kind) Stored() bool { return k >= KindSwitch && k <= KindBinding }

// Parent returns the kind that an entity of kind k hangs on, or 0 if it
// stands by itself.
func (k Kind) Parent() Kind {
	switch k {
	case KindSwitchPort:
		return KindSwitch
	case KindRouterPort, KindStaticRoute, KindNAT:
		return KindRouter
	}
	return 0
}

// Key names one entity. Parent is the name of the switch or router that it
// hangs on and is empty for everything that hangs on nothing. (Of a Binding it is
// the chassis, and Name has switch and port with a slash between.)
type Key struct {
	Kind   Kind
	Parent string
	Name   string
}

// String returns the key for people: "switch port LS-A/lsp-alice". Of a name that
// is none, as it holds control characters, a terminal is shown none of these.
func (k Key) String() string {
	if k.Parent == "" {
		return k.Kind.String() + " " + printable(k.Name)
	}
	return k.Kind.String() + " " + printable(k.Parent) + "/" + printable(k.Name)
}

func printable(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return strconv.Quote(name)
	}
	return name
}

// ParentKey returns the key of the switch or router that k hangs on, or the zero
// Key if k hangs on nothing.
func (k Key) ParentKey() Key { return Key{Kind: k.Kind.Parent(), Name: k.Parent} }

// MarshalText implements encoding.TextMarshaler: in JSON, as in logs, a key is
// what String returns.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Compare orders keys by kind, parent and name.
func (k Key) Compare(o Key) int {
	if k.Kind != o.Kind {
		return int(k.Kind) - int(o.Kind)
	}
	if c := strings.Compare(k.Parent, o.Parent); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// CheckName says why name cannot name an entity, or returns nil. A name is one
// element of a path in the store.
func CheckName(name string) error {
	switch {
	case strings.Contains(name, "/"):
		return fmt.Errorf(`invalid name %q: "/" is not allowed`, name)
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("invalid name %q: it is empty or contains only spaces", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("invalid name %q: control characters are not allowed", name)
	}
	return nil
}
