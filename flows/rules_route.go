package flows

import (
	"cmp"
	"slices"

	"tuplenet/internal/topology"
)

// path is what becomes of a static route on this node.
type path struct {
	route   topology.StaticRoute
	out     topology.RouterPort
	chassis string // that the next router is pinned to, or empty
	here    bool   // the next router is pinned to this node
	leaves  string // the switch by whose way out, on this node, the next hop is reached
	ofport  uint32 // of the tunnel to chassis, if that is another node
}

// static reports whether the path needs nobody's help.
func (p path) static() bool { return p.ofport == 0 }

// pathOf finds where a route leads. If it leads nowhere from this node, ok is
// false, and problem says why if that is the route's fault. The chassis is told
// in any case.
func pathOf(r *Reader, route topology.StaticRoute) (p path, problem string, ok bool) {
	p.route = route
	p.out, ok = r.RouterPortNamed(route.OutPort)
	if !ok || p.out.Router != route.Router {
		return p, "its output port " + route.OutPort + " is no port of the router", false
	}
	if !p.out.Net.Contains(route.NextHop) {
		return p, "its next hop " + route.NextHop.String() + " is outside the network " + p.out.Net.Masked().String() +
			" of its output port " + route.OutPort, false
	}
	if p.out.Net.Addr() == route.NextHop {
		return p, "its next hop " + route.NextHop.String() + " is its own output port", false
	}
	if !topology.IsUnicast(route.NextHop) || !topology.IsHost(route.NextHop, p.out.Net) {
		return p, "its next hop " + route.NextHop.String() + " is no machine's", false
	}
	_, sw, ok := r.SwitchOf(p.out)
	if !ok {
		return p, "", false // the port says so itself
	}
	next, ok := r.PortWith(sw.Name, route.NextHop)
	if !ok {
		if _, ok = r.WayOut(sw.Name); ok {
			p.leaves = sw.Name
		}
		return p, "", ok
	}
	_, router, ok := r.RouterOf(next)
	if !ok {
		return p, "", next.Peer == "" // a workload that routes
	}
	p.chassis = router.Chassis
	switch {
	case router.Chassis == "":
		return p, "", true
	case r.Here(router):
		p.here = true
		return p, "", true
	}
	// Unwatched, nobody knew whether it leads anywhere.
	t, ok := r.Tunnel(router.Chassis)
	p.ofport = t.OFPort
	return p, "", ok && t.Watched
}

// staticRoute sends what goes to a network to the next hop. Routes to one
// network whose next routers live on other chassis share the packets; if the next
// router of one lives here, that one alone gets them.
//
//	router-route: hash over the live tunnels ─▶ router-path: next hop behind the one chosen
func staticRoute(r *Reader, route topology.StaticRoute) ([]Flow, []Note) {
	router, ok := r.Router(route.Router)
	if !ok {
		return nil, nil
	}
	own, problem, _ := pathOf(r, route)
	var notes []Note
	if own.chassis != "" && own.chassis != router.Chassis {
		notes = append(notes, Carrier{router.Chassis, own.chassis})
	}
	if !r.Here(router) || !r.Reaches(router.Key()) {
		return nil, notes
	}
	if problem != "" {
		return nil, append(notes, Problem{route.Key(), problem})
	}
	if own.leaves != "" {
		notes = append(notes, Gateway{own.leaves, route.NextHop})
	}
	static, shared := paths(r, route)
	match := where([]Match{inDatapath(router.ID), isIP}, prefixMatch(IPDst, route.Net)...)
	out, more := wayToNext(r, own)
	notes = append(notes, more...)
	if static != nil && static.route == route {
		out = append(out, Flow{TableRouterRoute, routePriority(route.Net.Bits(), rankStatic), match, forwardBy(*static)})
	}
	at := slices.IndexFunc(shared, func(p path) bool { return p.route == route })
	priority := routePriority(route.Net.Bits(), rankShared)
	if at >= 0 {
		out = append(out, Flow{TableRouterPath, priority,
			where(match, Exact(RegTunnel, uint64(shared[at].ofport))), forwardBy(shared[at])})
	}
	if at == 0 {
		choose := Choose{Fields: Hashes[r.Node().Hash], Dst: All(RegTunnel)}
		for _, p := range shared {
			choose.Ports = append(choose.Ports, p.ofport)
		}
		out = append(out, Flow{TableRouterRoute, priority, match, []Action{choose, Goto{TableRouterPath}}})
	}
	return out, notes
}

// paths finds, of the routes with one router and one network, the one that
// needs no other chassis, and those that share packets over tunnels, ordered by
// name so that all nodes hash alike. Either there are no shared ones, or they
// come before the other.
func paths(r *Reader, route topology.StaticRoute) (static *path, shared []path) {
	for _, o := range r.Routes(route) {
		p, _, ok := pathOf(r, o)
		switch {
		case !ok:
		case !p.static():
			shared = append(shared, p)
		case static == nil || p.here && !static.here:
			static = &p
		}
	}
	if static != nil && static.here {
		return static, nil
	}
	slices.SortFunc(shared, func(a, b path) int { return cmp.Compare(a.route.Name, b.route.Name) })
	// A chassis gets one share, however many routes lead there.
	seen := map[uint32]bool{}
	shared = slices.DeleteFunc(shared, func(p path) bool {
		twice := seen[p.ofport]
		seen[p.ofport] = true
		return twice
	})
	return static, shared
}

// wayToNext leads to a next hop that is a workload.
func wayToNext(r *Reader, p path) ([]Flow, []Note) {
	sp, _, ok := r.SwitchOf(p.out)
	if !ok {
		return nil, nil
	}
	next, ok := r.PortWith(sp.Switch, p.route.NextHop)
	if !ok || next.Peer != "" {
		return nil, nil
	}
	return wayTo(r, next)
}

func forwardBy(p path) []Action {
	return []Action{
		Load{All(RegNextHop), ipv4(p.route.NextHop)},
		DecTTL{},
		setDstPort(p.out.ID()),
		Goto{TableRouterReply},
	}
}
