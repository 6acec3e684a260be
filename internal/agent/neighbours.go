package agent

import (
	"net/netip"
	"slices"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// hop is a machine of the physical network, to which routed packets go next.
type hop struct {
	Switch string // that leads there
	IP     netip.Addr
}

// via is how this node asks a hop: the way out of its switch, and the address
// of a router port there, in whose name the question goes.
type via struct {
	OFPort uint32
	IP     netip.Addr
	MAC    topology.MAC
}

// effect is what follows from an event of neighbours.
type effect struct {
	inject  []injection
	changes []topology.Change // for the model
	failed  []ovs.Packet      // whose next hop does not answer
}

// Bounds of neighbours. What strangers do must not cost more: a scan of a
// network makes packets wait for hops that do not exist, and a neighbour can
// have as many addresses as it likes.
const (
	maxWaitingHop = 64 // packets that wait for one hop
	maxWaiting    = 1024
	maxNeighbours = 4096
)

const (
	arpRequests     = 3 // that a hop may leave unanswered
	arpPatience     = time.Second
	refreshInterval = 20 * time.Second // give or take a quarter
	refreshSoon     = 10 * time.Second
	saveInterval    = time.Second // at least, between two calls of save
)

// neighbours finds the MACs of machines of the physical network by ARP (RFC
// 826), and keeps the packets that wait for them. A hop goes through these
// states:
//
//	        packet                   ARP of the hop
//	(none) ───────▶ asked for ────────────────────▶ known ───┐ refreshInterval: poll the
//	   ▲                │                             │ ▲     │ one machine, again while it
//	   │                │ three requests unanswered,  │ └─────┘ does not answer
//	   │◀───────────────┘ or nobody waits any more    │
//	   │◀─────────────────────────────────────────────┘ three polls unanswered
//
// A gateway is asked for before there is a packet, and again and again if it does
// not answer: when another edge dies its packets come here, and the agent may
// be dead by then.
//
// ARP of any other hop teaches nothing, or anybody could fill the table by
// talking. A known hop whose switch has no way out is neither polled nor
// forgotten.
//
// The agent's loop owns it. It neither waits nor looks at a clock; its events
// have the time, which must not go back, and tick is called when next says.
type neighbours struct {
	way  func(hop) (via, bool) // how to ask; false: there is no way out
	own  func(netip.Addr) bool // is an address of this node's routers
	save func([]byte)          // keeps the known hops; must not wait

	gateway map[hop]bool
	table   map[hop]*neighbour
	known   int       // of table
	waiting []waiting // the oldest first
	due     agenda[hop]
	turn    uint32 // see spread

	unsaved bool
	saveAt  time.Time // not before

	count neighbourCounts
}

// neighbourCounts counts events of neighbours since the agent started.
type neighbourCounts struct {
	Requests uint64 // ARP requests sent, polls included
	Dropped  uint64 // packets that made way for others while they waited
	Failed   uint64 // packets whose hop did not answer
	Learned  uint64 // hops that have become known, or have another MAC
	Aged     uint64 // known hops that stopped answering
	Evicted  uint64 // known hops that made way for others
	Ignored  uint64 // ARP that taught nothing
}

type neighbour struct {
	known bool
	mac   topology.MAC // if known
	heard time.Time    // if known: when it last spoke; zero if it was loaded
	asked int          // requests since then
	queue int          // packets that wait
}

type waiting struct {
	hop    hop
	packet ovs.Packet
}

func newNeighbours(way func(hop) (via, bool), own func(netip.Addr) bool, save func([]byte)) *neighbours {
	return &neighbours{way: way, own: own, save: save, gateway: map[hop]bool{}, table: map[hop]*neighbour{}, due: newAgenda[hop]()}
}

// load takes in what was known before the agent started, at most
// maxNeighbours, and asks soon whether it is still true.
func (n *neighbours) load(before []topology.Neighbour, now time.Time) effect {
	var out effect
	for _, b := range before {
		h := hop{b.Switch, b.IP}
		if n.table[h] != nil || n.known == maxNeighbours {
			continue
		}
		n.table[h] = &neighbour{known: true, mac: b.MAC}
		n.known++
		n.due.put(h, now.Add(n.spread(refreshSoon)))
		out.changes = append(out.changes, topology.Change{Key: b.Key(), Entity: b})
	}
	return out
}

// wanted takes in a packet for a hop, an IPv4 address, that the flows do not
// know.
func (n *neighbours) wanted(h hop, p ovs.Packet, now time.Time) effect {
	var out effect
	e := n.table[h]
	switch {
	case e != nil && e.known: // the packet left its table before the flow came
		out.inject = append(out.inject, forward(p, e.mac))
		return out
	case e == nil || e.asked == 0:
		route, ok := n.way(h)
		if !ok {
			out.failed = append(out.failed, p)
			n.count.Failed++
			return out
		}
		if e == nil {
			e = &neighbour{}
			n.table[h] = e
		}
		n.ask(h, e, route, now, &out)
	}
	e.queue++
	n.waiting = append(n.waiting, waiting{h, p})
	switch {
	case e.queue > maxWaitingHop:
		n.drop(slices.IndexFunc(n.waiting, func(w waiting) bool { return w.hop == h }))
	case len(n.waiting) > maxWaiting:
		n.drop(0)
	}
	return out
}

// expect takes in that a hop is a gateway, or is none any more.
func (n *neighbours) expect(h hop, gateway bool, now time.Time) effect {
	var out effect
	if !gateway {
		delete(n.gateway, h) // what is known is forgotten when it falls silent
		return out
	}
	n.gateway[h] = true
	if n.table[h] == nil {
		n.table[h] = &neighbour{}
		n.due.put(h, now)
	}
	return out
}

// drop drops a waiting packet. A hop that nobody waits for any more is given
// up.
func (n *neighbours) drop(i int) {
	h := n.waiting[i].hop
	n.waiting = slices.Delete(n.waiting, i, i+1)
	n.count.Dropped++
	if e := n.table[h]; e.queue > 1 || n.gateway[h] {
		e.queue--
	} else {
		n.remove(h)
	}
}

// heard takes in an ARP frame that came from the physical network into a
// switch.
func (n *neighbours) heard(sw string, frame []byte, now time.Time) effect {
	var out effect
	arp, ok := packet.ParseARP(frame)
	h := hop{sw, arp.SenderIP}
	e := n.table[h]
	if !ok || e == nil || n.own(arp.SenderIP) {
		n.count.Ignored++
		return out
	}
	if !e.known && n.known == maxNeighbours {
		n.evict(&out)
	}
	if !e.known || e.mac != arp.SenderMAC {
		said := topology.Neighbour{Switch: h.Switch, IP: h.IP, MAC: arp.SenderMAC}
		out.changes = append(out.changes, topology.Change{Key: said.Key(), Entity: said})
		n.count.Learned++
		n.unsaved = true
	}
	if !e.known {
		e.known = true
		n.known++
	}
	e.mac, e.heard, e.asked = arp.SenderMAC, now, 0
	for _, p := range n.unqueue(h) {
		out.inject = append(out.inject, forward(p, e.mac))
	}
	n.due.put(h, n.refreshAt(now))
	return out
}

// wayBack tells that a switch has its way out again. Meanwhile its machines may
// have been exchanged.
func (n *neighbours) wayBack(sw string, now time.Time) {
	for h, e := range n.table {
		switch {
		case h.Switch != sw || e.asked > 0:
		case e.known:
			n.due.put(h, now.Add(n.spread(refreshSoon)))
		default: // a gateway
			n.due.put(h, now)
		}
	}
}

// tick does what is due.
func (n *neighbours) tick(now time.Time) effect {
	var out effect
	for {
		h, ok := n.due.take(now)
		if !ok {
			break
		}
		e := n.table[h]
		route, ok := n.way(h)
		switch {
		case !ok && e.known:
			e.asked = 0
			n.due.put(h, n.refreshAt(now))
		case !ok, e.asked == arpRequests:
			n.giveUp(h, now, &out)
		default:
			n.ask(h, e, route, now, &out)
		}
	}
	if n.unsaved && !now.Before(n.saveAt) {
		n.saveAt = now.Add(saveInterval)
		n.flush()
	}
	return out
}

// next returns when tick is to be called; ok is false if there is nothing to
// do.
func (n *neighbours) next() (at time.Time, ok bool) {
	at, ok = n.due.next()
	if n.unsaved && (!ok || n.saveAt.Before(at)) {
		return n.saveAt, true
	}
	return at, ok
}

// flush saves now what has not been saved.
func (n *neighbours) flush() {
	if n.unsaved {
		n.unsaved = false
		n.save(formatNeighbours(n.all()))
	}
}

// all returns the known hops, in no order.
func (n *neighbours) all() []topology.Neighbour {
	all := make([]topology.Neighbour, 0, n.known)
	for h, e := range n.table {
		if e.known {
			all = append(all, topology.Neighbour{Switch: h.Switch, IP: h.IP, MAC: e.mac})
		}
	}
	return all
}

// ask sends a request: to everybody, or to the machine that is known.
func (n *neighbours) ask(h hop, e *neighbour, route via, now time.Time, out *effect) {
	frame := packet.ARPRequest(route.MAC, route.IP, h.IP)
	if e.known {
		frame = packet.ARPPoll(route.MAC, route.IP, e.mac, h.IP)
	}
	out.inject = append(out.inject, injection{frame, []flows.Action{flows.Output{Port: route.OFPort}}})
	e.asked++
	n.count.Requests++
	n.due.put(h, now.Add(arpPatience))
}

// giveUp forgets a hop that does not answer, and fails the packets that wait
// for it.
func (n *neighbours) giveUp(h hop, now time.Time, out *effect) {
	if n.table[h].known {
		n.count.Aged++
		n.forget(h, out)
	} else {
		failed := n.unqueue(h)
		out.failed = append(out.failed, failed...)
		n.count.Failed += uint64(len(failed))
		n.remove(h)
	}
	if n.gateway[h] {
		n.table[h] = &neighbour{}
		n.due.put(h, n.refreshAt(now))
	}
}

// evict forgets the known hop that spoke last of all the longest ago.
func (n *neighbours) evict(out *effect) {
	var oldest hop
	for h, e := range n.table {
		if o := n.table[oldest]; e.known && (o == nil || e.heard.Before(o.heard)) {
			oldest = h
		}
	}
	n.count.Evicted++
	n.forget(oldest, out)
}

// forget removes a known hop.
func (n *neighbours) forget(h hop, out *effect) {
	n.known--
	n.unsaved = true
	n.remove(h)
	out.changes = append(out.changes, topology.Change{Key: topology.Neighbour{Switch: h.Switch, IP: h.IP}.Key()})
}

func (n *neighbours) remove(h hop) {
	delete(n.table, h)
	n.due.remove(h)
}

// unqueue returns the packets that wait for a hop, in their order, and leaves
// none.
func (n *neighbours) unqueue(h hop) []ovs.Packet {
	var out []ovs.Packet
	if n.table[h].queue == 0 {
		return nil
	}
	n.table[h].queue = 0
	n.waiting = slices.DeleteFunc(n.waiting, func(w waiting) bool {
		if w.hop == h {
			out = append(out, w.packet)
		}
		return w.hop == h
	})
	return out
}

func (n *neighbours) refreshAt(now time.Time) time.Time {
	return now.Add(refreshInterval*3/4 + n.spread(refreshInterval/2))
}

// spread returns a part of d, a different one each time: however many in a row
// lie evenly over it (they advance by the golden section), so that what began
// at one time does not go on at one time.
func (n *neighbours) spread(d time.Duration) time.Duration {
	n.turn += 0x9e3779b9
	return time.Duration(float64(d) * float64(n.turn) / (1 << 32))
}

// forward sends a packet on to a hop's MAC, as the neighbour table would have
// done.
func forward(p ovs.Packet, mac topology.MAC) injection {
	return injection{p.Data, append(registers(p),
		flows.Load{Dst: flows.All(flows.EthDst), Value: mac.Uint64()},
		flows.Resubmit{Table: flows.TableNeighbourDone})}
}
