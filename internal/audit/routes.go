package audit

import (
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// network is a network as one router knows it.
type network struct {
	router string
	net    netip.Prefix // masked
}

// routes finds static routes that lead nowhere, in circles, or are not used.
func (a *audit) routes() {
	byNet := map[network][]topology.StaticRoute{}
	next := map[topology.Key]topology.RouterPort{} // the port of the next router
	var order []network
	for _, r := range a.statics {
		key := r.Key()
		if what := a.problems[key]; what != "" {
			a.found(RouteDead, key, a.deadRoute(r, what))
			continue
		}
		out, _ := a.routerPortNamed(r.OutPort)
		sp, ok := a.plugged(out)
		if !ok {
			continue // the port is told of by itself
		}
		if !a.leadsOn(r, sp.Switch, next) {
			continue
		}
		n := network{r.Router, r.Net.Masked()}
		if byNet[n] == nil {
			order = append(order, n)
		}
		byNet[n] = append(byNet[n], r)
		if p, ok := a.model.Get(topology.Key{Kind: topology.KindRouterNet, Parent: r.Router, Name: n.net.String()}).(topology.RouterPort); ok && a.isPlugged(p) {
			a.found(RouteOverNetwork, key, Finding{
				What:   fmt.Sprintf("it sends what goes to %s to %s, and the router itself is in that network by port %s", n.net, r.NextHop, p.Name),
				Cure:   revise(key, "network"),
				Remedy: []string{a.del(key)}}, p.Key())
		}
	}
	for _, n := range order {
		a.unused(byNet[n], next)
	}
	a.loops(order, byNet, next)
}

// leadsOn reports whether somebody takes what a route sends into a switch, and
// enters the port of the next router in next.
func (a *audit) leadsOn(r topology.StaticRoute, sw string, next map[topology.Key]topology.RouterPort) bool {
	key := r.Key()
	hop, ok := a.portAt(sw, r.NextHop)
	if !ok {
		if a.leadsOut(sw) || a.announced(sw, r.NextHop) {
			return true
		}
		f := Finding{What: fmt.Sprintf("no port of switch %s, into which it leads, has its next hop's address %s", sw, r.NextHop)}
		if cause, ok := a.lostPort(sw, r.NextHop); ok {
			f.Follows = cause.String()
		} else {
			f.Cure = "make a port that has it: " + tpctl(topology.KindSwitchPort, "add", sw, "PORT", r.NextHop.String()) +
				"; or one that leads to it: " + Command(append([]string{"tpctl", "patchport", "add"}, operands(sw, "PORT", "CHASSIS", "BRIDGE")...)...)
			f.Remedy = []string{a.del(key)}
		}
		a.found(NextHopNobody, key, f)
		return false
	}
	if isWorkload(hop) {
		return true
	}
	rp, ok := a.routerPortNamed(hop.Peer)
	if !ok || rp.Peer != hop.Name || a.byKey[topology.Router{Name: rp.Router}.Key()] == nil {
		return false // the link is told of by itself
	}
	next[key] = rp
	if rp.Router != r.Router && !a.knows(rp, r.Net.Masked()) {
		f := Finding{What: fmt.Sprintf("the next router %s has neither a route nor a port to any address of %s", rp.Router, r.Net.Masked())}
		if cause, ok := a.lostWay(rp.Router, r.Net.Masked()); ok {
			f.Follows = cause.String()
		} else {
			f.Cure = "give that a route: " + tpctl(topology.KindStaticRoute, "add", rp.Router, "NAME", r.Net.Masked().String(), "NEXT_HOP", "OUT_PORT")
			f.Remedy = []string{a.del(key)}
		}
		a.found(NextRouterNoWay, key, f)
	}
	return true
}

// deadRoute returns what a route that cannot work follows from, or what mends it.
func (a *audit) deadRoute(r topology.StaticRoute, what string) Finding {
	key := r.Key()
	f := Finding{What: what, Cure: revise(key, "next hop or output port"), Remedy: []string{a.del(key)}}
	if _, ok := a.routerPortNamed(r.OutPort); ok {
		return f
	}
	if lost, ok := a.named[topology.Key{Kind: topology.KindRouterPort, Name: r.OutPort}]; ok {
		return Finding{What: what, Follows: lost.String()}
	}
	for _, p := range a.switchPorts {
		if p.Peer == r.OutPort && !p.Outer() {
			return Finding{What: what, Follows: p.Key().String()}
		}
	}
	f.Cure = "make that port again: " + tpctl(topology.KindRouterPort, "add", r.Router, r.OutPort, "CIDR")
	return f
}

// lostPort returns what is told of because a switch has no port with the address
// of a router that should have one there.
func (a *audit) lostPort(sw string, ip netip.Addr) (topology.Key, bool) {
	for _, p := range a.routerPorts {
		if sp, ok := a.portNamed(p.Peer); p.Net.Addr() == ip && !a.isPlugged(p) && (!ok || sp.Switch == sw) {
			return a.culprit(p), true
		}
	}
	return a.unreadableOf(topology.KindSwitchPort, sw)
}

// lostWay returns what is told of because a router has no way to a network that
// it should have one to.
func (a *audit) lostWay(router string, net netip.Prefix) (topology.Key, bool) {
	for _, p := range a.routerPorts {
		if p.Router == router && !a.isPlugged(p) && p.Net.Overlaps(net) {
			return a.culprit(p), true
		}
	}
	return a.unreadableOf(topology.KindStaticRoute, router)
}

// unreadableOf returns an object of a kind that hangs on a switch or router and
// whose value cannot be used.
func (a *audit) unreadableOf(kind topology.Kind, parent string) (topology.Key, bool) {
	i := slices.IndexFunc(a.items, func(i store.Item) bool {
		return i.Role == store.Object && i.Err != nil && i.Key.Kind == kind && i.Key.Parent == parent
	})
	if i < 0 {
		return topology.Key{}, false
	}
	return a.items[i].Key, true
}

// announced reports whether a router answers for an external address on a switch.
func (a *audit) announced(sw string, ip netip.Addr) bool {
	for _, p := range a.portsOf[sw] {
		rp, ok := a.routerPortNamed(p.Peer)
		if !ok || rp.Peer != p.Name {
			continue
		}
		for _, n := range a.model.List(topology.Key{Kind: topology.KindNATAddress, Parent: rp.Router, Name: ip.String()}) {
			if a.problems[n.Key()] == "" {
				return true
			}
		}
	}
	return false
}

// knows reports whether a router that packets for a network enter by a port has
// a way to some of them.
func (a *audit) knows(by topology.RouterPort, net netip.Prefix) bool {
	for _, p := range a.pluggedOf[by.Router] {
		if p != by && p.Net.Overlaps(net) || net.IsSingleIP() && p.Net.Addr() == net.Addr() {
			return true
		}
	}
	return slices.ContainsFunc(a.staticsOf[by.Router], func(r topology.StaticRoute) bool { return r.Net.Overlaps(net) }) ||
		slices.ContainsFunc(a.natsOf[by.Router], func(n topology.NAT) bool { return n.Type == topology.DNAT && net.Contains(n.XlateIP) })
}

// unused finds which routes of one network get no packets. One to a router on
// the same chassis gets them all; else those that lead to routers on other
// chassis share them, one for each chassis; else there is one that does.
func (a *audit) unused(routes []topology.StaticRoute, next map[topology.Key]topology.RouterPort) {
	if len(routes) < 2 {
		return
	}
	router := routes[0].Router
	say := func(r, used topology.StaticRoute, why string) {
		a.found(RouteUnused, r.Key(), Finding{What: fmt.Sprintf("route %s takes all its packets to %s: %s", used.Name, r.Net.Masked(), why),
			Cure: "leave it, if it is to take over when that one is deleted", Remedy: []string{a.del(r.Key())}})
	}
	var here, shared, local []topology.StaticRoute
	first := map[string]topology.StaticRoute{} // to a chassis
	for _, e := range a.model.List(topology.Key{Kind: topology.KindRoutes, Parent: router, Name: routes[0].Net.Masked().String()}) {
		r := e.(topology.StaticRoute)
		if !slices.Contains(routes, r) {
			continue
		}
		to := a.pinnedTo(next[r.Key()].Router)
		used, ok := first[to]
		switch {
		case to == "":
			local = append(local, r)
		case to == a.pinnedTo(router):
			here = append(here, r)
		case ok:
			say(r, used, "both lead to chassis "+to+", which gets one share")
		default:
			first[to] = r
			shared = append(shared, r)
		}
	}
	for _, group := range []struct {
		routes []topology.StaticRoute
		all    bool // whether all routes of the group get packets
		why    string
	}{
		{here, false, "it leads to a router on the same chassis, and such routes come first"},
		{shared, true, "it leads to a router on another chassis, and such routes come first"},
		{local, false, "only routes to routers on other chassis share packets"},
	} {
		if len(group.routes) == 0 {
			continue
		}
		used := group.routes[0]
		for _, r := range slices.Concat(here, shared, local) {
			if r != used && !(group.all && slices.Contains(group.routes, r)) {
				say(r, used, group.why)
			}
		}
		return
	}
}

// pinnedTo returns the chassis that a router is pinned to, or nothing.
func (a *audit) pinnedTo(router string) string {
	r, _ := a.model.Get(topology.Router{Name: router}.Key()).(topology.Router)
	return r.Chassis
}

// loops finds routers that send the packets to one network round in a circle.
func (a *audit) loops(order []network, byNet map[network][]topology.StaticRoute, next map[topology.Key]topology.RouterPort) {
	const (
		entered = iota + 1
		left
	)
	state := map[network]int{}
	var walk func(n network)
	walk = func(n network) {
		state[n] = entered
		for _, r := range byNet[n] {
			rp, ok := next[r.Key()]
			if !ok {
				continue
			}
			switch to := (network{rp.Router, n.net}); {
			case state[to] == entered:
				what := fmt.Sprintf("it leads back to router %s, where packets to %s have been", to.router, n.net)
				if to == n {
					what = "its next hop is a port of its own router"
				}
				a.found(RouteLoop, r.Key(), Finding{What: what, Cure: revise(r.Key(), "next hop"), Remedy: []string{a.del(r.Key())}}, rp.Key())
			case state[to] == 0:
				walk(to)
			}
		}
		state[n] = left
	}
	for _, n := range order {
		if state[n] == 0 {
			walk(n)
		}
	}
}
