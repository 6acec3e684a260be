package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// StateOf returns what flows see of a frame that carries something along.
func StateOf(frame []byte, carried flows.State) (flows.State, Header) {
	s, h, _ := Read(frame) // what cannot be read, flows do not see either
	for f := flows.InPort; f <= flows.CTState; f++ {
		if f != flows.RegOption { // that is other registers
			s.Set(flows.All(f), carried[f])
		}
	}
	s.Set(flows.All(flows.TunSrc), carried[flows.TunSrc])
	return s, h
}

// Read returns what flows see of an Ethernet frame, and what people see. A frame
// that is cut off or malformed is read as far as Open vSwitch reads it (its
// lib/flow.c, miniflow_extract).
func Read(frame []byte) (flows.State, Header, error) {
	var s flows.State
	var h Header
	var eth layers.Ethernet
	if err := eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return s, h, fmt.Errorf("read an Ethernet frame: %w", err)
	}
	h.EthSrc, h.EthDst = topology.MAC(eth.SrcMAC), topology.MAC(eth.DstMAC)
	set := func(f flows.Field, v uint64) { s.Set(flows.All(f), v) }
	set(flows.EthSrc, h.EthSrc.Uint64())
	set(flows.EthDst, h.EthDst.Uint64())
	typ, payload := eth.EthernetType, eth.Payload
	if (typ == layers.EthernetTypeDot1Q || typ == layers.EthernetTypeQinQ) && len(payload) >= vlanTag {
		// Open vSwitch looks at what is behind the outer tag, too.
		h.VLAN = binary.BigEndian.Uint16(payload) % flows.VLANPresent
		set(flows.VLAN, flows.VLANPresent|uint64(h.VLAN))
		typ, payload = layers.EthernetType(binary.BigEndian.Uint16(payload[2:])), payload[vlanTag:]
	}
	set(flows.EthType, uint64(typ))
	switch typ {
	case layers.EthernetTypeARP:
		return s, h, readARP(payload, &s, &h)
	case layers.EthernetTypeIPv4:
		return s, h, readIP(payload, &s, &h)
	}
	return s, h, nil
}

func readARP(b []byte, s *flows.State, h *Header) error {
	var arp layers.ARP
	if err := arp.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return fmt.Errorf("read an ARP packet: %w", err)
	}
	if arp.AddrType != layers.LinkTypeEthernet || arp.Protocol != layers.EthernetTypeIPv4 ||
		len(arp.SourceHwAddress) != 6 || len(arp.SourceProtAddress) != 4 {
		return fmt.Errorf("read an ARP packet: it is not about IPv4 on Ethernet")
	}
	h.ARP = arp.Operation
	h.IPSrc, h.IPDst = netip.AddrFrom4([4]byte(arp.SourceProtAddress)), netip.AddrFrom4([4]byte(arp.DstProtAddress))
	s.Set(flows.All(flows.ARPOp), uint64(arp.Operation))
	s.Set(flows.All(flows.ARPSpa), uint64(binary.BigEndian.Uint32(arp.SourceProtAddress)))
	s.Set(flows.All(flows.ARPTpa), uint64(binary.BigEndian.Uint32(arp.DstProtAddress)))
	s.Set(flows.All(flows.ARPSha), topology.MAC(arp.SourceHwAddress).Uint64())
	s.Set(flows.All(flows.ARPTha), topology.MAC(arp.DstHwAddress).Uint64())
	return nil
}

func readIP(b []byte, s *flows.State, h *Header) error {
	var ip layers.IPv4
	if err := ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return fmt.Errorf("read an IPv4 packet: %w", err)
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n < int(ip.IHL)*4 || n > len(b) {
		return fmt.Errorf("its IPv4 header tells of %d bytes, and there are %d", n, len(b))
	}
	h.IPSrc, h.IPDst = netip.AddrFrom4([4]byte(ip.SrcIP)), netip.AddrFrom4([4]byte(ip.DstIP))
	h.TTL, h.Proto = ip.TTL, uint8(ip.Protocol)
	s.Set(flows.All(flows.IPSrc), uint64(binary.BigEndian.Uint32(ip.SrcIP)))
	s.Set(flows.All(flows.IPDst), uint64(binary.BigEndian.Uint32(ip.DstIP)))
	s.Set(flows.All(flows.IPTTL), uint64(ip.TTL))
	s.Set(flows.All(flows.IPProto), uint64(ip.Protocol))
	if ip.FragOffset > 0 {
		return nil
	}
	switch p := ip.Payload; ip.Protocol {
	case layers.IPProtocolICMPv4:
		if len(p) >= 8 { // the whole header
			h.SrcPrt, h.DstPrt = uint16(p[0]), uint16(p[1])
			s.Set(flows.All(flows.ICMPType), uint64(p[0]))
			s.Set(flows.All(flows.ICMPCode), uint64(p[1]))
		}
	case layers.IPProtocolTCP, layers.IPProtocolUDP:
		if len(p) >= 4 {
			h.SrcPrt, h.DstPrt = binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
		}
	}
	return nil
}

func addr4(a uint32) netip.Addr {
	if a == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a)))
}
