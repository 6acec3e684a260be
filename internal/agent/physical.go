package agent

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// physical is the node's dealing with the physical network, and what its routers
// owe to senders: all that takes packets from the flows and gives packets back
// to them. The agent's loop owns it.
type physical struct {
	a          *agent
	neighbours *neighbours
	announcer  *announcer
	errands    *errands
	keeper     *keeper                    // of what was learned
	own        map[netip.Addr]int         // addresses that this node answers for; by how many ways out
	ports      map[string][]flows.Address // of routers, by the switch that leads out
	timer      *time.Timer                // fires when tick is to be called
}

func newPhysical(a *agent) *physical {
	p := &physical{a: a, announcer: newAnnouncer(), own: map[netip.Addr]int{}, ports: map[string][]flows.Address{}, timer: time.NewTimer(time.Hour)}
	p.keeper = newKeeper(filepath.Join(a.RunDir, neighbourFile), a.log)
	p.neighbours = newNeighbours(p.way, func(ip netip.Addr) bool { return p.own[ip] > 0 }, p.keeper.put)
	p.errands = &errands{model: a.model, joined: p.joined}
	return p
}

// joined returns a router port that leads into a switch.
func (p *physical) joined(sw string) (topology.RouterPort, bool) {
	for _, e := range p.a.model.List(topology.Key{Kind: topology.KindJoinedPorts, Name: sw}) {
		port := e.(topology.SwitchPort)
		rp, ok := p.a.model.Get(topology.Key{Kind: topology.KindRouterPortName, Name: port.Peer}).(topology.RouterPort)
		if ok && rp.Peer == port.Name {
			return rp, true
		}
	}
	return topology.RouterPort{}, false
}

// load takes in what the last agent on this host had learned.
func (p *physical) load() {
	before, err := readNeighbours(filepath.Join(p.a.RunDir, neighbourFile))
	if err != nil {
		p.a.log.Warn("not all that was learned of the physical network is known again", "error", err)
	}
	p.do(p.neighbours.load(before, time.Now()))
	p.schedule()
}

// close keeps what was learned for the next agent.
func (p *physical) close() {
	p.neighbours.flush()
	p.keeper.close()
}

// way says how a machine of the physical network is asked for its MAC: by the
// router port in whose network it is.
func (p *physical) way(h hop) (via, bool) {
	for _, at := range p.ports[h.Switch] {
		if netip.PrefixFrom(at.IP, at.Bits).Contains(h.IP) {
			return via{OFPort: at.OFPort, IP: at.IP, MAC: at.MAC}, true
		}
	}
	return via{}, false
}

// address takes in that the node answers for an address from now on, or that it
// no longer does.
func (p *physical) address(n flows.Address, begun bool) {
	port := n.Bits > 0
	if !begun {
		if p.own[n.IP]--; p.own[n.IP] == 0 {
			delete(p.own, n.IP)
		}
		if port {
			p.ports[n.Switch] = slices.DeleteFunc(p.ports[n.Switch], func(o flows.Address) bool { return o == n })
		}
		p.announcer.end(n)
		return
	}
	p.own[n.IP]++
	p.announcer.begin(n, time.Now())
	if port {
		p.ports[n.Switch] = append(p.ports[n.Switch], n)
		p.neighbours.wayBack(n.Switch, time.Now())
	}
	p.schedule()
}

// gateway takes in that packets may leave by a machine of the physical network at
// any time, or that they no longer do.
func (p *physical) gateway(n flows.Gateway, begun bool) {
	p.do(p.neighbours.expect(hop{n.Switch, n.IP}, begun, time.Now()))
	p.schedule()
}

// linkBack follows up on a way out whose link has come back.
func (p *physical) linkBack(ofport uint32, sw string) {
	p.announcer.anew(time.Now(), func(n flows.Address) bool { return n.OFPort == ofport })
	p.neighbours.wayBack(sw, time.Now())
	p.schedule()
}

// announceAll tells the physical network again which addresses are here.
func (p *physical) announceAll() { p.announceIf(func(flows.Address) bool { return true }) }

// announceShared is announceAll for addresses that other edges may have, too.
func (p *physical) announceShared() {
	p.announceIf(func(n flows.Address) bool { return n.Bits == 0 })
}

// announceIf is announceAll for those that concerned selects.
func (p *physical) announceIf(concerned func(flows.Address) bool) {
	p.announcer.anew(time.Now(), concerned)
	p.schedule()
}

// packet takes a packet that a flow sent.
func (p *physical) packet(in ovs.Packet) {
	now := time.Now()
	switch in.Why {
	case flows.NoNeighbour, flows.NeighbourSaid:
		sw, ok := p.a.model.Get(topology.Datapath(in.Datapath)).(topology.Switch)
		if !ok {
			return // it has just been deleted
		}
		if in.Why == flows.NeighbourSaid {
			p.do(p.neighbours.heard(sw.Name, in.Data, now))
		} else if in.NextHop.IsValid() {
			p.do(p.neighbours.wanted(hop{sw.Name, in.NextHop}, in, now))
		}
	default:
		p.errand(in)
	}
	p.schedule()
}

// tick does what is due.
func (p *physical) tick() {
	now := time.Now()
	p.do(p.neighbours.tick(now))
	// What a node that is cut off announces, it could not deliver.
	if announcements := p.announcer.tick(now); !p.a.cutOff {
		p.inject(announcements)
	}
	p.schedule()
}

// errand does what the router that a packet is in owes.
func (p *physical) errand(in ovs.Packet) {
	p.inject(p.errands.run(in))
}

func (p *physical) schedule() {
	at, ok := p.neighbours.next()
	if other, too := p.announcer.next(); too && (!ok || other.Before(at)) {
		at, ok = other, true
	}
	if ok {
		p.timer.Reset(max(0, time.Until(at)))
	}
}

func (p *physical) do(e effect) {
	p.inject(e.inject)
	for _, failed := range e.failed {
		p.errand(failed)
	}
	if len(e.changes) > 0 {
		p.a.took(p.a.model.Apply(e.changes))
	}
}

func (p *physical) inject(all []injection) {
	for _, i := range all {
		// Like any packet it may get lost; while Open vSwitch is away all do.
		if err := p.a.ovs.Inject(i.Frame, i.Actions...); err != nil {
			p.a.log.Debug("a packet is lost", "error", err)
			return
		}
	}
}
