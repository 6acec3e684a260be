package agent

import (
	"net/netip"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// errands does for routers what flows cannot: it makes the ICMP errors that they
// owe, fragments what is too large for a tunnel, and translates the packets
// that ICMP errors quote. Meters of the bridge bound how much of it there is.
//
// The agent's loop owns it. It only reads the model.
type errands struct {
	model *topology.Model
	// joined returns a router port that leads into a switch.
	joined func(sw string) (topology.RouterPort, bool)

	count errandCounts
}

// errandCounts counts packets that errands took in since the agent started, by
// what became of them.
type errandCounts struct {
	TTLExceeded uint64 // answered with time exceeded
	NoRoute     uint64 // answered with network unreachable
	NoNeighbour uint64 // answered with host unreachable
	TooLarge    uint64 // answered with fragmentation needed
	Fragmented  uint64 // sent on in pieces
	Translated  uint64 // ICMP errors sent on with the right addresses inside
	Refused     uint64 // no answer may be given, or by no one
}

// run returns what is to be done about a packet. One whose Why is NoNeighbour
// is one that waited in vain.
func (e *errands) run(p ovs.Packet) []injection {
	var out []injection
	var done *uint64
	switch p.Why {
	case flows.TTLExceeded:
		out, done = e.answer(p, packet.TimeExceeded), &e.count.TTLExceeded
	case flows.NoRoute:
		out, done = e.answer(p, unreachable(packet.NetUnreachable)), &e.count.NoRoute
	case flows.NoNeighbour:
		out, done = e.answer(p, unreachable(packet.HostUnreachable)), &e.count.NoNeighbour
	case flows.TooLarge:
		if packet.DontFragment(p.Data) {
			out, done = e.answer(p, e.fragmentationNeeded), &e.count.TooLarge
		} else {
			out, done = e.fragment(p), &e.count.Fragmented
		}
	case flows.QuotedAddress:
		out, done = e.translate(p), &e.count.Translated
	}
	if len(out) == 0 {
		e.count.Refused++
		return nil
	}
	*done++
	return out
}

// makeError makes an ICMP error about frame, from a router with the address
// from.
type makeError func(frame []byte, from netip.Addr) (icmp []byte, ok bool)

func unreachable(code uint8) makeError {
	return func(frame []byte, from netip.Addr) ([]byte, bool) { return packet.Unreachable(frame, from, code) }
}

func (e *errands) fragmentationNeeded(frame []byte, from netip.Addr) ([]byte, bool) {
	return packet.FragmentationNeeded(frame, from, e.mtu())
}

// mtu returns the largest IP packet that this node's tunnels take.
func (e *errands) mtu() int {
	node, _ := e.model.Get(topology.Node{}.Key()).(topology.Node)
	return node.MTU
}

// answer sends an ICMP error back to where p comes from, by the router that it
// is in or was in last.
func (e *errands) answer(p ovs.Packet, errorAbout makeError) []injection {
	if p.Router == 0 {
		return e.answerInSwitch(p, errorAbout)
	}
	router, ok := e.model.Get(topology.Datapath(p.Router)).(topology.Router)
	if !ok {
		return nil
	}
	entry, ok := e.entry(router, p.Entry)
	if !ok {
		return nil
	}
	frame, ok := errorAbout(p.Data, entry.Net.Addr())
	if !ok {
		return nil
	}
	mended := uint64(0)
	if p.Flags&flows.FlagTranslated != 0 {
		// The sender knows the destination by its floating IP.
		if outside, ok := e.quotedOutside(router, frame); ok {
			frame, mended = outside, 1
		}
	}
	// The error enters the router by the port that it is from. If p has been
	// translated, its source is an address that the router translates back on
	// entering.
	return []injection{{frame, []flows.Action{
		flows.Load{Dst: flows.All(flows.RegDatapath), Value: uint64(router.ID)},
		flows.Load{Dst: flows.BitsSrcPort, Value: uint64(p.Entry)},
		flows.Load{Dst: flows.BitsRouter, Value: uint64(router.ID)},
		flows.Load{Dst: flows.BitsEntry, Value: uint64(p.Entry)},
		flows.Load{Dst: flows.BitsMended, Value: mended},
		flows.Resubmit{Table: flows.TableRouterAdmit},
	}}}
}

// answerInSwitch is answer for a packet that has met no router: one that is
// joined to the switch lends its address.
func (e *errands) answerInSwitch(p ovs.Packet, errorAbout makeError) []injection {
	sw, ok := e.model.Get(topology.Datapath(p.Datapath)).(topology.Switch)
	if !ok {
		return nil
	}
	from, ok := e.joined(sw.Name)
	if !ok {
		return nil
	}
	frame, ok := errorAbout(p.Data, from.Net.Addr())
	if !ok {
		return nil
	}
	return []injection{{frame, []flows.Action{
		flows.Load{Dst: flows.All(flows.EthSrc), Value: from.MAC.Uint64()},
		flows.Load{Dst: flows.All(flows.RegDatapath), Value: uint64(sw.ID)},
		flows.Load{Dst: flows.BitsSrcPort, Value: uint64(from.ID())},
		flows.Resubmit{Table: flows.TableSwitchLookup},
	}}}
}

// entry finds a router's port by its id.
func (e *errands) entry(router topology.Router, id uint16) (topology.RouterPort, bool) {
	port, ok := e.model.Get(topology.RouterPortAt(router.Name, id)).(topology.RouterPort)
	return port, ok
}

// fragment sends a packet into the tunnel in pieces. Of a traced packet the first
// one is followed: one path, not several that nobody can tell apart.
func (e *errands) fragment(p ovs.Packet) []injection {
	pieces, err := packet.Fragment(p.Data, e.mtu())
	if err != nil {
		return nil
	}
	var out []injection
	for _, piece := range pieces {
		out = append(out, injection{piece, append(registers(p), flows.Resubmit{Table: flows.TableSwitchOutput})})
		p.Flags &^= flows.FlagTraced
	}
	return out
}

// translate puts into the packet that an ICMP error quotes the addresses that
// its sender knows, and has the flows translate the error itself. An error to
// a floating IP that is not about a packet of its owner is not passed on (RFC
// 5508, section 4.2).
func (e *errands) translate(p ovs.Packet) []injection {
	router, ok := e.model.Get(topology.Datapath(p.Datapath)).(topology.Router)
	if !ok {
		return nil
	}
	frame := p.Data
	if p.Table == flows.TableRouterLocal {
		// About a packet that the owner of the floating IP sent.
		frame, ok = e.quotedInside(router, frame)
		if !ok {
			return nil
		}
		// It may have gone to another floating IP of the router.
		if outside, ok := e.quotedOutside(router, frame); ok {
			frame = outside
		}
	} else if outside, ok := e.quotedOutside(router, frame); ok {
		frame = outside
	} // else it is about a connection, or about nothing that was translated
	return []injection{{frame, append(registers(p),
		flows.Load{Dst: flows.BitsMended, Value: 1},
		flows.Resubmit{Table: p.Table})}}
}

// quotedInside translates, in an ICMP error to a floating IP, that address in
// the quoted packet.
func (e *errands) quotedInside(router topology.Router, frame []byte) ([]byte, bool) {
	_, external, ok := addresses(frame[min(len(frame), ethernetLen):])
	if !ok {
		return nil, false
	}
	dnat, ok := e.model.Get(topology.Key{Kind: topology.KindDNAT, Parent: router.Name, Name: external.String()}).(topology.NAT)
	if !ok || e.model.Get(dnat.Rule(topology.SNAT)) == nil {
		return nil, false
	}
	return packet.TranslateQuoted(frame, external, dnat.Net.Addr())
}

// quotedOutside translates, in an ICMP error, the destination of the quoted
// packet, if that is the owner of a floating IP.
func (e *errands) quotedOutside(router topology.Router, frame []byte) ([]byte, bool) {
	_, internal, ok := addresses(quoted(frame))
	if !ok {
		return nil, false
	}
	pair, ok := floatingIP(e.model.List(topology.Key{
		Kind: topology.KindNATs, Parent: router.Name, Name: netip.PrefixFrom(internal, internal.BitLen()).String()}))
	if !ok {
		return nil, false
	}
	return packet.TranslateQuoted(frame, internal, pair.XlateIP)
}

// floatingIP returns the snat rule of the floating IP among NAT rules, which
// have a dnat rule of the same two addresses beside it.
func floatingIP(rules []topology.Entity) (topology.NAT, bool) {
	for _, s := range rules {
		for _, d := range rules {
			s, d := s.(topology.NAT), d.(topology.NAT)
			if s.Type == topology.SNAT && d.Type == topology.DNAT && s.Single() &&
				s.Net.Addr() == d.Net.Addr() && s.XlateIP == d.XlateIP {
				return s, true
			}
		}
	}
	return topology.NAT{}, false
}

// Lengths of headers, in bytes.
const (
	ethernetLen = 14
	ipv4Len     = 20 // without options
	icmpLen     = 8
)

// quoted returns what stands where an ICMP error quotes a packet.
func quoted(frame []byte) []byte {
	if len(frame) < ethernetLen+ipv4Len {
		return nil
	}
	at := ethernetLen + int(frame[ethernetLen]&0xf)*4 + icmpLen
	return frame[min(len(frame), at):]
}

// addresses returns the addresses in an IPv4 header.
func addresses(header []byte) (src, dst netip.Addr, ok bool) {
	if len(header) < ipv4Len || header[0]>>4 != 4 {
		return netip.Addr{}, netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(header[12:16])), netip.AddrFrom4([4]byte(header[16:20])), true
}
