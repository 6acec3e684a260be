package explain

import (
	"fmt"
	"math/bits"
	"strings"

	"tuplenet/flows"
)

// Match says which packets take a flow.
func (n Names) Match(f *flows.Flow) string {
	m := matcher{names: n}
	for _, one := range f.Match {
		if one.Field == flows.RegDatapath {
			m.datapath = uint32(one.Value.Lo)
		}
	}
	var words []string
	for _, one := range f.Match {
		if w := m.word(one); w != "" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "any"
	}
	return strings.Join(words, ", ")
}

// matcher says what the matches of one flow mean.
type matcher struct {
	names    Names
	datapath uint32 // that the flow is about; 0: any
}

func (m matcher) word(one flows.Match) string {
	v, mask := one.Value.Lo, one.Mask.Lo
	switch one.Field {
	case flows.InPort:
		return "in " + m.names.ofport(uint32(v))
	case flows.RegDatapath:
		return m.names.datapath(uint32(v))
	case flows.RegPorts:
		return m.ports(v, mask)
	case flows.RegFlags:
		return flags(v, mask)
	case flows.RegTunnel:
		return "via " + m.names.ofport(uint32(v))
	case flows.RegDirect:
		if v == 0 {
			return "no tunnel known"
		}
		return "known " + m.names.ofport(uint32(v))
	case flows.RegRouter:
		return m.router(v, mask)
	case flows.RegEntry:
		return m.entry(v, mask)
	case flows.TunDst:
		if v == 0 {
			return "out of no tunnel"
		}
	case flows.RegNextHop:
		return "next hop " + address(v)
	case flows.RegSeen:
		return "not yet shown"
	case flows.CTState:
		return trackedWord(v, mask)
	case flows.EthDst, flows.EthSrc:
		return m.mac(one)
	case flows.ARPSha:
		return "sender MAC " + m.names.mac(m.datapath, v)
	case flows.VLAN:
		return vlan(one)
	case flows.EthType:
		return etherTypes.word(v)
	case flows.IPProto:
		return protocols.word(v)
	case flows.ARPOp:
		return operations.word(v)
	}
	if name, ok := addressNames[one.Field]; ok {
		return name + " " + prefix(v, mask)
	}
	if one.IsExact() {
		return fmt.Sprintf("%s %d", fieldName(flows.All(one.Field)), v)
	}
	return fmt.Sprintf("%s %#x/%#x", fieldName(flows.All(one.Field)), v, mask)
}

// ports are the port that a packet came from, in the lower half, and the one
// that it goes to.
func (m matcher) ports(v, mask uint64) string {
	var words []string
	if mask&0xffff != 0 {
		words = append(words, "from "+m.names.port(m.datapath, uint16(v)))
	}
	if mask>>16 != 0 {
		words = append(words, "to "+m.names.port(m.datapath, uint16(v>>16)))
	}
	return strings.Join(words, ", ")
}

func (m matcher) router(v, mask uint64) string {
	var words []string
	part := func(b flows.Bits) (uint64, bool) {
		all := uint64(1<<b.N-1) << b.Ofs
		return v & all >> b.Ofs, mask&all != 0
	}
	if id, ok := part(flows.BitsRouter); ok && id == 0 {
		words = append(words, "not routed")
	} else if ok {
		words = append(words, "routed by "+m.names.datapath(uint32(id)))
	}
	if large, ok := part(flows.BitsTooLarge); ok && large == 1 {
		words = append(words, "too large for the tunnel")
	} else if ok {
		words = append(words, "not too large for the tunnel")
	}
	if member, ok := part(flows.BitsMember); ok {
		words = append(words, fmt.Sprintf("share %d", member))
	}
	return strings.Join(words, ", ")
}

func (m matcher) entry(v, mask uint64) string {
	var words []string
	if mask&0xffff != 0 {
		words = append(words, "came by "+m.names.port(m.datapath, uint16(v)))
	}
	if mended := uint64(1) << flows.BitsMended.Ofs; mask&mended != 0 && v&mended != 0 {
		words = append(words, "mended")
	} else if mask&mended != 0 {
		words = append(words, "not mended")
	}
	return strings.Join(words, ", ")
}

func (m matcher) mac(one flows.Match) string {
	side := "to"
	if one.Field == flows.EthSrc {
		side = "from"
	}
	const group = 1 << 40 // the bit of multicast and broadcast
	switch {
	case one.Mask.Lo == group && one.Value.Lo == group:
		return side + " many"
	case one.IsExact() && one.Value.Lo == 0:
		return side + " no MAC"
	case one.IsExact():
		return side + " MAC " + m.names.mac(m.datapath, one.Value.Lo)
	}
	return fmt.Sprintf("%s MAC %s/%s", side, m.names.mac(0, one.Value.Lo), m.names.mac(0, one.Mask.Lo))
}

// vlan says which VLAN tag a packet has to have.
func vlan(one flows.Match) string {
	switch v := one.Value.Lo; {
	case one.IsExact() && v == 0, one.Mask.Lo == flows.VLANPresent && v == 0:
		return "no VLAN tag"
	case one.IsExact():
		return fmt.Sprintf("VLAN tag %d", v&^flows.VLANPresent)
	}
	return "a VLAN tag"
}

// words name the values of a field.
type words struct {
	field string
	names map[uint64]string
}

func (w words) word(v uint64) string {
	if name, ok := w.names[v]; ok {
		return name
	}
	return fmt.Sprintf("%s %#x", w.field, v)
}

var (
	etherTypes = words{"ethertype", map[uint64]string{0x0800: "ip", 0x0806: "arp", 0x86dd: "ipv6", 0x8100: "two VLAN tags", 0x88a8: "two VLAN tags (802.1ad)"}}
	protocols  = words{"protocol", map[uint64]string{1: "icmp", 6: "tcp", 17: "udp"}}
	operations = words{"operation", map[uint64]string{1: "request", 2: "reply"}}
)

// addressNames name the fields that hold IPv4 addresses.
var addressNames = map[flows.Field]string{
	flows.TunDst: "tunnelled to",
	flows.TunSrc: "tunnelled from",
	flows.IPSrc:  "src",
	flows.IPDst:  "dst",
	flows.ARPSpa: "sender",
	flows.ARPTpa: "target",
}

// prefix writes an address, or a network.
func prefix(v, mask uint64) string {
	ones := bits.LeadingZeros32(^uint32(mask))
	switch {
	case ones == 32:
		return address(v)
	case uint32(mask)<<ones == 0:
		return fmt.Sprintf("%s/%d", address(v), ones)
	}
	return address(v) + "/" + address(mask)
}

// trackedWord says what connection tracking has to have found, see
// ovs-fields(7).
func trackedWord(v, mask uint64) string {
	var words []string
	for bit, word := range [...]string{"new", "established", "related", "reply", "invalid", "tracked"} {
		switch {
		case mask>>bit&1 == 0:
		case v>>bit&1 == 1:
			words = append(words, word)
		default:
			words = append(words, "not "+word)
		}
	}
	return "connection " + strings.Join(words, " ")
}

// fieldNames name fields, or parts of them, for people.
var fieldNames = map[flows.Bits]string{
	flows.All(flows.RegDatapath):  "datapath",
	flows.BitsDatapath:            "datapath",
	flows.BitsVNI:                 "VNI",
	flows.All(flows.TunMetadata0): "Geneve option",
	flows.All(flows.RegOption):    "option",
	flows.All(flows.RegNextHop):   "next hop",
	flows.All(flows.RegDirect):    "known tunnel",
	flows.All(flows.RegTunnel):    "tunnel",
	flows.BitsSrcPort:             "from",
	flows.BitsDstPort:             "to",
	flows.BitsRouter:              "router",
	flows.BitsEntry:               "entry port",
	flows.BitsTooLarge:            "too large",
	flows.BitsMember:              "share",
	flows.All(flows.InPort):       "in port",
	flows.All(flows.EthSrc):       "source MAC",
	flows.All(flows.EthDst):       "destination MAC",
	flows.All(flows.IPSrc):        "src",
	flows.All(flows.IPDst):        "dst",
	flows.All(flows.IPTTL):        "ttl",
	flows.All(flows.ICMPType):     "icmp type",
	flows.All(flows.ICMPCode):     "icmp code",
	flows.All(flows.ARPOp):        "operation",
	flows.All(flows.ARPSpa):       "sender",
	flows.All(flows.ARPTpa):       "target",
	flows.All(flows.ARPSha):       "sender MAC",
	flows.All(flows.ARPTha):       "target MAC",
}

func fieldName(b flows.Bits) string {
	if name, ok := fieldNames[b]; ok {
		return name
	}
	if b == flows.All(b.Field) {
		return b.Field.String()
	}
	return fmt.Sprintf("%s[%d..%d]", b.Field, b.Ofs, b.Ofs+b.N-1)
}
