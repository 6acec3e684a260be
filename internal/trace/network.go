package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Settings are how the agent of a chassis runs, which the store does not tell.
// The zero Settings are the defaults.
type Settings struct {
	AllFlows   bool   // it has flows to all ports (ONDEMAND=0), not only to those that traffic goes to
	NoRedirect bool   // edges do not forward what the node cannot deliver itself (ENABLE_REDIRECT=0)
	Untunnel   bool   // what goes to the physical network leaves by the host's own stack
	Hash       string // what chooses among equal routes: a name of flows.Hashes; empty for the default
}

// Network tells the ways of packets from what the store holds alone. It compiles
// the flows of each chassis that a packet comes to, as that chassis' agent does,
// and keeps them, the latest of them if there are many: the first packet takes as
// long as that, those after it much less than a millisecond. What an agent knows beside the store is assumed:
//
//   - On a chassis are the interfaces of the ports whose chassis= names it, with the
//     children of these, and a tunnel to every other chassis that has a record.
//   - BFD finds every chassis alive that has no down/ key.
//   - Machines of the physical network answer ARP (Step.Assumed). Their MACs are
//     made up.
//   - No connection is tracked yet: a packet that goes to an snat address is taken
//     for one that belongs to none, even if it were the answer of one that does.
//   - Traffic goes to where the packet goes: ports that a node wants flows for
//     have them.
//
// A Network may be used by several goroutines; they take turns.
type Network struct {
	settings func(chassis string) Settings

	mu       sync.Mutex
	stored   []topology.Change
	model    *topology.Model                  // of what is stored alone
	plugged  map[string][]topology.SwitchPort // by chassis
	chassis  []topology.Chassis               // ordered by name
	carriers map[flows.Carrier]bool           // nil before the first chassis is compiled
	bridges  map[string]*bridge
	clock    int // counts what bridge was asked for
}

// maxStored bounds what all bridges together hold of what is stored: a bridge of
// 20,000 ports takes 30 to 50 MB.
const maxStored = 500_000

// NewNetwork returns the network of what the store holds, as store.Update tells
// it in its snapshot. Settings may be nil: then all agents run as by default.
func NewNetwork(stored []topology.Change, settings func(chassis string) Settings) *Network {
	if settings == nil {
		settings = func(string) Settings { return Settings{} }
	}
	n := &Network{settings: settings, stored: stored, model: topology.NewModel(),
		plugged: map[string][]topology.SwitchPort{}, bridges: map[string]*bridge{}}
	n.model.Apply(stored)
	for e := range n.model.All() {
		switch e := e.(type) {
		case topology.Chassis:
			n.chassis = append(n.chassis, e)
		case topology.SwitchPort:
			if e.Chassis != "" && (e.Peer == "" || e.Outer()) && e.Parent == "" {
				n.plugged[e.Chassis] = append(n.plugged[e.Chassis], e)
			}
		}
	}
	slices.SortFunc(n.chassis, func(a, b topology.Chassis) int { return a.Key().Compare(b.Key()) })
	for _, ports := range n.plugged {
		slices.SortFunc(ports, func(a, b topology.SwitchPort) int { return a.Key().Compare(b.Key()) })
	}
	return n
}

// madeUpNeighbour is the second byte of the MAC of a machine of the physical
// network.
const madeUpNeighbour = 0x4e

var madeUpHostStack = topology.MAC{2, madeUpNeighbour + 1}

// neighbourMAC is the MAC that a machine of the physical network is said to have.
func neighbourMAC(ip netip.Addr) topology.MAC {
	b := ip.As4()
	return topology.MAC{2, madeUpNeighbour, b[0], b[1], b[2], b[3]}
}

// madeUp reports whether neighbourMAC returned a MAC.
func madeUp(m topology.MAC) bool { return m[0] == 2 && m[1] == madeUpNeighbour }

// bridge is what the integration bridge of one chassis holds, and where its ports
// lead.
type bridge struct {
	node    topology.Node
	model   *topology.Model
	engine  *flows.Engine
	tables  *Tables
	leads   map[outlet]End
	ports   uint32                      // OpenFlow ports
	ofports map[topology.Key]uint32     // of interfaces and tunnels
	invents map[topology.Neighbour]bool // during one trace
	used    int                         // when, by the network's clock
}

// outlet is a way out of a bridge: an OpenFlow port, which are numbered from 1,
// with the VLAN id of a child, or without (0).
type outlet struct {
	ofport uint32
	tag    uint16
}

// lead returns where an OpenFlow port leads with a VLAN tag, or without one (0).
func (b *bridge) lead(ofport uint32, tag uint16) End {
	for _, o := range []outlet{{ofport, tag}, {ofport, 0}} {
		if end, ok := b.leads[o]; ok {
			return end
		}
	}
	return End{Kind: Lost, Why: "it left by no port that is known"}
}

// bridge returns that of a chassis.
func (n *Network) bridge(chassis string) *bridge {
	n.clock++
	if b := n.bridges[chassis]; b != nil {
		b.used = n.clock
		return b
	}
	s := n.settings(chassis)
	own, registered := n.model.Get(topology.Chassis{Name: chassis}.Key()).(topology.Chassis)
	b := &bridge{
		node: topology.Node{Chassis: chassis, IP: own.IP, MTU: own.MTU, Hash: s.Hash,
			OnDemand: !s.AllFlows, Redirect: !s.NoRedirect},
		model:   topology.NewModel(),
		leads:   map[outlet]End{},
		ofports: map[topology.Key]uint32{},
		invents: map[topology.Neighbour]bool{},
		used:    n.clock,
	}
	facts := []topology.Entity{b.node}
	if s.Untunnel {
		facts = append(facts, topology.HostStack{OFPort: b.port(End{Kind: Host}), MAC: madeUpHostStack})
	}
	for _, port := range n.plugged[chassis] {
		i := topology.Interface{Port: port.Name, OFPort: b.port(End{Kind: Output, Iface: port.Name})}
		b.ofports[i.Key()] = i.OFPort
		facts = append(facts, i)
		for _, child := range n.children(port) {
			c := topology.Interface{Port: child.Name, OFPort: i.OFPort, Tag: child.Tag}
			b.ofports[c.Key()] = c.OFPort
			b.leads[outlet{c.OFPort, c.Tag}] = End{Kind: Output, Iface: child.Name}
			facts = append(facts, c)
		}
	}
	var tunnels []topology.Tunnel
	for _, c := range n.chassis {
		if c.Name != chassis && c.IP != own.IP {
			t := topology.Tunnel{Chassis: c.Name, OFPort: b.port(End{Kind: Tunnel, Chassis: c.Name})}
			b.ofports[t.Key()] = t.OFPort
			tunnels = append(tunnels, t)
			facts = append(facts, t)
		}
	}
	changes := slices.Clip(n.stored) // what is appended goes elsewhere
	for _, e := range facts {
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e})
	}
	b.engine = flows.NewEngine(b.model)
	delta := b.engine.Update(b.model.Apply(changes).Touched)
	b.tables = NewTables(b.engine.All())
	if n.carriers == nil {
		n.carriers = carriers(delta)
	}
	if registered { // a host whose record is gone has BFD watch nothing
		for _, t := range tunnels {
			if n.watched(chassis, t.Chassis) {
				t.Watched = true
				b.apply(topology.Change{Key: t.Key(), Entity: t})
			}
		}
	}
	n.bridges[chassis] = b
	return b
}

// port makes an OpenFlow port that leads somewhere.
func (b *bridge) port(leads End) uint32 {
	b.ports++
	if b.ports == flows.NoPort { // which is none
		b.ports++
	}
	b.leads[outlet{b.ports, 0}] = leads
	return b.ports
}

// children returns the child ports of a port.
func (n *Network) children(parent topology.SwitchPort) []topology.SwitchPort {
	if !parent.CanHaveChildren() {
		return nil
	}
	var out []topology.SwitchPort
	for _, e := range n.model.List(topology.Key{Kind: topology.KindChildren, Name: parent.Name}) {
		out = append(out, e.(topology.SwitchPort))
	}
	return out
}

// apply takes in changes of the node's own facts.
func (b *bridge) apply(changes ...topology.Change) {
	b.tables.Apply(b.engine.Update(b.model.Apply(changes).Touched))
}

// carriers returns what the rules of a chassis say of where routes lead. It is
// the same on all.
func carriers(d flows.Delta) map[flows.Carrier]bool {
	found := map[flows.Carrier]bool{}
	for _, note := range d.Begun {
		if c, ok := note.(flows.Carrier); ok {
			found[c] = true
		}
	}
	return found
}

// watched reports whether BFD watches the tunnel between two chassis.
func (n *Network) watched(a, b string) bool {
	for c := range n.carriers {
		if c.To == a && (c.From == "" || c.From == b) || c.To == b && (c.From == "" || c.From == a) {
			return true
		}
	}
	return false
}

// down reports whether a chassis is known to be down.
func (n *Network) down(chassis string) bool {
	return n.model.Get(topology.Absence{Chassis: chassis}.Key()) != nil
}

// source returns the port that a packet is to come from. The error says why none
// can.
func (n *Network) source(name string) (topology.SwitchPort, error) {
	port, err := SourcePort(n.model, name)
	if err != nil {
		return port, err
	}
	if port.Chassis == "" && isFree(port) {
		text, _ := nowhere(port)
		return port, fmt.Errorf("%s %s", port.Key(), text)
	}
	if port.Chassis == "" {
		return port, fmt.Errorf("%s is plugged in on no chassis: give an interface there external_ids:iface-id=%s", port.Key(), cmp.Or(port.Parent, port.Name))
	}
	parent, _ := n.model.Get(topology.Key{Kind: topology.KindPortName, Name: port.Parent}).(topology.SwitchPort)
	if port.Parent != "" && (parent.Chassis != port.Chassis || !parent.CanHaveChildren()) {
		return port, fmt.Errorf("%s is on %s, as the store has it, and its parent %s is not plugged in there", port.Key(), port.Chassis, port.Parent)
	}
	return port, nil
}

// wanted returns the port that a packet in a state is on its way to and for which
// a node on demand wants flows.
func (n *Network) wanted(s *flows.State) (topology.Demand, bool) {
	var e topology.Entity
	at := func(sw string, f flows.Field) {
		ip := addr4(uint32(s.Get(flows.All(f))))
		if !ip.IsValid() {
			return
		}
		if p, ok := n.model.Get(topology.PortAt(sw, topology.PortID(ip))).(topology.SwitchPort); ok && p.IP == ip {
			e = p
		}
	}
	switch in := n.model.Get(topology.Datapath(uint32(s.Get(flows.BitsDatapath)))).(type) {
	case topology.Router:
		rp, _ := n.model.Get(topology.RouterPortAt(in.Name, uint16(s.Get(flows.BitsDstPort)))).(topology.RouterPort)
		if sp, ok := n.model.Get(topology.Key{Kind: topology.KindPortName, Name: rp.Peer}).(topology.SwitchPort); ok {
			at(sp.Switch, flows.IPDst)
		}
	case topology.Switch:
		if s.Get(flows.All(flows.ARPOp)) == arpRequest {
			at(in.Name, flows.ARPTpa)
		} else {
			e = n.model.Get(topology.PortWithMAC(in.Name, macOf(s.Get(flows.All(flows.EthDst)))))
		}
	}
	port, ok := e.(topology.SwitchPort)
	return topology.Demand{Switch: port.Switch, Port: port.Name}, ok && port.Peer == "" && !port.Outer()
}
