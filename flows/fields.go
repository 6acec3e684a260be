package flows

import "fmt"

// Field is something that a flow can match or change: a header field, a field
// of the packet's metadata, or a register. The order is the order of matches
// in a flow; a field stands behind those it presupposes (nw_dst behind
// eth_type), as OpenFlow wants it.
type Field uint8

// The fields in use. How they are written on the wire is internal/ovs/openflow's
// business.
const (
	InPort Field = iota + 1 // OpenFlow port that the packet came in by
	Metadata
	Reg0
	Reg1
	Reg2
	Reg3
	Reg4
	Reg5
	Reg6
	Reg7
	XReg2 // reg4 and reg5 as one, reg4 above
	TunID
	TunDst       // IPv4 address that a packet came to in a tunnel; 0: by none
	TunMetadata0 // TupleNet's Geneve option
	CTState
	EthDst
	EthSrc
	EthType
	IPProto
	IPTTL
	IPSrc
	IPDst
	ICMPType
	ICMPCode
	ARPOp
	ARPSpa
	ARPTpa
	ARPSha
	ARPTha

	// Behind the others, though it is metadata: a field's number is part of
	// cookies.
	TunSrc // IPv4 address that a packet came from in a tunnel; 0: by none
	VLAN   // the outer VLAN tag: its id (bits 0-11) and VLANPresent; 0 without one
	numFields
)

type fieldInfo struct {
	name  string // as Open vSwitch names it, see ovs-fields(7)
	width uint16 // bits
}

var fieldInfos = [numFields]fieldInfo{
	InPort:       {"in_port", 32},
	Metadata:     {"metadata", 64},
	Reg0:         {"reg0", 32},
	Reg1:         {"reg1", 32},
	Reg2:         {"reg2", 32},
	Reg3:         {"reg3", 32},
	Reg4:         {"reg4", 32},
	Reg5:         {"reg5", 32},
	Reg6:         {"reg6", 32},
	Reg7:         {"reg7", 32},
	XReg2:        {"xreg2", 64},
	TunID:        {"tun_id", 64},
	TunDst:       {"tun_dst", 32},
	TunMetadata0: {"tun_metadata0", 64},
	CTState:      {"ct_state", 32},
	EthDst:       {"eth_dst", 48},
	EthSrc:       {"eth_src", 48},
	EthType:      {"eth_type", 16},
	IPProto:      {"nw_proto", 8},
	IPTTL:        {"nw_ttl", 8},
	IPSrc:        {"ip_src", 32},
	IPDst:        {"ip_dst", 32},
	ICMPType:     {"icmp_type", 8},
	ICMPCode:     {"icmp_code", 8},
	ARPOp:        {"arp_op", 16},
	ARPSpa:       {"arp_spa", 32},
	ARPTpa:       {"arp_tpa", 32},
	ARPSha:       {"arp_sha", 48},
	ARPTha:       {"arp_tha", 48},
	TunSrc:       {"tun_src", 32},
	VLAN:         {"vlan_vid", 13},
}

// String returns Open vSwitch's name of the field.
func (f Field) String() string {
	if f > 0 && f < numFields && fieldInfos[f].name != "" {
		return fieldInfos[f].name
	}
	return fmt.Sprintf("field(%d)", uint8(f))
}

// Width returns the number of bits of the field.
func (f Field) Width() uint16 { return fieldInfos[f].width }

func (f Field) fullMask() Value {
	w := f.Width()
	switch {
	case w >= 128:
		return Value{^uint64(0), ^uint64(0)}
	case w > 64:
		return Value{1<<(w-64) - 1, ^uint64(0)}
	case w == 64:
		return Value{0, ^uint64(0)}
	}
	return Value{0, 1<<w - 1}
}

// What a packet carries along on its way through the tables, and what of it
// crosses the tunnel:
//
//	metadata   id of the switch or router that the packet is in; Geneve's VNI
//	reg0       next hop: the IPv4 address whose MAC is wanted
//	reg1       OpenFlow port of the tunnel that reg6 stands for, whether or not BFD
//	           finds it alive; 0: the destination is not known
//	reg2       the table that a traced packet was last seen in, see rules_trace.go
//	reg4       flags, 32 bits as in the Geneve option, see below
//	reg5       destination port id (bits 16-31), source port id (bits 0-15)
//	reg6       OpenFlow port of the tunnel to take; NoPort: none is alive
//	reg3       router that has routed the packet on this chassis, 0 for none (bits
//	           0-23); what a table asks of itself (bits 24-31)
//	reg7       port id by which the packet came into that router (bits 0-15);
//	           bit 16: the agent has translated what the ICMP error quotes
//	xreg2      reg4 and reg5 together are the 64 bits of the Geneve option
//
// The other registers are free.
const (
	RegDatapath = Metadata
	RegNextHop  = Reg0
	RegDirect   = Reg1
	RegFlags    = Reg4
	RegPorts    = Reg5
	RegTunnel   = Reg6
	RegSeen     = Reg2
	RegRouter   = Reg3
	RegEntry    = Reg7
	RegOption   = XReg2
)

// Parts of the registers above.
var (
	BitsDatapath = Bits{RegDatapath, 0, 24}
	BitsVNI      = Bits{TunID, 0, 24}
	BitsSrcPort  = Bits{RegPorts, 0, 16}
	BitsDstPort  = Bits{RegPorts, 16, 16}
	BitsRouter   = Bits{RegRouter, 0, 24}
	BitsTooLarge = Bits{RegRouter, 24, 1}
	BitsMember   = Bits{RegRouter, 25, 7} // of a pool of NAT addresses
	BitsEntry    = Bits{RegEntry, 0, 16}
	BitsMended   = Bits{RegEntry, 16, 1}
	BitsSequence = Bits{RegFlags, 8, 8}   // of a trace
	BitsCommand  = Bits{RegFlags, 16, 16} // that asked for the trace

	bitRedirected  = Bits{RegFlags, 2, 1}
	bitLoopback    = Bits{RegFlags, 0, 1}
	bitsTranslated = Bits{RegFlags, 3, 1}
	bitsArrival    = Bits{RegEntry, 0, 17} // BitsEntry and BitsMended
)

// Flags: the low byte of RegFlags, and of the flags in the Geneve option. The
// byte above holds a trace's sequence, the upper 16 bits its command id.
const (
	FlagLoopback   = 1 << 0 // may leave by the port that it came from
	FlagTraced     = 1 << 1
	FlagRedirected = 1 << 2
	FlagTranslated = 1 << 3
)

// VLANPresent is the bit of VLAN that says that there is a tag; its id may be 0.
const VLANPresent = 1 << 12

// Constants of the protocols that rules match on.
const (
	ethTypeIPv4 = 0x0800
	ethTypeARP  = 0x0806
	ethTypeIPv6 = 0x86dd
	// Of VLAN tags (IEEE 802.1Q): behind the outer one Open vSwitch sees an inner
	// one as what the frame holds.
	ethTypeVLAN    = 0x8100
	ethTypeService = 0x88a8

	protoICMP  = 1
	arpRequest = 1
	arpReply   = 2

	icmpUnreachable = 3
	icmpEcho        = 8
	icmpExceeded    = 11
	icmpParameter   = 12

	ethernetHeader = 14 // bytes

	ctReply   = 1 << 3 // bits of CTState, see ovs-fields(7)
	ctInvalid = 1 << 4
)

// NoPort is what Choose writes if no port is live: OFPP_NONE.
const NoPort = 0xffff
