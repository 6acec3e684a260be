package ctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// natNetwork reads what bears on a NAT rule. Of the switch ports, which workloads
// make and move all the time, only those are a condition of the change that are
// where the external address may be.
func (s *session) natNetwork(v *store.View, rule topology.NAT) (*network, error) {
	all, _, err := s.store.List(s.ctx, topology.KindSwitchPort, "")
	if err != nil {
		return nil, err
	}
	for _, kind := range []topology.Kind{topology.KindRouter, topology.KindRouterPort, topology.KindStaticRoute, topology.KindNAT} {
		list, err := v.List(kind, "")
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	n := newNetwork(all)
	for _, port := range n.routerPorts(rule.Router) {
		sw := n.switchOf(port)
		if sw == "" || !port.Net.Contains(rule.XlateIP) {
			continue
		}
		ports, err := v.List(topology.KindSwitchPort, sw)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(e topology.Stored) bool {
			key := e.Key()
			return key.Kind == topology.KindSwitchPort && key.Parent == sw
		})
		all = append(all, ports...)
	}
	return newNetwork(all), nil
}

// checkExternal refuses an external address that another machine has: the
// router would announce it as its own.
func (n *network) checkExternal(rule topology.NAT) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("invalid external address %s: %s", rule.XlateIP, fmt.Sprintf(format, args...))
	}
	ports := n.routerPorts(rule.Router)
	var switches []string
	for _, p := range ports {
		switches = append(switches, n.switchOf(p))
		switch own := p.Net.Addr() == rule.XlateIP; {
		case own && rule.Type == topology.SNAT:
			return nil
		case own:
			return bad("it is that of router %s port %s itself, which would no longer answer for it; name another one for dnat", p.Router, p.Name)
		case p.Net.Contains(rule.XlateIP) && !topology.IsHost(rule.XlateIP, p.Net):
			return bad("no host in network %s of router %s port %s can have it", p.Net.Masked(), p.Router, p.Name)
		}
	}
	for r := range on[topology.StaticRoute](n, rule.Router) {
		if r.NextHop != rule.XlateIP {
			continue
		}
		return bad("it is the next hop of route %s of router %s, which would be cut off for all others there; name an address that no machine has", r.Name, r.Router)
	}
	for _, p := range of(n, func(p topology.RouterPort) bool { return p.Net.Addr() == rule.XlateIP }) {
		return bad("router %s port %s has it; name an address that no machine has", p.Router, p.Name)
	}
	for _, sw := range switches {
		for p := range on[topology.SwitchPort](n, sw) {
			if p.IP == rule.XlateIP {
				return bad("switch %s port %s has it; name an address that no machine has", p.Switch, p.Name)
			}
		}
	}
	return nil
}

// natRemarks returns what is worth knowing about a rule that is good by itself.
func (n *network) natRemarks(rule topology.NAT) []string {
	var notes []string
	if !n.hasExit(rule) {
		notes = append(notes, fmt.Sprintf("NAT rule %s translates nothing yet: its external address %s is in the network of no port of router %s, and none of its switches has an outer port",
			rule.Name, rule.XlateIP, rule.Router))
	}
	if _, ok := floating(rule, n.natOf(rule.Router)); !ok {
		return notes
	}
	lacking := slices.DeleteFunc(n.besides(rule.Router), func(edge string) bool {
		rules := n.natOf(edge)
		return slices.ContainsFunc(rules, func(o topology.NAT) bool {
			_, ok := floating(o, rules)
			return ok && o.Net == rule.Net && o.XlateIP == rule.XlateIP
		})
	})
	if len(lacking) > 0 {
		notes = append(notes, fmt.Sprintf("floating IP %s of %s: give %s the same two rules, as answers may leave by any edge",
			rule.XlateIP, rule.Net.Addr(), strings.Join(lacking, " and ")))
	}
	return notes
}

// hasExit reports whether a rule's router has a port by which packets leave
// that the rule translates.
func (n *network) hasExit(rule topology.NAT) bool {
	return slices.ContainsFunc(n.routerPorts(rule.Router), func(p topology.RouterPort) bool {
		_, leadsOut := n.outerPort(n.switchOf(p))
		return leadsOut || p.Net.Contains(rule.XlateIP)
	})
}

// destination is the routes of one router to one network.
type destination struct {
	router  string
	network netip.Prefix
}

// edgesOf returns the edges among which central routers choose.
func (n *network) edgesOf() map[destination][]string {
	if n.sharing != nil {
		return n.sharing
	}
	n.sharing = map[destination][]string{}
	for _, r := range of(n, func(r topology.StaticRoute) bool { return n.chassisOf(r.Router) == "" }) {
		if next := n.nextRouter(r); n.chassisOf(next) != "" {
			c := destination{r.Router, r.Net.Masked()}
			n.sharing[c] = append(n.sharing[c], next)
		}
	}
	return n.sharing
}

// besides returns the other edges among which a central router that sends
// packets to edge chooses, sorted.
func (n *network) besides(edge string) []string {
	var others []string
	for _, list := range n.edgesOf() {
		if slices.Contains(list, edge) {
			others = append(others, list...)
		}
	}
	slices.Sort(others)
	return slices.DeleteFunc(slices.Compact(others), func(o string) bool { return o == edge })
}

// nextRouter returns the router that a route leads to, or nothing.
func (n *network) nextRouter(r topology.StaticRoute) string {
	port, ok := n.byKey[topology.Key{Kind: topology.KindRouterPort, Parent: r.Router, Name: r.OutPort}].(topology.RouterPort)
	if !ok {
		return ""
	}
	sw := n.switchOf(port)
	for _, p := range of(n, func(p topology.RouterPort) bool { return p.Net.Addr() == r.NextHop }) {
		if sw != "" && n.switchOf(p) == sw {
			return p.Router
		}
	}
	return ""
}
