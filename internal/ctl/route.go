package ctl

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// routeNoun is what the original's sentences call a static route; scripts
// look for them.
const routeNoun = "static router"

func addRoute(s *session, args []string) error {
	key, err := newChildKey(topology.KindStaticRoute, args)
	if err != nil {
		return err
	}
	outPort, err := reference(args[4])
	if err != nil {
		return err
	}
	if outPort == "" {
		return errors.New("invalid output port: its name is empty")
	}
	network, err := topology.ParsePrefix(strings.TrimSpace(args[2]))
	if err != nil {
		return err
	}
	nextHop, err := topology.ParseAddr(strings.TrimSpace(args[3]))
	if err != nil {
		return fmt.Errorf("next hop: %w", err)
	}
	route := topology.StaticRoute{Router: key.Parent, Name: key.Name, Net: network, NextHop: nextHop, OutPort: outPort}
	if err := checkDestination(route); err != nil {
		return err
	}
	made, err := s.createIf(func(v *store.View) error { return checkRoute(v, route) }, route)
	if err != nil {
		return err
	}
	ports, err := s.list(topology.KindRouterPort, route.Router)
	if err != nil {
		return err
	}
	s.note(routeRemarks(route, ports)...)
	return s.made(made, "router %s %s %s created", route.Router, routeNoun, route.Name)
}

// checkDestination says what is wrong with a route by itself.
func checkDestination(r topology.StaticRoute) error {
	if r.Net.Masked().Addr().IsMulticast() {
		return fmt.Errorf("invalid CIDR %s: want unicast addresses, multicast is not routed", r.Net)
	}
	if !topology.IsUnicast(r.NextHop) {
		return fmt.Errorf("invalid next hop %s: want a unicast address", r.NextHop)
	}
	return nil
}

// checkRoute refuses a route that leads nowhere or that is there already, if
// under another name.
func checkRoute(v source, r topology.StaticRoute) error {
	port, err := v.Get(topology.Key{Kind: topology.KindRouterPort, Parent: r.Router, Name: r.OutPort})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf(`%w; "tpctl lrp show %s" lists its ports`, err, r.Router)
	}
	if err != nil {
		return err
	}
	if err := checkNextHop(r.NextHop, port.(topology.RouterPort)); err != nil {
		return err
	}
	rules, err := v.List(topology.KindNAT, r.Router)
	if err != nil {
		return err
	}
	for _, e := range rules {
		if rule := e.(topology.NAT); rule.XlateIP == r.NextHop {
			return fmt.Errorf("invalid next hop %s: it is the external address of router %s NAT %s, which announces it as the router's own", r.NextHop, r.Router, rule.Name)
		}
	}
	others, err := v.List(topology.KindStaticRoute, r.Router)
	if err != nil {
		return err
	}
	for _, e := range others {
		o := e.(topology.StaticRoute)
		if o.Net.Masked() == r.Net.Masked() && o.NextHop == r.NextHop && o.OutPort == r.OutPort {
			return fmt.Errorf("router %s: a route to %s by %s and port %s exists, its name is %s", r.Router, r.Net.Masked(), r.NextHop, r.OutPort, o.Name)
		}
	}
	return nil
}

// routeRemarks tells which networks of the router's ports a route takes packets
// from: the longest prefix counts, and of equal ones the route's.
func routeRemarks(r topology.StaticRoute, ports []topology.Stored) []string {
	var notes []string
	for _, e := range ports {
		if p := e.(topology.RouterPort); p.Net.Bits() <= r.Net.Bits() && p.Net.Overlaps(r.Net) {
			notes = append(notes, fmt.Sprintf("route %s wins over the network that router %s is connected to: packets to %s go to %s instead of port %s (%s)",
				r.Name, r.Router, r.Net.Masked(), r.NextHop, p.Name, p.Net.Masked()))
		}
	}
	return notes
}

// checkNextHop refuses an address that no neighbour on a port's network has.
func checkNextHop(nextHop netip.Addr, port topology.RouterPort) error {
	network := port.Net.Masked()
	switch {
	case nextHop == port.Net.Addr():
		return fmt.Errorf("invalid next hop %s: it is the address of router %s port %s itself", nextHop, port.Router, port.Name)
	case !network.Contains(nextHop):
		return fmt.Errorf("invalid next hop %s: router %s port %s is in network %s; name an address there, or the port that leads to the next hop",
			nextHop, port.Router, port.Name, network)
	case !topology.IsHost(nextHop, network):
		return fmt.Errorf("invalid next hop %s: no host in network %s of router %s port %s can have it", nextHop, network, port.Router, port.Name)
	}
	return nil
}

func deleteRoute(s *session, args []string) error {
	return s.deleteChild(topology.KindStaticRoute, routeNoun, args)
}
