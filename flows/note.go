package flows

import (
	"net/netip"

	"tuplenet/internal/topology"
)

// Note is what a rule says beside its flows: something that the topology asks
// of this node and that no flow can do. The engine hands over what begins and
// what ends. Notes are comparable; several rules may say the same.
type Note interface{ note() }

type (
	// Problem says that an object cannot work as it is stored.
	Problem struct {
		Object topology.Key
		What   string
	}
	// Carrier says that a static route of a router on chassis From, or on all
	// if it is empty, leads to a router that lives on chassis To alone: the
	// way between them is to be watched.
	Carrier struct{ From, To string }
	// Destination says that packets from this node go to a chassis: a tunnel
	// has to lead there.
	Destination struct{ Chassis string }
	// Gateway says that a static route leads to a machine of the physical
	// network by way of this node, whose MAC is wanted before packets are.
	Gateway struct {
		Switch string // that leads there
		IP     netip.Addr
	}
	// Address says that this node answers for an address on the physical
	// network behind the OpenFlow port.
	Address struct {
		OFPort uint32
		Switch string // that the port belongs to
		IP     netip.Addr
		MAC    topology.MAC
		Bits   int // prefix length of the network, if it is a router port's own address; else 0
	}
	// Translated says that this node translates connections from or to an
	// external address, and keeps them in a zone of connection tracking.
	Translated struct {
		Router string
		Zone   uint16
		Type   topology.NATType
		Net    netip.Prefix // internal
		Addr   netip.Addr   // external
	}
)

func (Problem) note()     {}
func (Carrier) note()     {}
func (Destination) note() {}
func (Gateway) note()     {}
func (Address) note()     {}
func (Translated) note()  {}
