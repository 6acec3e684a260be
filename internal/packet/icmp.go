package packet

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Codes of Unreachable, RFC 792.
const (
	NetUnreachable  uint8 = layers.ICMPv4CodeNet
	HostUnreachable uint8 = layers.ICMPv4CodeHost
)

const (
	// errorLen is the largest IP length of an ICMP error: what every host
	// takes (RFC 1812, section 4.3.2.3).
	errorLen = 576
	// internetworkControl is the TOS byte of precedence 6, which the errors of
	// a router have (RFC 1812, section 4.3.2.5).
	internetworkControl = 6 << 5
	// minMTU is the smallest MTU of any IPv4 link (RFC 791).
	minMTU = 68
	// icmpLen is the length of an ICMP header.
	icmpLen = 8
)

// TimeExceeded returns the ICMP error that the router with address from owes
// to the sender of a packet whose TTL it would have to make 0. Its Ethernet
// addresses are those of frame, swapped.
//
// ok is false when no error may be sent about the packet (RFC 1812, section
// 4.3.2.7): one with a malformed IP header, an ICMP error, a fragment other
// than the first, what goes to many, and what comes from nobody in particular
// or from the router itself. Of frame no more is needed than an error quotes,
// the first 548 bytes of the datagram.
func TimeExceeded(frame []byte, from netip.Addr) (icmp []byte, ok bool) {
	return icmpError(frame, from, layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded, 0)
}

// Unreachable is TimeExceeded for a packet that the router cannot forward;
// code says what it cannot reach: NetUnreachable or HostUnreachable.
func Unreachable(frame []byte, from netip.Addr, code uint8) (icmp []byte, ok bool) {
	return icmpError(frame, from, layers.ICMPv4TypeDestinationUnreachable, code, 0)
}

// FragmentationNeeded is TimeExceeded for a packet that is longer than mtu, the
// bytes of an IP packet that the next hop's link takes (RFC 1191), and must not
// be fragmented. ok is false also for a packet that may be.
func FragmentationNeeded(frame []byte, from netip.Addr, mtu int) (icmp []byte, ok bool) {
	if mtu < minMTU || mtu > 0xffff || !DontFragment(frame) {
		return nil, false
	}
	return icmpError(frame, from, layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded, uint16(mtu))
}

func icmpError(frame []byte, from netip.Addr, kind, code uint8, mtu uint16) ([]byte, bool) {
	d, err := decode(frame)
	if err != nil || !from.Is4() || !d.answerable(from) {
		return nil, false
	}
	quote := frame[len(d.eth.Contents):][:len(d.ip.Contents)+len(d.ip.Payload)]
	quote = quote[:min(len(quote), errorLen-headerLen-icmpLen)]
	return serialize(
		&layers.Ethernet{SrcMAC: d.eth.DstMAC, DstMAC: d.eth.SrcMAC, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{
			Version: 4, TOS: internetworkControl, TTL: 255, Protocol: layers.IPProtocolICMPv4,
			// As different from error to error as the sender's packets are.
			Id:    d.ip.Id,
			SrcIP: from.AsSlice(), DstIP: d.ip.SrcIP,
		},
		// The next hop's MTU stands where an echo has its sequence number.
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Seq: mtu},
		gopacket.Payload(quote),
	), true
}

// answerable reports whether a router with address from may send an ICMP error
// about the datagram.
func (d *datagram) answerable(from netip.Addr) bool {
	src, dst := d.addresses()
	switch {
	case d.eth.DstMAC[0]&1 == 1, d.eth.SrcMAC[0]&1 == 1:
		return false
	case dst.IsMulticast(), dst == broadcastIP:
		return false
	case src.As4()[0] == 0, src.IsLoopback(), src.IsMulticast(), src == broadcastIP, src == from:
		return false
	case d.laterFragment():
		return false
	}
	return d.ip.Protocol != layers.IPProtocolICMPv4 || len(d.ip.Payload) > 0 && !isError(d.ip.Payload[0])
}

func (d *datagram) addresses() (src, dst netip.Addr) {
	return netip.AddrFrom4([4]byte(d.ip.SrcIP)), netip.AddrFrom4([4]byte(d.ip.DstIP))
}

// isError reports whether an ICMP message of the type is about another packet,
// which it quotes.
func isError(kind uint8) bool {
	return kind == layers.ICMPv4TypeRedirect || passesOn(kind)
}

// passesOn reports whether an ICMP error of the type is for the sender of the
// packet that it quotes wherever that is; a redirect is for its link only.
func passesOn(kind uint8) bool {
	switch kind {
	case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeSourceQuench,
		layers.ICMPv4TypeTimeExceeded, layers.ICMPv4TypeParameterProblem:
		return true
	}
	return false
}

// TranslateQuoted puts to in the place of from, as source and as destination,
// in the IP header that an ICMP error quotes: the packet that it is about was
// translated on its way, and its sender knows it by the other address. The
// header's checksum follows; the one of the transport header that stands
// behind it does not, since a quote seldom has all that it covers. ok is false
// for any other packet.
func TranslateQuoted(frame []byte, from, to netip.Addr) (translated []byte, ok bool) {
	d, err := decode(frame)
	if err != nil || !from.Is4() || !to.Is4() || d.laterFragment() || d.ip.Protocol != layers.IPProtocolICMPv4 ||
		len(d.ip.Payload) < icmpLen+headerLen || !passesOn(d.ip.Payload[0]) {
		return nil, false
	}
	translated = slices.Clone(frame)
	quoted := translated[len(d.eth.Contents)+len(d.ip.Contents)+icmpLen:]
	if quoted[0]>>4 != 4 {
		return nil, false
	}
	// The quoted header's checksum makes up for the new address, so that the sum
	// of all bytes is what it was, and ICMP's own checksum stays right.
	for _, at := range []int{12, 16} {
		if address := quoted[at : at+4]; netip.AddrFrom4([4]byte(address)) == from {
			replace(quoted[10:12], address, to.AsSlice())
			ok = true
		}
	}
	if !ok {
		return nil, false
	}
	return translated, true
}

// replace overwrites old, an even number of bytes, by new and corrects the
// checksum of the whole that it is a part of, as RFC 1624 does.
func replace(checksum, old, new []byte) {
	sum := uint32(^binary.BigEndian.Uint16(checksum))
	for i := 0; i < len(old); i += 2 {
		sum += uint32(^binary.BigEndian.Uint16(old[i:])) + uint32(binary.BigEndian.Uint16(new[i:]))
	}
	copy(old, new)
	binary.BigEndian.PutUint16(checksum, gopacket.FoldChecksum(sum))
}
