package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// Probe describes a packet to be traced. What it leaves open is filled in from
// the topology, as the workload behind the port would do it.
type Probe struct {
	Port           string // switch port that sends it
	EthSrc, EthDst topology.MAC
	IPSrc, IPDst   netip.Addr
	To             string // switch port whose address is IPDst; empty: IPDst is given
	Via            string // router, or its address, that gets what leaves the switch; where there are several
	Proto          Proto  // default ICMP
	SrcPort        uint16 // of TCP and UDP; default 40000
	DstPort        uint16 // default 80, of UDP 53
	TTL            uint8  // default 64
	Size           int    // bytes of the IP packet; default: as few as needed
}

// Proto is a protocol that a probe can have.
type Proto string

// The protocols.
const (
	ICMP      Proto = "icmp"       // an echo request
	ICMPReply Proto = "icmp-reply" // an echo reply, which nobody answers
	TCP       Proto = "tcp"        // a SYN
	UDP       Proto = "udp"
	ARP       Proto = "arp" // a request for IPDst's MAC
)

// MaxSize is the largest IP packet that a probe can be, in bytes: no link of a
// host takes more.
const MaxSize = 9216

const (
	etherLen = 14
	ipv4Len  = 20
)

// Frame returns the Ethernet frame that the probe describes. The note says how it
// differs from what was asked for, if it does: for an address that nobody in the
// switch has there would be no packet, but an ARP request without an answer, and
// that is what is sent.
func (p Probe) Frame(m *topology.Model) (frame []byte, note string, err error) {
	port, err := SourcePort(m, p.Port)
	if err != nil {
		return nil, "", err
	}
	if p.To != "" {
		if p.IPDst, err = addressOf(m, p.To); err != nil {
			return nil, "", err
		}
	}
	if p, err = p.from(port); err != nil {
		return nil, "", err
	}
	if p.Proto == ARP {
		if p.EthDst == (topology.MAC{}) {
			p.EthDst = broadcast
		}
	} else if p.EthDst == (topology.MAC{}) {
		mac, err := p.firstHop(m, port)
		switch {
		case errors.As(err, new(nobody)):
			note = err.Error() + ": what is sent is the ARP request for it"
			p.Proto, p.EthDst = ARP, broadcast
		case err != nil:
			return nil, "", err
		default:
			p.EthDst = mac
		}
	}
	frame, err = p.serialize()
	return frame, note, err
}

var broadcast = topology.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// SourcePort returns the port of that name if packets can be sent from it.
func SourcePort(m *topology.Model, name string) (topology.SwitchPort, error) {
	port, ok := m.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	switch {
	case !ok:
		return port, fmt.Errorf(`port %s not found in any switch%s ("tpctl lsp show --all" lists them)`, name, meant(m, name))
	case port.Peer != "" && !port.Outer():
		return port, fmt.Errorf("port %s of switch %s is where router port %s is plugged in: name the port of a workload, or one that leads to the physical network",
			name, port.Switch, port.Peer)
	}
	return port, nil
}

// meant asks for the workload's port that a mistyped name is most like.
func meant(m *topology.Model, name string) string {
	var known []string
	for e := range m.All() {
		if port, ok := e.(topology.SwitchPort); ok && port.Peer == "" {
			known = append(known, port.Name)
		}
	}
	slices.Sort(known)
	return suggest.DidYouMean(name, known)
}

// addressOf returns the address of the port of that name.
func addressOf(m *topology.Model, name string) (netip.Addr, error) {
	port, ok := m.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	switch {
	case !ok:
		return port.IP, fmt.Errorf(`--to %s: that is neither an IPv4 address nor a port of any switch%s ("tpctl lsp show --all" lists them)`, name, meant(m, name))
	case port.Outer():
		return port.IP, fmt.Errorf("--to %s: that port leads to the physical network: name an address there", name)
	}
	return port.IP, nil
}

// from fills in what does not depend on where the packet goes.
func (p Probe) from(port topology.SwitchPort) (Probe, error) {
	if !p.IPDst.IsValid() {
		return p, errors.New("it is not said where the packet is to go: require --to IP or --to PORT, or --dst-ip IP, or --packet HEX")
	}
	if port.Outer() && (p.EthSrc == topology.MAC{} || !p.IPSrc.IsValid()) {
		return p, fmt.Errorf("port %s leads to the physical network: say with --src-mac and --src-ip which machine there sends", port.Name)
	}
	if p.EthSrc == (topology.MAC{}) {
		p.EthSrc = port.MAC
	}
	if !p.IPSrc.IsValid() {
		p.IPSrc = port.IP
	}
	if p.Proto == "" {
		p.Proto = ICMP
	}
	if p.TTL == 0 {
		p.TTL = 64
	}
	if p.SrcPort == 0 {
		p.SrcPort = 40000
	}
	if p.DstPort == 0 {
		p.DstPort = 80
		if p.Proto == UDP {
			p.DstPort = 53
		}
	}
	return p, nil
}

// nobody says why nobody answers an ARP request.
type nobody string

func (n nobody) Error() string { return string(n) }

// firstHop finds the MAC that the workload sends to: that of the destination if
// it is in the switch, else that of the switch's router.
func (p Probe) firstHop(m *topology.Model, port topology.SwitchPort) (topology.MAC, error) {
	if dst, ok := m.Get(topology.PortAt(port.Switch, topology.PortID(p.IPDst))).(topology.SwitchPort); ok && dst.IP == p.IPDst {
		return dst.MAC, nil
	}
	var routers []gateway
	for _, e := range m.List(topology.Key{Kind: topology.KindJoinedPorts, Name: port.Switch}) {
		sp := e.(topology.SwitchPort)
		rp, ok := m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: sp.Peer}).(topology.RouterPort)
		if !ok || rp.Peer != sp.Name || m.Get(topology.Router{Name: rp.Router}.Key()) == nil {
			continue
		}
		nats := m.List(topology.Key{Kind: topology.KindNATAddress, Parent: rp.Router, Name: p.IPDst.String()})
		if len(nats) > 0 && rp.Net.Contains(p.IPDst) {
			return topology.MACFromIP(p.IPDst), nil // the router answers ARP for it
		}
		routers = append(routers, gateway{sp, rp})
	}
	if p.Via != "" {
		for _, g := range routers {
			if g.rp.Router == p.Via || g.rp.Name == p.Via || g.rp.Net.Addr().String() == p.Via {
				return g.sp.MAC, nil
			}
		}
		return topology.MAC{}, fmt.Errorf("switch %s has no router %s (--via)", port.Switch, p.Via)
	}
	for _, g := range routers {
		if g.rp.Net.Contains(p.IPDst) {
			return topology.MAC{}, nobody(fmt.Sprintf("no port of switch %s has the address %s", port.Switch, p.IPDst))
		}
	}
	return choose(m, routers, port.Switch, p.IPDst)
}

// gateway is a router as a switch sees it.
type gateway struct {
	sp topology.SwitchPort
	rp topology.RouterPort
}

// choose returns the MAC of the router with the best way to an address.
func choose(m *topology.Model, routers []gateway, sw string, dst netip.Addr) (topology.MAC, error) {
	if len(routers) == 0 {
		return topology.MAC{}, nobody(fmt.Sprintf("switch %s has neither a port with the address %s nor a router", sw, dst))
	}
	best, longest, several := routers[0], -2, ""
	for _, g := range routers {
		switch bits := reach(m, g.rp.Router, dst); {
		case bits > longest:
			best, longest, several = g, bits, ""
		case bits == longest:
			several = g.rp.Router
		}
	}
	if several != "" {
		return topology.MAC{}, fmt.Errorf("switch %s has several routers, and which of them the workload sends to is not known: name it, --via %s or --via %s",
			sw, best.rp.Router, several)
	}
	return best.sp.MAC, nil
}

// reach returns the length of the longest prefix by which a router has a way to
// an address, -1 if it has none.
func reach(m *topology.Model, router string, dst netip.Addr) int {
	for bits := dst.BitLen(); bits >= 0; bits-- {
		net, _ := dst.Prefix(bits) // bits fit
		if m.Get(topology.Key{Kind: topology.KindRouterNet, Parent: router, Name: net.String()}) != nil ||
			len(m.List(topology.Key{Kind: topology.KindRoutes, Parent: router, Name: net.String()})) > 0 {
			return bits
		}
	}
	return -1
}

// serialize makes the frame. A packet with a size must not be fragmented, as
// those of a host are that looks for a path's MTU.
func (p Probe) serialize() ([]byte, error) {
	eth := &layers.Ethernet{SrcMAC: p.EthSrc[:], DstMAC: p.EthDst[:], EthernetType: layers.EthernetTypeIPv4}
	if p.Proto == ARP {
		if p.Size != 0 {
			return nil, errors.New("an ARP request has its size: leave out --size")
		}
		eth.EthernetType = layers.EthernetTypeARP
		return frameOf(eth, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation:       layers.ARPRequest,
			SourceHwAddress: p.EthSrc[:], SourceProtAddress: p.IPSrc.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: p.IPDst.AsSlice(),
		})
	}
	ip := &layers.IPv4{Version: 4, TTL: p.TTL, Flags: layers.IPv4DontFragment, SrcIP: p.IPSrc.AsSlice(), DstIP: p.IPDst.AsSlice()}
	var l4 gopacket.SerializableLayer
	var length int
	switch p.Proto {
	case ICMP, ICMPReply:
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: echoID(p.IPSrc), Seq: 1}
		if p.Proto == ICMPReply {
			icmp.TypeCode = layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0)
		}
		ip.Protocol, l4, length = layers.IPProtocolICMPv4, icmp, 8
	case TCP:
		tcp := &layers.TCP{SrcPort: layers.TCPPort(p.SrcPort), DstPort: layers.TCPPort(p.DstPort), SYN: true, Window: 65535}
		ip.Protocol, l4, length = layers.IPProtocolTCP, tcp, 20
		_ = tcp.SetNetworkLayerForChecksum(ip) // fails for what is no IP
	case UDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(p.SrcPort), DstPort: layers.UDPPort(p.DstPort)}
		ip.Protocol, l4, length = layers.IPProtocolUDP, udp, 8
		_ = udp.SetNetworkLayerForChecksum(ip)
	default:
		return nil, fmt.Errorf("invalid protocol %q, want icmp, tcp, udp or arp", p.Proto)
	}
	least := ipv4Len + length
	if p.Size != 0 && (p.Size < least || p.Size > MaxSize) {
		return nil, fmt.Errorf("invalid size %d, want the bytes of an IP packet: %d to %d", p.Size, least, MaxSize)
	}
	return frameOf(eth, ip, l4, gopacket.Payload(make([]byte, max(0, p.Size-least))))
}

// echoID is the ICMP identifier of a probe: each source has its own. Where Open
// vSwitch translates only addresses of ICMP, two with one would be in each
// other's way behind an address that NAT hides them behind.
func echoID(src netip.Addr) uint16 { return uint16(crc32.ChecksumIEEE(src.AsSlice())) }

func frameOf(all ...gopacket.SerializableLayer) ([]byte, error) {
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, all...); err != nil {
		return nil, fmt.Errorf("make the packet: %w", err)
	}
	return buf.Bytes(), nil
}

// Inspect reads a frame that somebody else made. An error says why it cannot be
// sent, damage why whoever receives it drops it: no switch looks at checksums.
func Inspect(frame []byte) (h Header, damage string, err error) {
	if len(frame) < etherLen {
		return h, "", fmt.Errorf("an Ethernet frame has at least %d bytes, this one has %d", etherLen, len(frame))
	}
	if len(frame) > etherLen+MaxSize {
		return h, "", fmt.Errorf("a frame has at most %d bytes, this one has %d", etherLen+MaxSize, len(frame))
	}
	if _, h, err = Read(frame); err != nil {
		return h, err.Error(), nil
	}
	var eth layers.Ethernet
	_ = eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback) // it has been read
	if eth.EthernetType == layers.EthernetTypeIPv4 {
		damage = damageOf(eth.Payload)
	}
	return h, damage, nil
}

// damageOf says what is wrong with an IPv4 packet, one that could be read.
func damageOf(b []byte) string {
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0]>>4 != 4:
		return fmt.Sprintf("bad IP version %d", b[0]>>4)
	case total > len(b):
		return fmt.Sprintf("its IPv4 header tells of %d bytes, and there are %d", total, len(b))
	case total < header:
		return fmt.Sprintf("its IPv4 header tells of %d bytes, fewer than it has itself", total)
	case sum(b[:header], 0) != 0xffff:
		return "bad checksum of the IPv4 header"
	}
	proto, payload := b[9], b[header:total]
	if fragment := binary.BigEndian.Uint16(b[6:]); fragment&0x3fff != 0 {
		return "" // the checksum covers all fragments together
	}
	pseudo := sum(b[12:20], uint32(proto)+uint32(len(payload)))
	switch {
	case proto == protoICMP && sum(payload, 0) != 0xffff:
		return "bad ICMP checksum"
	case proto == protoTCP && (len(payload) < 20 || sum(payload, uint32(pseudo)) != 0xffff):
		return "bad TCP checksum"
	case proto == protoUDP && len(payload) < 8:
		return "its UDP header is cut off"
	case proto == protoUDP && binary.BigEndian.Uint16(payload[6:]) != 0 && sum(payload, uint32(pseudo)) != 0xffff: // 0: the sender has made none
		return "bad UDP checksum"
	}
	return ""
}

// sum is the ones' complement sum of RFC 1071, to which before is added: with
// the checksum included, 0xffff if that is right.
func sum(b []byte, before uint32) uint16 {
	s := before
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
