package host

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/topology"
)

// place is a switch that addresses come from.
type place struct {
	name     string       // of the switch
	net      netip.Prefix // that addresses are taken from
	bits     int          // of the network that containers are in, which is that or, around it, the router's
	gateway  netip.Addr   // zero if there is none
	routed   bool         // somebody has the gateway's address
	reserved []netip.Prefix
	pool     bool // ports have been made in advance for this host
}

// place finds out what a switch of the network configuration has to give.
func (s *server) place(ctx context.Context, sw attach.Switch) (place, error) {
	p := place{name: sw.Name}
	if err := topology.CheckName(sw.Name); err != nil {
		return p, fail(attach.CodeConfig, "switchname: %s", err)
	}
	for _, text := range sw.Reserved {
		net, err := netip.ParsePrefix(text)
		if err != nil {
			ip, err := topology.ParseAddr(text)
			if err != nil {
				return p, fail(attach.CodeConfig, "reserved: %q is neither an address nor a network", text)
			}
			net = netip.PrefixFrom(ip, 32)
		}
		p.reserved = append(p.reserved, net)
	}
	var net netip.Prefix
	if sw.Subnet != "" {
		var err error
		if net, err = topology.ParsePrefix(sw.Subnet); err != nil {
			return p, fail(attach.CodeConfig, "subnet: %s", err)
		}
	}
	var known, hasGateway bool
	var links []netip.Prefix
	err := s.viewSwitch(ctx, sw.Name, func(m *topology.Model) {
		known = m.Get(topology.Switch{Name: sw.Name}.Key()) != nil
		p.pool = len(m.List(topology.Key{Kind: topology.KindPool, Parent: sw.Name, Name: s.agent.Chassis()})) > 0
		links = routersOf(m, sw.Name)
		if net.IsValid() {
			port, ok := m.Get(topology.PortAt(sw.Name, topology.PortID(net.Addr()))).(topology.SwitchPort)
			hasGateway = ok && port.IP == net.Addr()
		}
	})
	switch {
	case err != nil:
		return p, err
	case !known:
		return p, fail(attach.CodeConfig, "switch %s not found in etcd; make it with: tpctl ls add %[1]s", sw.Name)
	case len(links) == 0 && !net.IsValid():
		return p, fail(attach.CodeConfig, "switch %s is linked to no router, so it has no subnet of its own; give \"subnet\" in the network configuration, or link it: tpctl lr link ROUTER %[1]s CIDR", sw.Name)
	case len(links) == 0:
		p.net, p.bits, p.gateway = net, net.Bits(), firstOf(net)
	case !net.IsValid():
		p.net, p.bits, p.gateway = links[0], links[0].Bits(), links[0].Addr()
	default:
		err = p.part(net, links, hasGateway)
	}
	p.routed = hasGateway || slices.ContainsFunc(links, func(l netip.Prefix) bool { return l.Addr() == p.gateway })
	if err == nil && p.net.Bits() < 16 {
		err = fail(attach.CodeConfig, "subnet %s of switch %s is wider than /16: ports of a switch are told apart by the low 16 bits of their addresses", p.net, sw.Name)
	}
	return p, err
}

// viewSwitch shows the topology, with a switch if there is one: that may have been
// made just now, and the agent has not been told of it yet.
func (s *server) viewSwitch(ctx context.Context, name string, look func(m *topology.Model)) error {
	key := topology.Switch{Name: name}.Key()
	known := false
	view := func() error {
		return s.agent.View(ctx, func(m *topology.Model, _ int) {
			known = m.Get(key) != nil
			look(m)
		})
	}
	if err := view(); err != nil || known {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, newsPatience)
	defer cancel()
	if _, err := s.agent.Store().Get(ctx, key); err != nil {
		return nil // so it is unknown
	}
	for !known {
		select {
		case <-ctx.Done():
			return fail(attach.CodeTryLater, "switch %s is in etcd, and this host's agent does not know it yet: see tpctl check, and the agent's log", name)
		case <-time.After(newsPause):
		}
		if err := view(); err != nil {
			return err
		}
	}
	return nil
}

// How long the agent may take to be told what is in etcd, and how often it is asked
// whether it was.
const (
	newsPatience = 3 * time.Second
	newsPause    = 10 * time.Millisecond
)

// part has addresses taken from a part of the network of one of the routers that
// are linked to the switch, or from all of it. The gateway is the part's host part,
// if somebody has that address, or the router.
func (p *place) part(net netip.Prefix, links []netip.Prefix, hasGateway bool) error {
	for _, link := range links {
		if link.Bits() > net.Bits() || !link.Contains(net.Addr()) {
			continue
		}
		p.net, p.bits, p.gateway = net, link.Bits(), link.Addr()
		if given := net.Addr(); given != net.Masked().Addr() && given != link.Addr() {
			if !hasGateway {
				return fail(attach.CodeConfig, "nobody has the address %s, which subnet %s makes the gateway; the router of switch %s has %s: leave the host part out (%s)",
					given, net, p.name, link.Addr(), net.Masked())
			}
			p.gateway = given
		}
		return nil
	}
	return fail(attach.CodeConfig, "subnet %s is no part of the network of switch %s, whose router has %s: give a part of that, or no subnet", net, p.name, links[0])
}

// routersOf returns the addresses of the routers that are linked to a switch,
// with the lengths of their prefixes.
func routersOf(m *topology.Model, sw string) (links []netip.Prefix) {
	for _, e := range m.List(topology.Key{Kind: topology.KindJoinedPorts, Name: sw}) {
		port := e.(topology.SwitchPort)
		rp, ok := m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: port.Peer}).(topology.RouterPort)
		if ok && rp.Peer == port.Name {
			links = append(links, rp.Net)
		}
	}
	return links
}

// firstOf returns the gateway of a subnet that no router is in: its host part, or
// its first address.
func firstOf(net netip.Prefix) netip.Addr {
	if net.Addr() != net.Masked().Addr() {
		return net.Addr()
	}
	if first := net.Addr().Next(); net.Contains(first) && topology.IsHost(first, net) {
		return first
	}
	return netip.Addr{}
}

// isReserved reports whether an address is not given out.
func (p place) isReserved(ip netip.Addr) bool {
	return ip == p.gateway || slices.ContainsFunc(p.reserved, func(r netip.Prefix) bool { return r.Contains(ip) })
}

// admits says why a container cannot have an address that was asked for; the
// zero Addr is none. Reserved ones it can have: they may be reserved for this.
func (p place) admits(ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return nil
	case ip == p.gateway:
		return fail(attach.CodeTaken, "address %s is the gateway of %s", ip, p.net.Masked())
	case !topology.IsHost(ip, p.net.Masked()):
		return fail(attach.CodeConfig, "address %s is the network's own or its broadcast address in %s", ip, p.net.Masked())
	}
	return nil
}
