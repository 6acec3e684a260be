package ctl

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// network is the topology as the planning of an edge's road sees it: read
// once, and asked by pure functions.
type network struct {
	entities []topology.Stored // sorted by key, as are those below
	byKey    map[topology.Key]topology.Stored
	byParent map[topology.Key][]topology.Stored // by kind and parent, and by kind alone
	named    map[string][]topology.SwitchPort   // by bare name
	rules    map[string][]topology.NAT          // by router
	sharing  map[destination][]string           // see edgesOf
	networks map[string][]netip.Prefix          // see networksOf
}

func newNetwork(entities []topology.Stored) *network {
	n := &network{entities: slices.SortedFunc(slices.Values(entities), func(a, b topology.Stored) int { return a.Key().Compare(b.Key()) }),
		byKey:    make(map[topology.Key]topology.Stored, len(entities)),
		byParent: map[topology.Key][]topology.Stored{},
		named:    map[string][]topology.SwitchPort{},
		rules:    map[string][]topology.NAT{},
	}
	for _, e := range n.entities {
		key := e.Key()
		n.byKey[key] = e
		all := topology.Key{Kind: key.Kind}
		n.byParent[all] = append(n.byParent[all], e)
		if key.Parent != "" {
			siblings := topology.Key{Kind: key.Kind, Parent: key.Parent}
			n.byParent[siblings] = append(n.byParent[siblings], e)
		}
		switch e := e.(type) {
		case topology.SwitchPort:
			n.named[e.Name] = append(n.named[e.Name], e)
		case topology.NAT:
			n.rules[e.Router] = append(n.rules[e.Router], e)
		}
	}
	return n
}

// of returns the entities of one type that keep returns true for, sorted.
func of[T topology.Stored](n *network, keep func(T) bool) []T {
	var list []T
	for e := range on[T](n, "") {
		if keep(e) {
			list = append(list, e)
		}
	}
	return list
}

// on yields the entities of one type that hang on parent, or on any if that is
// empty, sorted.
func on[T topology.Stored](n *network, parent string) iter.Seq[T] {
	return func(yield func(T) bool) {
		var one T
		for _, e := range n.byParent[topology.Key{Kind: one.Key().Kind, Parent: parent}] {
			if !yield(e.(T)) {
				return
			}
		}
	}
}

func (n *network) has(kind topology.Kind, name string) bool {
	return n.byKey[topology.Key{Kind: kind, Name: name}] != nil
}

// chassisOf returns the chassis that a router is pinned to, or nothing.
func (n *network) chassisOf(router string) string {
	r, _ := n.byKey[topology.Key{Kind: topology.KindRouter, Name: router}].(topology.Router)
	return r.Chassis
}

func (n *network) switchPorts(sw string) []topology.SwitchPort {
	return slices.Collect(on[topology.SwitchPort](n, sw))
}

func (n *network) routerPorts(router string) []topology.RouterPort {
	return slices.Collect(on[topology.RouterPort](n, router))
}

// routesBy returns the routes of the router that a port belongs to that leave
// by the port.
func (n *network) routesBy(port topology.RouterPort) []topology.StaticRoute {
	return of(n, func(r topology.StaticRoute) bool { return r.Router == port.Router && r.OutPort == port.Name })
}

// outerPort returns the port of a switch that leads to the physical network.
func (n *network) outerPort(sw string) (topology.SwitchPort, bool) {
	for p := range on[topology.SwitchPort](n, sw) {
		if p.Outer() {
			return p, true
		}
	}
	return topology.SwitchPort{}, false
}

// switchOf returns the switch that a router port is plugged into, or nothing.
func (n *network) switchOf(port topology.RouterPort) string {
	peers := n.named[port.Peer]
	if i := slices.IndexFunc(peers, func(p topology.SwitchPort) bool { return p.Peer == port.Name }); i >= 0 {
		return peers[i].Switch
	}
	if len(peers) > 0 {
		return peers[0].Switch
	}
	return ""
}

// pluggedInto returns the router port at the other end of a switch port.
func (n *network) pluggedInto(p topology.SwitchPort) (topology.RouterPort, bool) {
	ports := of(n, func(r topology.RouterPort) bool { return r.Peer == p.Name || r.Name == p.Peer })
	if len(ports) == 0 {
		return topology.RouterPort{}, false
	}
	return ports[0], true
}

// routersOn returns the router ports that are plugged into a switch.
func (n *network) routersOn(sw string) []topology.RouterPort {
	var ports []topology.RouterPort
	for _, p := range n.switchPorts(sw) {
		if r, ok := n.pluggedInto(p); ok {
			ports = append(ports, r)
		}
	}
	return ports
}

// road is a way from the central router through an edge router, which is
// pinned to a chassis, to the physical network.
type road struct {
	edge    string
	out     topology.RouterPort // the edge's, into the switch with the outer port; has the vip
	outer   topology.SwitchPort
	in      topology.RouterPort // the edge's, into the inner switch
	central topology.RouterPort // the central router's, into the inner switch
}

// ways returns the central router's routes through the road's edge.
func (n *network) ways(r road) []topology.StaticRoute {
	return slices.DeleteFunc(n.routesBy(r.central), func(s topology.StaticRoute) bool { return s.NextHop != r.in.Net.Addr() })
}

// roads returns the roads that traffic may take, sorted by edge.
func (n *network) roads() []road {
	var list []road
	for _, edge := range of(n, func(r topology.Router) bool { return r.Chassis != "" }) {
		ports := n.routerPorts(edge.Name)
		for _, out := range ports {
			outer, ok := n.outerPort(n.switchOf(out))
			if !ok {
				continue
			}
			for _, in := range ports {
				for _, central := range n.routersOn(n.switchOf(in)) {
					r := road{edge: edge.Name, out: out, outer: outer, in: in, central: central}
					if in != out && n.chassisOf(central.Router) == "" && len(n.ways(r)) > 0 {
						list = append(list, r)
					}
				}
			}
		}
	}
	return list
}

// centralRouter returns the router that is asked for or, if none is, the only
// one that lives on every chassis.
func (n *network) centralRouter(asked string) (string, error) {
	if asked != "" {
		return asked, n.checkCentral(asked)
	}
	var names []string
	for _, r := range of(n, func(r topology.Router) bool { return r.Chassis == "" }) {
		names = append(names, r.Name)
	}
	return only(names, "there is no router that lives on every chassis: create the central one with \"tpctl lr add ROUTER\"",
		"several routers live on every chassis")
}

func (n *network) checkCentral(router string) error {
	switch chassis := n.chassisOf(router); {
	case !n.has(topology.KindRouter, router):
		return fmt.Errorf("router %s not found", router)
	case chassis != "":
		return fmt.Errorf("invalid central router %s: it lives on chassis %s only; name one that lives on every chassis", router, chassis)
	}
	return nil
}

// only returns the one name that there is, or says that there is none, or
// which there are.
func only(names []string, none, several string) (string, error) {
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%s", none)
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("%s: %s; say which with --router", several, strings.Join(names, ", "))
}

// userOf says what has an address already, apart from what is among except;
// it returns nothing if that is free.
func (n *network) userOf(ip netip.Addr, except map[topology.Key]bool) string {
	for _, e := range n.entities {
		key, kind, has := e.Key(), "port", netip.Addr{}
		switch e := e.(type) {
		case topology.SwitchPort:
			has = e.IP
		case topology.RouterPort:
			has = e.Net.Addr()
		case topology.NAT:
			has, kind = e.XlateIP, "NAT"
		}
		if has == ip && !except[key] {
			return fmt.Sprintf("%s %s %s %s", key.Kind.Parent(), key.Parent, kind, key.Name)
		}
	}
	return ""
}

// highestFree returns the highest address of an edge's inner network that no
// router port has and that the router can tell from its other ports.
func (n *network) highestFree(inner netip.Prefix, router string) (netip.Addr, error) {
	used, ids := map[netip.Addr]bool{inner.Addr(): true}, map[uint16]bool{}
	for _, p := range of(n, func(topology.RouterPort) bool { return true }) {
		used[p.Net.Addr()] = true
		ids[p.ID()] = ids[p.ID()] || p.Router == router
	}
	ip := inner.Masked().Addr()
	for inner.Contains(ip.Next()) {
		ip = ip.Next()
	}
	for ; inner.Contains(ip); ip = ip.Prev() {
		if topology.IsHost(ip, inner) && !used[ip] && !ids[topology.PortID(ip)] {
			return ip, nil
		}
	}
	return ip, fmt.Errorf("network %s has no free address for router %s; choose another --inner network", inner.Masked(), router)
}
