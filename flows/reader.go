package flows

import (
	"net/netip"
	"slices"

	"tuplenet/internal/topology"
)

// Reader is how a rule reads the topology. It remembers every key that was
// asked for, whether or not there was anything, and the engine runs the rule
// again when one of them changes. A Reader is valid during the run only.
type Reader struct {
	engine *Engine
	nodes  []*node // what the present run read
}

func (r *Reader) get(key topology.Key) topology.Entity {
	n := r.engine.node(key)
	if !slices.Contains(r.nodes, n) {
		r.nodes = append(r.nodes, n)
	}
	return r.engine.model.Get(key)
}

func find[E topology.Entity](r *Reader, key topology.Key) (E, bool) {
	e, ok := r.get(key).(E)
	return e, ok
}

// list returns what an index finds, with its type.
func list[E topology.Entity](r *Reader, key topology.Key) []E {
	r.get(key)
	found := r.engine.model.List(key)
	out := make([]E, len(found))
	for i, e := range found {
		out[i] = e.(E)
	}
	return out
}

// Node returns the host that flows are compiled for.
func (r *Reader) Node() topology.Node {
	n, _ := find[topology.Node](r, topology.Node{}.Key())
	return n
}

// Switch returns the switch of that name.
func (r *Reader) Switch(name string) (topology.Switch, bool) {
	return find[topology.Switch](r, topology.Switch{Name: name}.Key())
}

// Router returns the router of that name.
func (r *Reader) Router(name string) (topology.Router, bool) {
	return find[topology.Router](r, topology.Router{Name: name}.Key())
}

// PortNamed returns the switch port of that bare name, whichever its switch.
func (r *Reader) PortNamed(name string) (topology.SwitchPort, bool) {
	return find[topology.SwitchPort](r, topology.Key{Kind: topology.KindPortName, Name: name})
}

// RouterPortNamed returns the router port of that bare name, whichever its
// router.
func (r *Reader) RouterPortNamed(name string) (topology.RouterPort, bool) {
	return find[topology.RouterPort](r, topology.Key{Kind: topology.KindRouterPortName, Name: name})
}

// Connected returns the router port that port's network is reached through: of
// several ports in one network the one that was created first.
func (r *Reader) Connected(port topology.RouterPort) (topology.RouterPort, bool) {
	return find[topology.RouterPort](r, topology.Key{
		Kind: topology.KindRouterNet, Parent: port.Router, Name: port.Net.Masked().String()})
}

// Interface returns the local interface that is plugged into a switch port, or
// that a child's packets pass through.
func (r *Reader) Interface(port topology.SwitchPort) (topology.Interface, bool) {
	i, ok := find[topology.Interface](r, topology.Interface{Port: port.Name}.Key())
	return i, ok && i.Tag == port.Tag // of what the port was the agent will take leave
}

// Parent returns the port whose interface a child's packets pass through, if
// that can be one.
func (r *Reader) Parent(child topology.SwitchPort) (topology.SwitchPort, bool) {
	p, ok := r.PortNamed(child.Parent)
	return p, ok && p.CanHaveChildren()
}

// Tunnel returns the local tunnel port to a chassis.
func (r *Reader) Tunnel(chassis string) (topology.Tunnel, bool) {
	return find[topology.Tunnel](r, topology.Tunnel{Chassis: chassis}.Key())
}

// Chassis returns the record of a chassis.
func (r *Reader) Chassis(name string) (topology.Chassis, bool) {
	return find[topology.Chassis](r, topology.Chassis{Name: name}.Key())
}

// HostStack returns the port to this host's own network stack.
func (r *Reader) HostStack() (topology.HostStack, bool) {
	return find[topology.HostStack](r, topology.HostStack{}.Key())
}

// PortWith returns the port of a switch that has the address ip.
func (r *Reader) PortWith(sw string, ip netip.Addr) (topology.SwitchPort, bool) {
	p, ok := find[topology.SwitchPort](r, topology.PortAt(sw, topology.PortID(ip)))
	return p, ok && p.IP == ip
}

// RouterPorts returns the ports of a router.
func (r *Reader) RouterPorts(router string) []topology.RouterPort {
	return list[topology.RouterPort](r, topology.Key{Kind: topology.KindRouterPorts, Name: router})
}

// Routes returns the static routes of route's router with its prefix.
func (r *Reader) Routes(route topology.StaticRoute) []topology.StaticRoute {
	return list[topology.StaticRoute](r, topology.Key{
		Kind: topology.KindRoutes, Parent: route.Router, Name: route.Net.Masked().String()})
}

// RouteBy returns a static route of n's router whose next hop is n's external
// address.
func (r *Reader) RouteBy(n topology.NAT) (topology.StaticRoute, bool) {
	return find[topology.StaticRoute](r, topology.Key{Kind: topology.KindNextHop, Parent: n.Router, Name: n.XlateIP.String()})
}

// Wider returns an snat rule of n's router whose network lies around n's.
func (r *Reader) Wider(n topology.NAT) (topology.NAT, bool) {
	for bits := n.Net.Bits() - 1; bits > 0; bits-- {
		around, _ := n.Net.Addr().Prefix(bits)
		for _, o := range list[topology.NAT](r, topology.Key{Kind: topology.KindNATs, Parent: n.Router, Name: around.String()}) {
			if o.Type == topology.SNAT {
				return o, true
			}
		}
	}
	return topology.NAT{}, false
}

// NATs returns the NAT rules of n's router that translate n's network.
func (r *Reader) NATs(n topology.NAT) []topology.NAT {
	return list[topology.NAT](r, topology.Key{Kind: topology.KindNATs, Parent: n.Router, Name: n.Net.Masked().String()})
}

// NATsTo returns the NAT rules of n's router with n's external address.
func (r *Reader) NATsTo(n topology.NAT) []topology.NAT {
	return list[topology.NAT](r, topology.Key{Kind: topology.KindNATAddress, Parent: n.Router, Name: n.XlateIP.String()})
}

// DNAT returns the dnat rule of n's router for n's external address.
func (r *Reader) DNAT(n topology.NAT) (topology.NAT, bool) {
	return find[topology.NAT](r, topology.Key{Kind: topology.KindDNAT, Parent: n.Router, Name: n.XlateIP.String()})
}

// HasRule reports whether there is a rule between n's addresses of type t.
func (r *Reader) HasRule(n topology.NAT, t topology.NATType) bool {
	_, ok := find[topology.NAT](r, n.Rule(t))
	return ok
}

// OuterPorts returns the ports of a switch that lead to the physical network.
func (r *Reader) OuterPorts(sw string) []topology.SwitchPort {
	return list[topology.SwitchPort](r, topology.Key{Kind: topology.KindOuterPorts, Name: sw})
}

// LeadsOut reports whether a switch has a port to the physical network.
func (r *Reader) LeadsOut(sw string) bool {
	_, yes := find[topology.SwitchPort](r, topology.Key{Kind: topology.KindOuterPorts, Name: sw})
	return yes
}

// WayOut returns the local interface of a switch's outer port.
func (r *Reader) WayOut(sw string) (topology.Interface, bool) {
	for _, p := range r.OuterPorts(sw) {
		if i, ok := r.Interface(p); ok {
			return i, true
		}
	}
	return topology.Interface{}, false
}

// RouterOf returns the router port that a switch port is joined to, and its
// router. Both ports must name each other as peers.
func (r *Reader) RouterOf(port topology.SwitchPort) (topology.RouterPort, topology.Router, bool) {
	if port.Peer == "" || port.Outer() {
		return topology.RouterPort{}, topology.Router{}, false
	}
	rp, ok := r.RouterPortNamed(port.Peer)
	if !ok || rp.Peer != port.Name {
		return topology.RouterPort{}, topology.Router{}, false
	}
	router, ok := r.Router(rp.Router)
	return rp, router, ok
}

// SwitchOf returns the switch port that a router port is joined to, and its
// switch. Both ports must name each other as peers.
func (r *Reader) SwitchOf(port topology.RouterPort) (topology.SwitchPort, topology.Switch, bool) {
	if port.Peer == "" {
		return topology.SwitchPort{}, topology.Switch{}, false
	}
	sp, ok := r.PortNamed(port.Peer)
	if !ok || sp.Peer != port.Name || sp.Outer() {
		return topology.SwitchPort{}, topology.Switch{}, false
	}
	sw, ok := r.Switch(sp.Switch)
	return sp, sw, ok
}

// Reaches reports whether packets from or for this node can come through a
// switch or router.
func (r *Reader) Reaches(device topology.Key) bool {
	r.get(reachedKey(topology.Key{}))
	r.get(reachedKey(device))
	return r.engine.reach.has(device)
}

// OnDemand reports whether flows to remote ports are made only when they are
// wanted. Not where a router is pinned to this node: others take it for one
// that knows all ports.
func (r *Reader) OnDemand() bool {
	node := r.Node()
	if !node.OnDemand {
		return false
	}
	_, edge := find[topology.Router](r, topology.Pinned(node.Chassis))
	return !edge
}

// Edges returns the chassis, ordered by name, that routers are pinned to.
func (r *Reader) Edges() []string {
	var edges []string
	for _, router := range list[topology.Router](r, topology.Pinned("")) {
		edges = append(edges, router.Chassis)
	}
	slices.Sort(edges)
	return slices.Compact(edges)
}

// Absent reports whether a chassis is known to be down.
func (r *Reader) Absent(chassis string) bool {
	_, yes := find[topology.Absence](r, topology.Absence{Chassis: chassis}.Key())
	return yes
}

// Routed returns the ports of the routers on this node that lead into a switch.
func (r *Reader) Routed(sw string) []topology.RouterPort {
	var ports []topology.RouterPort
	for _, p := range list[topology.SwitchPort](r, topology.Key{Kind: topology.KindJoinedPorts, Name: sw}) {
		if rp, router, ok := r.RouterOf(p); ok && r.Here(router) {
			ports = append(ports, rp)
		}
	}
	return ports
}

// Here reports whether a router lives on this node: it does unless it is
// pinned to another chassis.
func (r *Reader) Here(router topology.Router) bool {
	return router.Chassis == "" || router.Chassis == r.Node().Chassis
}
