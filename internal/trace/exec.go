package trace

import (
	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// What a frame holds (IANA's numbers), and how long its header is, in bytes.
const (
	etherIPv4      = 0x0800
	etherARP       = 0x0806
	ethernetHeader = 14
	vlanTag        = 4
)

// Bits of ct_state, see ovs-fields(7).
const (
	ctNew     = 1 << 0
	ctInvalid = 1 << 4
	ctTracked = 1 << 5
	ctSNAT    = 1 << 6
	ctDNAT    = 1 << 7
)

// transit takes a packet through the tables of one chassis, as Open vSwitch does
// it (ovs-actions(7)). Meters are taken not to drop, and no connection to be
// known: what is looked up among them begins one.
type transit struct {
	surroundings
	tables *Tables

	state flows.State
	size  int // of the frame, in bytes
	// Ports of TCP and UDP; 0: there are none, or nobody knows which, as a
	// translation has drawn one.
	srcPort, dstPort uint16
	// stranger says that the packet was looked up among connections that it did
	// not begin, and belongs to none that is known.
	stranger bool
	damaged  bool // a checksum is wrong, which connection tracking looks at and nothing else
}

// surroundings are what a transit meets that is in no flow.
type surroundings interface {
	// visit takes note of a table that the packet comes to, and the flow that it
	// takes there, nil if there is none. The transit ends if it returns false.
	visit(p *transit, t flows.Table, f *flows.Flow) bool
	// sent takes a packet that leaves by an OpenFlow port.
	sent(p *transit, ofport uint32)
	// punted takes a copy of the packet that is for the agent. The transit ends if it
	// returns false.
	punted(p *transit, why flows.Reason) bool
	// alive reports whether BFD finds a way through a tunnel port.
	alive(ofport uint32) bool
	// pick chooses one of n ways, 0 to n-1, of which 0 is the likeliest.
	pick(n int) int
}

// enter looks the packet up in a table, and has it go on from there until it goes
// no further. It reports whether the transit may go on with what stands behind a
// Resubmit.
func (p *transit) enter(t flows.Table) bool {
	f, _ := p.tables.Lookup(t, &p.state)
	if !p.visit(p, t, f.Flow) {
		return false
	}
	if f.Flow == nil {
		return true
	}
	for _, a := range f.Flow.Actions {
		if _, ok := a.(flows.DecTTL); ok && !p.decrement() {
			return true // Open vSwitch leaves out the rest of the flow, and of no other
		}
		if !p.do(a) {
			return false
		}
	}
	return true
}

// do carries out an action. It reports whether the transit goes on.
func (p *transit) do(a flows.Action) bool {
	switch a := a.(type) {
	case flows.Load:
		p.state.Set(a.Dst, a.Value)
	case flows.Move:
		p.state.Set(a.Dst, p.state.Get(a.Src))
	case flows.Output:
		if uint64(a.Port) != p.state.Get(flows.All(flows.InPort)) {
			p.sent(p, a.Port)
		}
	case flows.OutputField:
		if port := p.state.Get(a.Src); port != p.state.Get(flows.All(flows.InPort)) {
			p.sent(p, uint32(port))
		}
	case flows.OutputInPort:
		p.sent(p, uint32(p.state.Get(flows.All(flows.InPort))))
	case flows.PushVLAN:
		p.state.Set(flows.All(flows.VLAN), flows.VLANPresent|uint64(a.ID))
		p.size += vlanTag
	case flows.PopVLAN:
		p.state.Set(flows.All(flows.VLAN), 0)
		p.size -= vlanTag
	case flows.Resubmit:
		return p.enter(a.Table)
	case flows.Goto:
		return p.enter(a.Table)
	case flows.Punt:
		return p.punted(p, a.Why)
	case flows.Choose:
		p.state.Set(a.Dst, p.choose(a))
	case flows.Spread:
		order := preference(a.Fields, &p.state, int(a.N), memberWeight)
		p.state.Set(a.Dst, uint64(order[p.pick(len(order))]))
	case flows.CheckLarger:
		larger := uint64(0)
		if p.size > int(a.Size) {
			larger = 1
		}
		p.state.Set(a.Dst, larger)
	case flows.Track:
		// What goes on in the table is a copy: what stands behind a Resubmit that
		// led here knows nothing of it.
		before := *p
		p.track(a)
		goesOn := p.enter(a.Table)
		p.state, p.srcPort, p.dstPort = before.state, before.srcPort, before.dstPort
		return goesOn
	}
	return true
}

// decrement reports whether the packet's TTL was not used up.
func (p *transit) decrement() bool {
	ttl := flows.All(flows.IPTTL)
	switch v := p.state.Get(ttl); {
	case p.state.Get(flows.All(flows.EthType)) != etherIPv4:
	case v <= 1:
		return false
	default:
		p.state.Set(ttl, v-1)
	}
	return true
}

// choose returns one of the ports that are alive, or NoPort.
func (p *transit) choose(a flows.Choose) uint64 {
	var live []uint32
	for _, i := range preference(a.Fields, &p.state, len(a.Ports), portWeight) {
		if p.alive(a.Ports[i]) {
			live = append(live, a.Ports[i])
		}
	}
	if len(live) == 0 {
		return flows.NoPort
	}
	return uint64(live[p.pick(len(live))])
}

// track does to a packet what connection tracking does to the first one of a
// connection.
func (p *transit) track(a flows.Track) {
	state := uint64(ctTracked | ctNew)
	p.stranger = !a.Commit
	switch {
	case p.damaged:
		state = ctTracked | ctInvalid
	case a.Commit && a.NAT.Addr.IsValid():
		addr := ipv4(a.NAT.Addr)
		if a.NAT.Type == topology.SNAT {
			p.state.Set(flows.All(flows.IPSrc), addr)
			state |= ctSNAT
		} else {
			p.state.Set(flows.All(flows.IPDst), addr)
			state |= ctDNAT
		}
		if a.NAT.MinPort > 0 {
			p.srcPort = 0
		}
	}
	p.state.Set(flows.All(flows.CTState), state)
}

// Ends returns what a flow does for good to a packet in a state. Leads tells where
// an OpenFlow port leads with a VLAN tag, or without one (0); fragile says that the
// packet must not be fragmented.
func Ends(f *flows.Flow, s *flows.State, fragile bool, leads func(ofport uint32, tag uint16) End) []End {
	if len(f.Actions) == 0 {
		return []End{{Kind: Drop}}
	}
	var out []End
	in := uint32(s.Get(flows.All(flows.InPort)))
	tag := vlanID(s)
	leave := func(port uint32) {
		if port == in {
			out = append(out, End{Kind: Drop, Why: "it would leave by the port that it came in by"})
			return
		}
		out = append(out, leads(port, tag))
	}
	for _, a := range f.Actions {
		switch a := a.(type) {
		case flows.Load:
			if a.Dst == flows.All(flows.InPort) {
				in = uint32(a.Value)
			}
		case flows.PushVLAN:
			tag = a.ID
		case flows.PopVLAN:
			tag = 0
		case flows.Output:
			leave(a.Port)
		case flows.OutputField:
			leave(uint32(s.Get(a.Src)))
		case flows.OutputInPort:
			out = append(out, leads(in, tag))
		case flows.Punt:
			switch a.Why {
			case flows.NoNeighbour, flows.QuotedAddress:
				out = append(out, End{Kind: Waits, Why: a.Why.String()})
			case flows.Wanted:
				out = append(out, End{Kind: Wanted, Why: a.Why.String()})
			case flows.TooLarge:
				kind := Waits // for its fragments
				if fragile {
					kind = Drop
				}
				out = append(out, End{Kind: kind, Why: a.Why.String()})
			}
		}
	}
	if f.Table == flows.TableForeign {
		out = append(out, End{Kind: Drop})
	}
	return out
}

// vlanID returns the id of a packet's outer VLAN tag; 0 if it has none.
func vlanID(s *flows.State) uint16 { return uint16(s.Get(flows.All(flows.VLAN)) &^ flows.VLANPresent) }
