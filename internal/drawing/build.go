package drawing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"tuplenet/internal/topology"
)

// New returns the graph of everything that the store holds. Of entities that
// contend for an address, an id or a name the one that counts is drawn, and
// the others are marks on what they hang on (see topology.Model).
func New(changes []topology.Change) *Graph {
	b := builder{model: topology.NewModel(), nodes: map[topology.Key]*Node{}, bound: map[[2]*Node]*Edge{}, ignored: map[topology.Key]bool{}}
	conflicts := b.model.Replace(changes).Conflicts
	slices.SortFunc(conflicts, func(a, b topology.Conflict) int { return a.Ignored.Compare(b.Ignored) })
	// In an order of its own, so that marks and edges are the same each time.
	changes = slices.SortedFunc(slices.Values(changes), func(a, b topology.Change) int { return a.Key.Compare(b.Key) })
	for _, c := range changes {
		b.device(c)
	}
	for _, c := range conflicts {
		b.mark(c.Ignored, "%s", c)
		b.ignored[topology.Key{Kind: c.Ignored.Kind, Name: c.Ignored.Name}] = true
	}
	for _, c := range changes {
		switch {
		case c.Err != nil:
			b.mark(c.Key, "%s is skipped, its value cannot be used: %v", c.Key, c.Err)
		case b.model.Get(c.Key) != nil:
			b.add(c.Entity)
		}
	}
	nodes := make([]*Node, 0, len(b.nodes))
	for _, n := range b.nodes {
		b.finish(n)
		nodes = append(nodes, n)
	}
	return newGraph(nodes, b.edges, false)
}

type builder struct {
	model *topology.Model
	nodes map[topology.Key]*Node
	edges []*Edge
	bound map[[2]*Node]*Edge // by switch and chassis

	ignored map[topology.Key]bool // what is there and does not count, by kind and bare name
}

// gone says why something cannot be referred to.
func (b *builder) gone(kind topology.Kind, name string) string {
	if b.ignored[topology.Key{Kind: kind, Name: name}] {
		return "which is ignored"
	}
	return "which does not exist"
}

// device makes the node of a router, switch or chassis, whether it counts or
// not.
func (b *builder) device(c topology.Change) {
	if _, ok := kindOrder[c.Key.Kind]; !ok {
		return
	}
	n := &Node{Key: c.Key}
	switch e := c.Entity.(type) {
	case topology.Switch:
		n.ID = e.ID
	case topology.Router:
		n.ID = e.ID
	case topology.Chassis:
		n.IP, n.MTU = e.IP, e.MTU
	}
	b.nodes[c.Key] = n
}

// node returns a router, switch or chassis, also if the store lacks it.
func (b *builder) node(kind topology.Kind, name string) *Node {
	key := topology.Key{Kind: kind, Name: name}
	n := b.nodes[key]
	if n == nil {
		n = &Node{Key: key, Missing: true}
		b.nodes[key] = n
	}
	return n
}

func (b *builder) chassis(name string) *Node { return b.node(topology.KindChassis, name) }

// mark says of an entity that something is wrong with it.
func (b *builder) mark(key topology.Key, format string, args ...any) {
	switch key.Kind {
	case topology.KindSwitchPort, topology.KindRouterPort, topology.KindStaticRoute, topology.KindNAT:
		key = topology.Key{Kind: key.Kind.Parent(), Name: key.Parent}
	case topology.KindPresence, topology.KindContender, topology.KindAbsence:
		key.Kind = topology.KindChassis
	}
	n := b.node(key.Kind, key.Name)
	n.Marks = append(n.Marks, fmt.Sprintf(format, args...))
}

func (b *builder) edge(e *Edge) { b.edges = append(b.edges, e) }

// add puts an entity that counts into the graph.
func (b *builder) add(e topology.Entity) {
	switch e := e.(type) {
	case topology.Router:
		if e.Chassis != "" {
			b.edge(&Edge{Relation: Pinned, From: b.nodes[e.Key()], To: b.chassis(e.Chassis)})
		}
	case topology.SwitchPort:
		b.switchPort(e)
	case topology.RouterPort:
		b.routerPort(e)
	case topology.StaticRoute:
		b.route(e)
	case topology.NAT:
		n := b.node(topology.KindRouter, e.Router)
		n.NATs = append(n.NATs, e)
	case topology.Presence:
		n := b.chassis(e.Chassis)
		n.State = Up
		if e.Stopped {
			n.State = Stopped
		}
	case topology.Absence:
		// Who is back is up, whatever was said while it was away.
		if n := b.nodes[topology.Chassis{Name: e.Chassis}.Key()]; n != nil && n.State == Unknown {
			n.State, n.Since = Down, e.Since
		}
	case topology.Contender:
		b.mark(topology.Chassis{Name: e.Chassis}.Key(), "another host, %s, was refused, as it has the same system-id", e.IP)
	}
}

func (b *builder) switchPort(p topology.SwitchPort) {
	n := b.node(topology.KindSwitch, p.Switch)
	switch {
	case p.Outer() && p.Chassis == "":
		b.mark(p.Key(), "port %s leads to the physical network, but is plugged in on no chassis", p.Name)
	case p.Outer():
		b.edge(&Edge{Relation: Outer, From: n, To: b.chassis(p.Chassis), SwitchPort: p.Name, Bridge: p.Peer})
	case p.Peer != "":
		peer, ok := b.model.Get(topology.Key{Kind: topology.KindRouterPortName, Name: p.Peer}).(topology.RouterPort)
		switch {
		case !ok:
			b.mark(p.Key(), "port %s leads to router port %s, %s", p.Name, p.Peer, b.gone(topology.KindRouterPort, p.Peer))
		case peer.Peer != p.Name:
			b.mark(p.Key(), "port %s leads to port %s of router %s, which does not lead back", p.Name, p.Peer, peer.Router)
		}
	default:
		if b.model.Get(topology.Key{Kind: topology.KindPortName, Name: p.Parent}) == nil && p.Parent != "" {
			b.mark(p.Key(), "port %s is a child of port %s, %s", p.Name, p.Parent, b.gone(topology.KindSwitchPort, p.Parent))
		}
		n.Ports = append(n.Ports, p)
		if p.Chassis != "" {
			b.bind(n, b.chassis(p.Chassis))
		}
	}
}

func (b *builder) bind(sw, chassis *Node) {
	chassis.Bound++
	e := b.bound[[2]*Node{sw, chassis}]
	if e == nil {
		e = &Edge{Relation: Bound, From: sw, To: chassis}
		b.bound[[2]*Node{sw, chassis}] = e
		b.edge(e)
	}
	e.Ports++
}

func (b *builder) routerPort(p topology.RouterPort) {
	n := b.node(topology.KindRouter, p.Router)
	peer, ok := b.peer(p)
	switch {
	case p.Peer == "":
		b.mark(p.Key(), "port %s (%s) is plugged into no switch", p.Name, p.Net)
	case !ok:
		b.mark(p.Key(), "port %s (%s) leads to switch port %s, %s", p.Name, p.Net, p.Peer, b.gone(topology.KindSwitchPort, p.Peer))
	case peer.Peer != p.Name || peer.Outer():
		b.mark(p.Key(), "port %s (%s) leads to port %s of switch %s, which does not lead back", p.Name, p.Net, p.Peer, peer.Switch)
	default:
		b.edge(&Edge{Relation: Link, From: n, To: b.node(topology.KindSwitch, peer.Switch), Net: p.Net, RouterPort: p.Name, SwitchPort: peer.Name})
	}
}

// peer returns the switch port that a router port is plugged into.
func (b *builder) peer(p topology.RouterPort) (topology.SwitchPort, bool) {
	peer, ok := b.model.Get(topology.Key{Kind: topology.KindPortName, Name: p.Peer}).(topology.SwitchPort)
	return peer, ok
}

func (b *builder) route(e topology.StaticRoute) {
	n := b.node(topology.KindRouter, e.Router)
	r := Route{StaticRoute: e}
	out, ok := b.model.Get(topology.Key{Kind: topology.KindRouterPort, Parent: e.Router, Name: e.OutPort}).(topology.RouterPort)
	if !ok {
		b.mark(e.Key(), "route %s (%s) leaves by the router's port %s, %s", e.Name, e.Net, e.OutPort, b.gone(topology.KindRouterPort, e.OutPort))
	} else if peer, ok := b.peer(out); ok {
		r.Switch = peer.Switch
		r.Router = b.routerAt(peer.Switch, e.NextHop)
	}
	n.Routes = append(n.Routes, r)
}

// routerAt returns the router that has an address in a switch, or nothing.
func (b *builder) routerAt(sw string, ip netip.Addr) string {
	p, ok := b.model.Get(topology.PortAt(sw, topology.PortID(ip))).(topology.SwitchPort)
	if !ok || p.IP != ip || p.Peer == "" {
		return ""
	}
	r, _ := b.model.Get(topology.Key{Kind: topology.KindRouterPortName, Name: p.Peer}).(topology.RouterPort)
	return r.Router
}

// finish puts what a node lists into its order.
func (b *builder) finish(n *Node) {
	if n.Missing {
		what := "does not exist"
		if n.Key.Kind == topology.KindChassis {
			what = "has no record"
		}
		n.Marks = slices.Insert(n.Marks, 0, what)
	}
	slices.SortStableFunc(n.Ports, func(a, b topology.SwitchPort) int { return a.IP.Compare(b.IP) })
	slices.SortStableFunc(n.Routes, func(a, b Route) int {
		return cmp.Or(a.Net.Masked().Addr().Compare(b.Net.Masked().Addr()), cmp.Compare(a.Net.Bits(), b.Net.Bits()), natural(a.Name, b.Name))
	})
	slices.SortStableFunc(n.NATs, func(a, b topology.NAT) int {
		return cmp.Or(a.Net.Masked().Addr().Compare(b.Net.Masked().Addr()), a.XlateIP.Compare(b.XlateIP), cmp.Compare(b.Type, a.Type))
	})
}

// natural compares names as people count: LS-9 before LS-10.
func natural(a, b string) int {
	for x, y := a, b; x != "" && y != ""; {
		n, m := digits(x), digits(y)
		if n > 0 && m > 0 {
			u, _ := strconv.ParseUint(x[:n], 10, 64)
			v, _ := strconv.ParseUint(y[:m], 10, 64)
			if u != v {
				return cmp.Compare(u, v)
			}
			x, y = x[n:], y[m:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Compare(a, b)
}

// digits returns the number of decimal digits that s begins with, as far as
// they fit into a number.
func digits(s string) int {
	n := 0
	for n < len(s) && n < 18 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
