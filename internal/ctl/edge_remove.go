package ctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// remains is what is there of a road: all of it, or what an interrupted run
// has left.
type remains struct {
	edge     string       // router; empty if it is gone
	outside  string       // switch
	port     topology.Key // the outside's port with the vip; empty if there is none
	switches []string     // the others that belong to the road
	note     string
}

// planRemove plans how the road that ends at vip is taken away. Every step
// leaves what leads to the rest, so that a plan made after an interruption
// finds it.
func (n *network) planRemove(vip netip.Addr) (plan, error) {
	r, err := n.find(vip)
	if err != nil {
		return plan{}, err
	}
	p := plan{edge: r.edge}
	if r.note != "" {
		p.notes = append(p.notes, r.note)
	}
	for _, sw := range r.switches {
		whole := n.exclusive(sw, r.edge)
		for _, sp := range n.switchPorts(sw) {
			rp, ok := n.pluggedInto(sp)
			switch {
			case ok && rp.Router == r.edge && !whole:
				p.then = append(p.then, step{object: "lsp", verb: "del", args: []string{sw, sp.Name}})
			case ok && rp.Router != r.edge && n.chassisOf(rp.Router) == "":
				p.first = append(p.first, n.routesThrough(r.edge, sw, rp, whole)...)
				if whole {
					p.then = append(p.then, step{object: "lrp", verb: "del", args: []string{rp.Router, rp.Name}})
				}
			}
		}
		if whole {
			p.then = append(p.then, step{object: "ls", verb: "del", flag: &recursiveFlag, args: []string{sw}})
		} else {
			p.notes = append(p.notes, fmt.Sprintf("switch %s stays, others use it", sw))
		}
	}
	if r.edge != "" {
		p.then = append(p.then, step{object: "lr", verb: "del", flag: &recursiveFlag, args: []string{r.edge}})
	}
	switch {
	case n.exclusive(r.outside, r.edge):
		p.then = append(p.then, step{object: "ls", verb: "del", flag: &recursiveFlag, args: []string{r.outside}})
	case r.port != topology.Key{}:
		p.then = append(p.then, step{object: "lsp", verb: "del", args: []string{r.outside, r.port.Name}})
		p.notes = append(p.notes, fmt.Sprintf("switch %s stays, others use it", r.outside))
	}
	p.notes = append(p.notes, n.losses(r.edge, p.first)...)
	return p, nil
}

// routesThrough returns the steps that end the traffic from a router's port
// through an edge. On a switch that is the road's alone nothing else can be at
// the other end.
func (n *network) routesThrough(edge, sw string, port topology.RouterPort, whole bool) []step {
	var steps []step
	for _, route := range n.routesBy(port) {
		through := slices.ContainsFunc(n.routerPorts(edge), func(p topology.RouterPort) bool {
			return p.Net.Addr() == route.NextHop && n.switchOf(p) == sw
		})
		if through || whole {
			steps = append(steps, step{object: "lsr", verb: "del", args: []string{route.Router, route.Name}})
		}
	}
	return steps
}

// losses tells what goes with a road that an operator may miss.
func (n *network) losses(edge string, routes []step) []string {
	var notes []string
	for _, rule := range n.natOf(edge) {
		rest := ""
		for _, o := range of(n, func(o topology.NAT) bool {
			return o.Router != edge && o.Net == rule.Net && o.Type == rule.Type && o.XlateIP == rule.XlateIP
		}) {
			rest = fmt.Sprintf("; %s has it, too", o.Router)
		}
		notes = append(notes, fmt.Sprintf("NAT rule %s of %s (%s %s %s) goes with it%s", rule.Name, rule.Router, rule.Net, rule.Type, rule.XlateIP, rest))
	}
	goes := map[topology.Key]bool{}
	for _, st := range routes {
		goes[topology.Key{Kind: topology.KindStaticRoute, Parent: st.args[0], Name: st.args[1]}] = true
	}
	for _, gone := range of(n, func(r topology.StaticRoute) bool { return goes[r.Key()] }) {
		others := of(n, func(r topology.StaticRoute) bool {
			return r.Router == gone.Router && r.Net.Masked() == gone.Net.Masked() && !goes[r.Key()]
		})
		if len(others) == 0 {
			notes = append(notes, fmt.Sprintf("router %s has no other route to %s", gone.Router, gone.Net.Masked()))
		}
	}
	return notes
}

// exclusive reports whether a switch holds nothing but ports of an edge's
// road: outer ports, the edge's and, between it and them, those of routers that
// live on every chassis.
func (n *network) exclusive(sw, edge string) bool {
	_, leadsOut := n.outerPort(sw)
	return !slices.ContainsFunc(n.switchPorts(sw), func(p topology.SwitchPort) bool {
		rp, ok := n.pluggedInto(p)
		switch {
		case p.Outer():
			return false
		case !ok: // a router's port that is gone already, or a workload's
			return p.Peer == ""
		}
		return rp.Router != edge && (leadsOut || n.chassisOf(rp.Router) != "")
	})
}

// find returns the road whose edge has the address vip.
func (n *network) find(vip netip.Addr) (remains, error) {
	ends := of(n, func(p topology.RouterPort) bool {
		return p.Net.Addr() == vip && n.chassisOf(p.Router) != "" && n.isOutside(n.switchOf(p))
	})
	switch len(ends) {
	case 0:
		return n.findRest(vip)
	case 1:
		return n.findFrom(ends[0]), nil
	}
	var names []string
	for _, p := range ends {
		names = append(names, p.Router)
	}
	return remains{}, fmt.Errorf(`several edges have the address %s: %s; "tpctl lr del -r" takes one of the routers away`, vip, strings.Join(names, ", "))
}

func (n *network) isOutside(sw string) bool {
	_, leadsOut := n.outerPort(sw)
	return leadsOut || strings.HasPrefix(sw, outsideName)
}

// findFrom follows a road from the edge's port with the vip.
func (n *network) findFrom(end topology.RouterPort) remains {
	r := remains{edge: end.Router, outside: n.switchOf(end)}
	for _, sp := range n.switchPorts(r.outside) {
		if rp, ok := n.pluggedInto(sp); ok && rp.Key() == end.Key() {
			r.port = sp.Key()
		}
	}
	for _, p := range n.routerPorts(r.edge) {
		if sw := n.switchOf(p); sw != "" && sw != r.outside && !slices.Contains(r.switches, sw) {
			r.switches = append(r.switches, sw)
		}
	}
	if number, ok := numberOf(r.edge, edgeName); ok {
		r.addInner(n, number)
	}
	return r
}

// addInner adds the inner switch of a numbered road that it is not linked to
// yet, unless that is another road's.
func (r *remains) addInner(n *network, number int) {
	inner := numbered(innerName, number)
	if n.has(topology.KindSwitch, inner) && !slices.Contains(r.switches, inner) && n.exclusive(inner, r.edge) {
		r.switches = append(r.switches, inner)
	}
}

// findRest returns what an interrupted run has left of a road whose edge has
// no port with the address vip: not any more, or not yet.
func (n *network) findRest(vip netip.Addr) (remains, error) {
	for _, p := range of(n, func(p topology.SwitchPort) bool { return p.IP == vip && n.isOutside(p.Switch) }) {
		if _, ok := n.pluggedInto(p); !ok && p.Peer != "" {
			return remains{outside: p.Switch, port: p.Key()}, nil
		}
	}
	if user := n.userOf(vip, nil); user != "" {
		return remains{}, fmt.Errorf("%s is the address of no edge: %s has it", vip, user)
	}
	begun := n.begun()
	if len(begun) == 1 {
		begun[0].note = fmt.Sprintf("no edge has %s yet; what goes is the road that was begun with switch %s", vip, begun[0].outside)
		return begun[0], nil
	}
	var edges []string
	for _, r := range of(n, func(r topology.Router) bool { return r.Chassis != "" && n.vipOf(r.Name).IsValid() }) {
		edges = append(edges, fmt.Sprintf("%s %s", r.Name, n.vipOf(r.Name)))
	}
	if len(edges) == 0 {
		edges = []string{"none"}
	}
	return remains{}, fmt.Errorf("edge with the address %s not found (edges: %s)", vip, strings.Join(edges, ", "))
}

// begun returns the roads whose building stopped before the edge had an
// address.
func (n *network) begun() []remains {
	var list []remains
	for _, sw := range of(n, func(s topology.Switch) bool { return strings.HasPrefix(s.Name, outsideName) }) {
		number, ok := numberOf(sw.Name, outsideName)
		edge := numbered(edgeName, number)
		linked := slices.ContainsFunc(n.switchPorts(sw.Name), func(p topology.SwitchPort) bool { return !p.Outer() })
		if !ok || linked || len(n.routerPorts(edge)) > 0 {
			continue
		}
		r := remains{outside: sw.Name}
		if n.has(topology.KindRouter, edge) {
			r.edge = edge
		}
		r.addInner(n, number)
		list = append(list, r)
	}
	return list
}
