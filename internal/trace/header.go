package trace

import "fmt"

// Numbers of the protocols that people read of (IANA's protocol numbers,
// RFC 826).
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	arpRequest = 1
	arpReply   = 2
)

// String returns the packet in a few words: "ICMP echo request 10.20.1.10 ->
// 10.20.2.10, TTL 64".
func (h Header) String() string {
	if h.VLAN != 0 {
		tag := h.VLAN
		h.VLAN = 0
		return fmt.Sprintf("%s, VLAN tag %d", h.String(), tag)
	}
	switch {
	case h.ARP == arpRequest:
		return fmt.Sprintf("ARP request of %s for %s", h.IPSrc, h.IPDst)
	case h.ARP == arpReply:
		return fmt.Sprintf("ARP reply of %s to %s", h.IPSrc, h.IPDst)
	case !h.IPSrc.IsValid():
		return fmt.Sprintf("frame %s -> %s", h.EthSrc, h.EthDst)
	case h.Proto == protoTCP:
		return fmt.Sprintf("TCP %s:%d -> %s:%d, TTL %d", h.IPSrc, h.SrcPrt, h.IPDst, h.DstPrt, h.TTL)
	case h.Proto == protoUDP:
		return fmt.Sprintf("UDP %s:%d -> %s:%d, TTL %d", h.IPSrc, h.SrcPrt, h.IPDst, h.DstPrt, h.TTL)
	case h.Proto == protoICMP:
		return fmt.Sprintf("%s %s -> %s, TTL %d", icmpName(h.SrcPrt), h.IPSrc, h.IPDst, h.TTL)
	}
	return fmt.Sprintf("IP protocol %d %s -> %s, TTL %d", h.Proto, h.IPSrc, h.IPDst, h.TTL)
}

func icmpName(typ uint16) string {
	switch typ {
	case 0:
		return "ICMP echo reply"
	case 8:
		return "ICMP echo request"
	}
	return fmt.Sprintf("ICMP type %d", typ)
}
