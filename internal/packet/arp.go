package packet

import (
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/internal/topology"
)

// The operations of ARP, RFC 826.
const (
	OpRequest uint16 = layers.ARPRequest
	OpReply   uint16 = layers.ARPReply
)

// ARP is an ARP message for IPv4 over Ethernet.
type ARP struct {
	Op        uint16 // OpRequest or OpReply
	SenderMAC topology.MAC
	SenderIP  netip.Addr // 0.0.0.0 in a probe, which claims no address (RFC 5227)
	TargetMAC topology.MAC
	TargetIP  netip.Addr
}

var (
	broadcastMAC = topology.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastIP  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// ParseARP reads a request or a reply. It refuses one whose sender is not a
// single machine, be it by its MAC or by its IP: such a message must not be
// believed (RFC 1812, section 3.3.2).
func ParseARP(frame []byte) (a ARP, ok bool) {
	defer func() { // gopacket has panicked on what strangers send before
		if recover() != nil {
			a, ok = ARP{}, false
		}
	}()
	var eth layers.Ethernet
	var arp layers.ARP
	if eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback) != nil || eth.EthernetType != layers.EthernetTypeARP ||
		arp.DecodeFromBytes(eth.Payload, gopacket.NilDecodeFeedback) != nil {
		return ARP{}, false
	}
	if arp.AddrType != layers.LinkTypeEthernet || arp.HwAddressSize != 6 ||
		arp.Protocol != layers.EthernetTypeIPv4 || arp.ProtAddressSize != 4 {
		return ARP{}, false
	}
	a = ARP{
		Op:        arp.Operation,
		SenderMAC: topology.MAC(arp.SourceHwAddress), SenderIP: netip.AddrFrom4([4]byte(arp.SourceProtAddress)),
		TargetMAC: topology.MAC(arp.DstHwAddress), TargetIP: netip.AddrFrom4([4]byte(arp.DstProtAddress)),
	}
	known := a.Op == OpRequest || a.Op == OpReply
	single := a.SenderMAC != topology.MAC{} && !a.SenderMAC.IsMulticast() &&
		!a.SenderIP.IsMulticast() && !a.SenderIP.IsLoopback() && a.SenderIP != broadcastIP
	if !known || !single {
		return ARP{}, false
	}
	return a, true
}

// ARPRequest asks the whole link who has target, in the name of the machine
// with the addresses from and fromIP.
func ARPRequest(from topology.MAC, fromIP, target netip.Addr) []byte {
	return arpRequest(broadcastMAC, from, fromIP, target)
}

// ARPPoll asks the machine known as to whether it still has target: the unicast
// poll of RFC 1122, section 2.3.2.1, which troubles nobody else.
func ARPPoll(from topology.MAC, fromIP netip.Addr, to topology.MAC, target netip.Addr) []byte {
	return arpRequest(to, from, fromIP, target)
}

// GratuitousARP tells the whole link that ip is now at mac: the announcement of
// RFC 5227, a request whose sender and target are the same.
func GratuitousARP(mac topology.MAC, ip netip.Addr) []byte {
	return arpRequest(broadcastMAC, mac, ip, ip)
}

func arpRequest(to, from topology.MAC, fromIP, target netip.Addr) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: from[:], DstMAC: to[:], EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, Operation: OpRequest,
			SourceHwAddress: from[:], SourceProtAddress: fromIP.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
		})
}
