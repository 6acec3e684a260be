package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// translations finds NAT rules that do not work or hinder each other.
func (a *audit) translations() {
	for _, n := range a.nats {
		key := n.Key()
		f := Finding{Cure: revise(key, "external address"), Remedy: []string{a.del(key)}}
		if f.What = a.problems[key]; f.What != "" {
			if n.Type == topology.DNAT && !n.Single() {
				f.Cure = revise(key, "internal address")
			} else if cause, ok := a.noExit(n); ok {
				f = Finding{What: f.What, Follows: cause.String()}
			}
			a.found(NATDead, key, f)
			continue
		}
		if n.Net.Contains(n.XlateIP) {
			f.What = fmt.Sprintf("its external address %s is in its internal network %s", n.XlateIP, n.Net.Masked())
			a.found(NATWithin, key, f)
		}
		if wider, ok := a.wider(n); ok {
			f.Cure = revise(key, "network")
			f.What = fmt.Sprintf("its network %s lies in %s of %s, and the longer prefix counts", n.Net.Masked(), wider.Net.Masked(), wider.Key())
			a.found(NATOverlap, key, f)
		}
	}
	a.floatingElsewhere()
}

// noExit returns what is told of because a rule's external address is nowhere:
// the router port whose network it is in is not plugged in.
func (a *audit) noExit(n topology.NAT) (topology.Key, bool) {
	for _, p := range a.pluggedOf[n.Router] {
		if sp, _ := a.plugged(p); p.Net.Contains(n.XlateIP) || a.leadsOut(sp.Switch) {
			return topology.Key{}, false
		}
	}
	for _, p := range a.routerPorts {
		if p.Router == n.Router && p.Net.Contains(n.XlateIP) {
			return a.culprit(p), true
		}
	}
	return topology.Key{}, false
}

// wider returns an snat rule whose network lies around that of n, if n is no
// exception for one address.
func (a *audit) wider(n topology.NAT) (topology.NAT, bool) {
	if n.Type != topology.SNAT || n.Single() {
		return topology.NAT{}, false
	}
	for bits := n.Net.Bits() - 1; bits >= 0; bits-- {
		around, _ := n.Net.Addr().Prefix(bits)
		for _, e := range a.model.List(topology.Key{Kind: topology.KindNATs, Parent: n.Router, Name: around.String()}) {
			if o := e.(topology.NAT); o.Type == topology.SNAT && a.problems[o.Key()] == "" {
				return o, true
			}
		}
	}
	return topology.NAT{}, false
}

// floatingElsewhere finds floating IPs that some of several edges do not have
// among which a router chooses: answers may leave by any of them.
func (a *audit) floatingElsewhere() {
	halves := map[string][]topology.NAT{} // of floating IPs, by router
	for _, n := range a.nats {
		if a.floating(n) && a.problems[n.Key()] == "" {
			halves[n.Router] = append(halves[n.Router], n)
		}
	}
	if len(halves) == 0 {
		return
	}
	lacks := map[string]map[string][]topology.NAT{} // by edge and floating IP
	for _, edges := range a.choices() {
		for _, has := range edges {
			for _, n := range halves[has] {
				for _, edge := range edges {
					if a.model.Get(inRouter(edge, n).Rule(n.Type)) != nil {
						continue
					}
					if lacks[edge] == nil {
						lacks[edge] = map[string][]topology.NAT{}
					}
					if ip := n.XlateIP.String() + " of " + n.Net.Addr().String() + ", which router " + has + " has"; !slices.Contains(lacks[edge][ip], n) {
						lacks[edge][ip] = append(lacks[edge][ip], n)
					}
				}
			}
		}
	}
	for _, edge := range slices.Sorted(maps.Keys(lacks)) {
		for _, ip := range slices.Sorted(maps.Keys(lacks[edge])) {
			f := Finding{What: "it lacks the floating IP " + ip}
			for _, n := range lacks[edge][ip] {
				n.Name = a.freeName(edge, n)
				f.Remedy = append(f.Remedy, tpctl(topology.KindNAT, "add", edge, n.Name, n.Net.String(), string(n.Type), n.XlateIP.String()))
			}
			a.found(FloatingIPMissing, topology.Router{Name: edge}.Key(), f)
		}
	}
}

// inRouter returns a rule as another router would have it.
func inRouter(router string, n topology.NAT) topology.NAT {
	n.Router = router
	return n
}

// freeName returns a name for a rule that is to be made in a router, too.
func (a *audit) freeName(router string, n topology.NAT) string {
	name := n.Name
	for a.byKey[topology.Key{Kind: topology.KindNAT, Parent: router, Name: name}] != nil {
		name += "_" + n.Router
	}
	return name
}

// choices returns the sets of pinned routers that routes of one router and one
// network lead to.
func (a *audit) choices() [][]string {
	sets := map[network][]string{}
	for _, r := range a.statics {
		if a.problems[r.Key()] != "" {
			continue
		}
		out, _ := a.routerPortNamed(r.OutPort)
		sp, ok := a.plugged(out)
		if !ok {
			continue
		}
		hop, ok := a.portAt(sp.Switch, r.NextHop)
		if !ok || hop.Peer == "" {
			continue
		}
		rp, ok := a.routerPortNamed(hop.Peer)
		if ok && rp.Peer == hop.Name && a.pinnedTo(rp.Router) != "" {
			n := network{r.Router, r.Net.Masked()}
			sets[n] = append(sets[n], rp.Router)
		}
	}
	var out [][]string
	for _, n := range slices.SortedFunc(maps.Keys(sets), compareNetworks) {
		slices.Sort(sets[n])
		if edges := slices.Compact(sets[n]); len(edges) > 1 {
			out = append(out, edges)
		}
	}
	return out
}

func compareNetworks(x, y network) int {
	return cmp.Or(strings.Compare(x.router, y.router), x.net.Addr().Compare(y.net.Addr()), cmp.Compare(x.net.Bits(), y.net.Bits()))
}
