package trace

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"tuplenet/flows"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// maxPaths bounds the ways of a packet that are told.
const maxPaths = 64

// Dry returns the ways that a packet can take which the interface of a switch port
// sends, each as the agents on it would tell it of a traced packet. There are
// several where the store does not decide: which of several edges or paths
// (ECMP), which address of a pool. The likeliest is first; there are maxPaths
// at most. An error says why the port can send no packet, or that frame is none.
//
// Who asks for more than one packet makes a Network and asks that.
func Dry(stored []topology.Change, port string, frame []byte, settings func(chassis string) Settings) ([][]Record, error) {
	return NewNetwork(stored, settings).Trace(port, frame)
}

// Trace returns the ways that a packet can take, see Dry.
func (n *Network) Trace(port string, frame []byte) ([][]Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, err := n.source(port)
	if err != nil {
		return nil, err
	}
	p, err := newParcel(from, frame)
	if err != nil {
		return nil, err
	}
	defer n.forget()
	for {
		if paths, learned := n.paths(from, p); !learned {
			return paths, nil
		}
	}
}

// paths returns the ways of a packet. If a chassis has learned something on the
// way, learned is true, and the ways begin anew.
func (n *Network) paths(from topology.SwitchPort, p parcel) (paths [][]Record, learned bool) {
	choices := &choices{}
	for len(paths) < maxPaths {
		j := n.journey(from, p, choices)
		if learned := j.run(); learned {
			return nil, true
		}
		paths = append(paths, j.records)
		if !choices.next() {
			break
		}
	}
	return paths, false
}

// forget takes back what a trace has made up of the physical network, so that the
// next one does not depend on it, and gives up bridges if there are too many. (Not
// during a trace, which has them learn one thing after the other.)
func (n *Network) forget() {
	for _, b := range n.bridges {
		var gone []topology.Change
		for neighbour := range b.invents {
			gone = append(gone, topology.Change{Key: neighbour.Key()})
		}
		if len(gone) > 0 {
			b.apply(gone...)
			clear(b.invents)
		}
	}
	for len(n.bridges) > 2 && len(n.bridges)*len(n.stored) > maxStored {
		delete(n.bridges, slices.MinFunc(slices.Collect(maps.Keys(n.bridges)), func(a, b string) int {
			return cmp.Compare(n.bridges[a].used, n.bridges[b].used)
		}))
	}
}

// choices go through all ways that a transit can go: each run of it picks as before,
// but for the last choice that has an alternative left.
type choices struct {
	made, of []int
	at       int // choices that the present run has made
}

func (c *choices) pick(n int) int {
	if c.at == len(c.made) {
		c.made, c.of = append(c.made, 0), append(c.of, n)
	}
	c.at++
	return c.made[c.at-1]
}

// next prepares another run, if there is another way.
func (c *choices) next() bool {
	c.at = 0
	for last := len(c.made) - 1; last >= 0; last-- {
		if c.made[last]+1 < c.of[last] {
			c.made, c.of = c.made[:last+1], c.of[:last+1]
			c.made[last]++
			return true
		}
	}
	return false
}

// parcel is a packet that comes to a chassis.
type parcel struct {
	chassis          string
	state            flows.State
	size             int // bytes
	srcPort, dstPort uint16
	fragile          bool // must not be fragmented
	damaged          bool // as of a transit
}

// newParcel returns a frame as the interface of a port sends it.
func newParcel(from topology.SwitchPort, frame []byte) (parcel, error) {
	if from.Tag != 0 {
		frame = packet.Tagged(frame, from.Tag)
	}
	_, damage, err := Inspect(frame)
	state, header, _ := Read(frame) // as far as it goes
	return parcel{state: state, size: len(frame), srcPort: header.SrcPrt, dstPort: header.DstPrt,
		fragile: packet.DontFragment(frame), damaged: damage != ""}, err
}

// journey is one way of a packet over all chassis. It is the surroundings of its
// walks.
type journey struct {
	n *Network
	*choices
	trails  map[string]*Trail
	records []Record
	parcels []parcel // under way
	left    int      // tables that the packet may come to yet
	learned bool

	// Of the present transit.
	parcel
	b        *bridge
	trail    *Trail
	fragment *transit // of the packet, which the agent sends on in its place
}

// run takes the packet to the end of its way.
func (j *journey) run() (learned bool) {
	for len(j.parcels) > 0 && !j.learned {
		j.cross()
	}
	return j.learned
}

// cross takes the first parcel through a chassis.
func (j *journey) cross() {
	j.parcel, j.parcels = j.parcels[0], j.parcels[1:]
	j.b, j.trail = j.n.bridge(j.chassis), j.trails[j.chassis]
	if j.trail == nil {
		j.trail = NewTrail(j.chassis)
		j.trails[j.chassis] = j.trail
	}
	p := &transit{surroundings: j, tables: j.b.tables, state: j.state, size: j.size, srcPort: j.srcPort, dstPort: j.dstPort, damaged: j.damaged}
	p.enter(flows.TableClassify)
	if f := j.fragment; f != nil && j.left >= 0 && !j.learned {
		j.fragment = nil
		j.trail.Excuse() // no flow leads there
		f.enter(flows.TableSwitchOutput)
	}
	if j.left < 0 {
		j.trail.Excuse() // it was stopped there
	}
	j.records = append(j.records, j.trail.Flush()...)
}

// journey begins a way of a packet at a port.
func (n *Network) journey(from topology.SwitchPort, p parcel, c *choices) *journey {
	p.chassis = from.Chassis
	p.state.Set(flows.All(flows.InPort), uint64(n.bridge(from.Chassis).ofports[topology.Interface{Port: from.Name}.Key()]))
	return &journey{n: n, choices: c, trails: map[string]*Trail{}, left: maxSteps, parcels: []parcel{p}}
}

func (j *journey) visit(p *transit, t flows.Table, f *flows.Flow) bool {
	if t == flows.TableClassify {
		return true
	}
	step := Step{Table: t}
	if j.left--; j.left < 0 {
		step.Ends = []End{inCircles}
		f = nil
	}
	if f != nil {
		rule, object, _ := j.b.engine.OwnerOf(f)
		step.Priority, step.Rule = f.Priority, rule
		if object.Kind != topology.KindNode {
			step.Object = object.String()
		}
		if object.Kind == topology.KindNeighbour && t == flows.TableNeighbour {
			step.Assumed = object.Name + " answers ARP"
		}
		step.Ends = j.ends(p, f)
	}
	j.records = append(j.records, j.trail.Add(step, headerOf(p), &p.state, f, int(p.state.Get(flows.BitsSequence)))...)
	p.state.Set(flows.BitsSequence, uint64(min(j.trail.Sequence(), 0xff)))
	return j.left >= 0
}

// ends says what a flow does to the packet for good.
func (j *journey) ends(p *transit, f *flows.Flow) []End {
	ends := Ends(f, &p.state, j.fragile, j.b.lead)
	for _, e := range slices.Clone(ends) {
		switch {
		case e.Kind == Tunnel && j.n.down(e.Chassis):
			ends = append(ends, End{Kind: Lost, Why: "chassis " + e.Chassis + " is down"})
		case e.Kind == Drop && f.Table == flows.TableDrop && p.stranger && !p.damaged:
			ends[0].Why = "no connection is known that it belongs to; whether it answers one, the store does not tell"
		}
	}
	return ends
}

func (j *journey) sent(p *transit, ofport uint32) {
	end := j.b.lead(ofport, 0)
	if end.Kind != Tunnel || j.n.down(end.Chassis) || !j.b.node.IP.IsValid() { // without a record: nobody takes anything from it
		return
	}
	next := parcel{chassis: end.Chassis, size: p.size, srcPort: p.srcPort, dstPort: p.dstPort, fragile: j.fragile, damaged: j.damaged, state: p.state}
	for f := flows.InPort; f <= flows.CTState; f++ {
		next.state[f] = 0
	}
	b := j.n.bridge(end.Chassis)
	set := func(f flows.Field, v uint64) { next.state.Set(flows.All(f), v) }
	set(flows.InPort, uint64(b.ofports[topology.Tunnel{Chassis: j.chassis}.Key()]))
	set(flows.TunID, p.state.Get(flows.All(flows.TunID)))
	set(flows.TunMetadata0, p.state.Get(flows.All(flows.TunMetadata0)))
	set(flows.TunDst, ipv4(b.node.IP))
	set(flows.TunSrc, ipv4(j.b.node.IP))
	j.parcels = append(j.parcels, next)
}

// punted does what the agent does with a packet: it sees to it that it can go on,
// if it can.
func (j *journey) punted(p *transit, why flows.Reason) bool {
	switch why {
	case flows.NoNeighbour:
		sw, _ := j.n.model.Get(topology.Datapath(uint32(p.state.Get(flows.BitsDatapath)))).(topology.Switch)
		hop := addr4(uint32(p.state.Get(flows.All(flows.RegNextHop))))
		if hop.IsValid() {
			neighbour := topology.Neighbour{Switch: sw.Name, IP: hop, MAC: neighbourMAC(hop)}
			j.learn(neighbour)
			j.b.invents[neighbour] = true
		}
	case flows.Wanted:
		if port, ok := j.n.wanted(&p.state); ok {
			j.learn(port)
		}
	case flows.TooLarge:
		if !j.fragile {
			fragment := *p
			fragment.size = j.b.node.MTU + ethernetHeader
			fragment.state.Set(flows.BitsTooLarge, 0)
			j.fragment = &fragment
		}
	}
	return !j.learned
}

// learn has the chassis know something that it did not.
func (j *journey) learn(e topology.Entity) {
	if j.b.model.Get(e.Key()) == nil {
		j.b.apply(topology.Change{Key: e.Key(), Entity: e})
		j.learned = true
	}
}

func (j *journey) alive(ofport uint32) bool { return !j.n.down(j.b.lead(ofport, 0).Chassis) }

// headerOf is what a packet looks like.
func headerOf(p *transit) Header {
	get := func(f flows.Field) uint64 { return p.state.Get(flows.All(f)) }
	h := Header{EthSrc: macOf(get(flows.EthSrc)), EthDst: macOf(get(flows.EthDst)), VLAN: vlanID(&p.state)}
	switch get(flows.EthType) {
	case etherARP:
		if get(flows.ARPOp)|get(flows.ARPSpa)|get(flows.ARPTpa)|get(flows.ARPSha) == 0 {
			break // it could not be read
		}
		h.ARP = uint16(get(flows.ARPOp))
		h.IPSrc, h.IPDst = ip4(get(flows.ARPSpa)), ip4(get(flows.ARPTpa))
	case etherIPv4:
		if get(flows.IPSrc)|get(flows.IPDst)|get(flows.IPTTL)|get(flows.IPProto) == 0 {
			break // nor this
		}
		h.IPSrc, h.IPDst = ip4(get(flows.IPSrc)), ip4(get(flows.IPDst))
		h.TTL, h.Proto = uint8(get(flows.IPTTL)), uint8(get(flows.IPProto))
		h.SrcPrt, h.DstPrt = p.srcPort, p.dstPort
		if h.Proto == protoICMP {
			h.SrcPrt, h.DstPrt = uint16(get(flows.ICMPType)), uint16(get(flows.ICMPCode))
		}
	}
	return h
}

func macOf(v uint64) topology.MAC {
	return topology.MAC(binary.BigEndian.AppendUint64(nil, v)[2:])
}

func ip4(v uint64) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(v))))
}

// ipv4 returns an address as fields hold it; 0 if there is none.
func ipv4(a netip.Addr) uint64 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}
