package topology

import (
	"encoding/binary"
	"net/netip"
)

// MaxID is the largest id of a switch or router; ids travel as Geneve's 24-bit
// VNI. 0 is no id.
const MaxID = 1<<24 - 1

// Entity is one thing of the topology: Switch, SwitchPort, Router, RouterPort,
// StaticRoute, NAT, Chassis, Presence, Contender, Absence or Binding from the
// store, or Node, Interface, Tunnel, Neighbour, HostStack or Demand of this node. All are
// comparable values.
type Entity interface {
	// Key returns the entity's name, unique in the topology.
	Key() Key
}

// Stored is an entity that the store holds.
type Stored interface {
	Entity
	// Value returns the text that the store keeps under the entity's key.
	// Parse turns it back.
	Value() string
}

// Extra holds the pairs of a stored value that this version does not know, as
// "key=value,key=value" sorted by key, so that rewriting an object keeps what
// others wrote into it.
type Extra string

// Switch is a distributed logical switch.
type Switch struct {
	Name    string
	ID      uint32 // datapath id, 1 to MaxID; one space with the routers' ids
	Secured bool   // all its ports are, see SwitchPort.Secured
	Extra   Extra
}

// DatapathID returns the id of a switch or router, and 0 of anything else.
func DatapathID(e Entity) uint32 {
	switch e := e.(type) {
	case Switch:
		return e.ID
	case Router:
		return e.ID
	}
	return 0
}

// SwitchPort is a port of a logical switch. Either a workload's interface is
// plugged into it (its iface-id is the port's name), or a router port (Peer), or
// it is a child: its packets pass through the interface of another port (Parent)
// with a VLAN tag.
type SwitchPort struct {
	Switch  string
	Name    string
	IP      netip.Addr // IPv4; OuterIP for a port to the physical network
	MAC     MAC
	Peer    string // router port, or the bridge of an outer port; may be empty
	Chassis string // system-id of the chassis that the port is bound to, by its own value or else by a Binding; may be empty
	Parent  string // bare name of the port whose interface a child's packets pass through; empty: no child
	Tag     uint16 // VLAN id of a child there, 1 to MaxTag; 0: no child
	Secured bool   // only packets with its own MAC and address, and no VLAN tag, may come from it
	Owner   string // whose attachment it is, such as a container's, see docs/compat.md; may be empty
	Pool    string // the node that the port was made for in advance, to be owned by one of its workloads; may be empty
	Extra   Extra
}

// MaxTag is the largest VLAN id of IEEE 802.1Q.
const MaxTag = 4094

// Router is a logical router. It lives on every chassis, unless it is pinned
// to one.
type Router struct {
	Name    string
	ID      uint32 // datapath id, as Switch.ID
	Chassis string // system-id that the router is pinned to, or empty
	Extra   Extra
}

// RouterPort is a port of a logical router, plugged into the switch port Peer.
type RouterPort struct {
	Router string
	Name   string
	Net    netip.Prefix // the port's address with its host bits, and the prefix length
	MAC    MAC
	Peer   string // switch port; may be empty
	Extra  Extra
}

// StaticRoute sends what matches Net to NextHop through the router port
// OutPort.
type StaticRoute struct {
	Router  string
	Name    string
	Net     netip.Prefix // host bits are kept as they were written
	NextHop netip.Addr
	OutPort string
	Extra   Extra
}

// NATType tells which address a NAT rule translates.
type NATType string

// The two directions of a NAT rule.
const (
	SNAT NATType = "snat" // the source, on leaving the router
	DNAT NATType = "dnat" // the destination, on entering it
)

// NAT translates between addresses in Net, on the inside, and XlateIP, on the
// outside. For DNAT, Net is a single address.
type NAT struct {
	Router  string
	Name    string
	Net     netip.Prefix // internal
	XlateIP netip.Addr   // external
	Type    NATType
	Extra   Extra
}

// Chassis is a host that takes part, by its Open vSwitch system-id.
type Chassis struct {
	Name  string     // system-id
	IP    netip.Addr // tunnel address
	Tick  int64      // Unix seconds of the registration; of two records with one IP the larger counts
	MTU   int        // largest IP packet of a workload that fits into its tunnels, in bytes; 0 if unknown
	Extra Extra
}

// Presence says that a chassis' agent runs. It lasts a little longer than that:
// until its lease is over.
type Presence struct {
	Chassis string     // system-id
	IP      netip.Addr // tunnel address of the host
	Stopped bool       // the agent has been stopped, and may start again before the lease is over
}

// Contender says that a second host was refused to take part under the
// system-id of one that is alive.
type Contender struct {
	Chassis string     // system-id
	IP      netip.Addr // tunnel address of the host that was refused
}

// Absence says that a chassis is down: the living have noticed that its agent
// is not heard of any more. Its ports and its record stay.
type Absence struct {
	Chassis string // system-id
	Since   int64  // Unix seconds
}

// Binding says that a port is plugged in at a chassis, where that chassis may not
// write it into the port: etcd lets it write under its own name alone. It counts
// if the port's own value names no chassis and no peer, and no other binding of the
// port was created before. It goes when the interface does.
type Binding struct {
	Chassis string // system-id
	Switch  string
	Port    string
}

// Node is the host that the flows are compiled for. There is one, named by its
// system-id.
type Node struct {
	Chassis string
	IP      netip.Addr // tunnel address, as Chassis.IP
	MTU     int        // as Chassis.MTU, of this host
	Hash    string     // what chooses among equal routes: a name of flows.Hashes; empty for the default

	OnDemand bool // flows to remote ports come when they are wanted, see Demand
	Redirect bool // edges forward what this node cannot deliver itself
}

// Interface is a local interface of the integration bridge that names a switch
// port in external_ids:iface-id.
type Interface struct {
	Port   string // iface-id: the bare name of a switch port
	OFPort uint32 // OpenFlow port number, never 0
	Tag    uint16 // VLAN id of the port's packets there, if it is a child of the one that is plugged in; else 0
}

// Tunnel is a local tunnel port to another chassis.
type Tunnel struct {
	Chassis string // system-id of the far end
	OFPort  uint32 // OpenFlow port number, never 0
	Watched bool   // BFD runs over it, so that Open vSwitch knows whether it leads anywhere
}

// Neighbour is a machine of the physical network whose MAC this node has
// learned.
type Neighbour struct {
	Switch string // that leads there
	IP     netip.Addr
	MAC    MAC
}

// HostStack is the internal port of the integration bridge that leads to this
// host's own network stack.
type HostStack struct {
	OFPort uint32 // OpenFlow port number, never 0
	MAC    MAC
}

// Demand says that traffic from this node goes to a port on another chassis.
type Demand struct {
	Switch string
	Port   string
}

// Key implements Entity.
func (s Switch) Key() Key      { return Key{KindSwitch, "", s.Name} }
func (p SwitchPort) Key() Key  { return Key{KindSwitchPort, p.Switch, p.Name} }
func (r Router) Key() Key      { return Key{KindRouter, "", r.Name} }
func (p RouterPort) Key() Key  { return Key{KindRouterPort, p.Router, p.Name} }
func (r StaticRoute) Key() Key { return Key{KindStaticRoute, r.Router, r.Name} }
func (n NAT) Key() Key         { return Key{KindNAT, n.Router, n.Name} }
func (c Chassis) Key() Key     { return Key{KindChassis, "", c.Name} }
func (p Presence) Key() Key    { return Key{KindPresence, "", p.Chassis} }
func (c Contender) Key() Key   { return Key{KindContender, "", c.Chassis} }
func (a Absence) Key() Key     { return Key{KindAbsence, "", a.Chassis} }
func (b Binding) Key() Key     { return Key{KindBinding, b.Chassis, b.Switch + "/" + b.Port} }
func (n Node) Key() Key        { return Key{KindNode, "", ""} }
func (i Interface) Key() Key   { return Key{KindInterface, "", i.Port} }
func (t Tunnel) Key() Key      { return Key{KindTunnel, "", t.Chassis} }
func (n Neighbour) Key() Key   { return Key{KindNeighbour, n.Switch, n.IP.String()} }
func (h HostStack) Key() Key   { return Key{KindHostStack, "", ""} }
func (d Demand) Key() Key      { return Key{KindDemand, d.Switch, d.Port} }

// PortKey returns the key of the port that is bound.
func (b Binding) PortKey() Key { return Key{KindSwitchPort, b.Switch, b.Port} }

// PortID returns the 16-bit id that names an address's port within its switch
// or router: the low half of the IPv4 address. Ports of one switch whose
// addresses agree in it cannot be told apart.
func PortID(ip netip.Addr) uint16 {
	b := ip.As4()
	return binary.BigEndian.Uint16(b[2:])
}

// Block returns the 256 addresses around ip. Whether a switch has ports in a
// block at all can be said with one flow.
func Block(ip netip.Addr) netip.Prefix {
	p, _ := ip.Prefix(24)
	return p
}

// ID returns the port's id within its switch.
func (p SwitchPort) ID() uint16 { return PortID(p.IP) }

// ID returns the port's id within its router.
func (p RouterPort) ID() uint16 { return PortID(p.Net.Addr()) }

// Single reports whether the rule translates one internal address only.
func (n NAT) Single() bool { return n.Net.Bits() == n.Net.Addr().BitLen() }

// Outer reports whether the port leads to the physical network.
func (p SwitchPort) Outer() bool { return p.IP == OuterIP }

// CanHaveChildren reports whether packets of child ports may pass through the
// port's interface. It has to be a workload's: children have none, and other
// ports lead to a router or out.
func (p SwitchPort) CanHaveChildren() bool { return p.Peer == "" && p.Parent == "" && !p.Outer() }
