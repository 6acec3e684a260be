package flows

// Reason says why a packet comes to the agent; it travels as the user data of
// the packet-in.
type Reason uint8

// The reasons. In brackets: the datapath that the packet is in, and what else
// it brings in its registers.
const (
	NoNeighbour   Reason = iota + 1 // nobody knows the MAC of the next hop (switch; next hop)
	NeighbourSaid                   // ARP from the physical network that teaches an address (switch)
	TTLExceeded                     // a router must not pass it on (router; port it came in by)
	NoRoute                         // a router has no way to its destination (router; port it came in by)
	TooLarge                        // for the tunnel (switch that it is in; router that it came through and port it came in by)
	QuotedAddress                   // an ICMP error whose quoted packet a floating IP has to translate (router)
	Wanted                          // no flows lead to its destination yet (switch or router; tunnel that it was sent by, if any)
	Traced                          // it is to be followed, and comes to each table's flows anew (all registers)
)

// String returns the reason as logs and metrics name it.
func (r Reason) String() string {
	switch r {
	case NoNeighbour:
		return "no_neighbour"
	case NeighbourSaid:
		return "neighbour_said"
	case TTLExceeded:
		return "ttl_exceeded"
	case NoRoute:
		return "no_route"
	case TooLarge:
		return "too_large"
	case QuotedAddress:
		return "quoted_address"
	case Wanted:
		return "wanted"
	case Traced:
		return "traced"
	}
	return "unknown"
}

// Meter names a meter of the bridge.
type Meter uint8

// The meters, by what they limit.
const (
	MeterErrors  Meter = 1 // packets that an ICMP error is owed for
	MeterWaiting Meter = 2 // packets that wait for ARP
	MeterARP     Meter = 3 // ARP of the physical network
	MeterWanted  Meter = 4 // packets to destinations without flows
	MeterTraced  Meter = 5 // packets that are followed
)

// MeterInfo says what a meter lets through.
type MeterInfo struct {
	Meter Meter
	Rate  uint32 // packets per second
	Burst uint32 // packets
}

// Meters lists the meters that the bridge has to have before the flows come.
var Meters = []MeterInfo{
	{MeterErrors, 200, 200},
	{MeterWaiting, 1000, 1000},
	{MeterARP, 500, 500},
	{MeterWanted, 1000, 1000},
	{MeterTraced, 10000, 10000}, // a traced packet comes to some 30 tables
}

// ID returns the meter's number in the bridge. Others may use meters, too;
// these are far from where they would begin.
func (m Meter) ID() uint32 { return 0x7e70 + uint32(m) }

// Hash names the fields of a packet that a choice depends on.
type Hash uint8

// The hashes, and below their names as Open vSwitch and HASH_FN have them.
const (
	HashIPDst Hash = iota
	HashEthSrc
	HashIPSrc
	HashSymmetricL4
	HashSymmetricL3L4
	HashSymmetricL3L4UDP
)

// Hashes are the names of hashes.
var Hashes = map[string]Hash{
	"nw_dst":             HashIPDst,
	"eth_src":            HashEthSrc,
	"nw_src":             HashIPSrc,
	"symmetric_l4":       HashSymmetricL4,
	"symmetric_l3l4":     HashSymmetricL3L4,
	"symmetric_l3l4+udp": HashSymmetricL3L4UDP,
}

// String returns the hash's name.
func (h Hash) String() string {
	for name, value := range Hashes {
		if value == h {
			return name
		}
	}
	return "unknown"
}
