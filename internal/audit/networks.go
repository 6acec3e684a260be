package audit

import (
	"fmt"
	"net/netip"

	"tuplenet/internal/topology"
)

// networks compares the networks of router ports with each other and with the
// addresses of the workloads behind them.
func (a *audit) networks() {
	a.unusable()
	onSwitch := map[string][]netip.Prefix{} // networks of the router ports on a switch
	for _, router := range a.routers {
		ports := a.pluggedOf[router.Name]
		for _, p := range ports {
			sp, _ := a.plugged(p)
			onSwitch[sp.Switch] = append(onSwitch[sp.Switch], p.Net.Masked())
			if p.Net.Bits() < 16 {
				narrow := p
				narrow.Net = netip.PrefixFrom(p.Net.Addr(), 16)
				a.found(NetworkTooWide, p.Key(), Finding{What: fmt.Sprintf("its network %s is wider than /16", p.Net.Masked()),
					Remedy: []string{a.del(p.Key()), addRouterPort(narrow)}})
			}
		}
		a.overlaps(ports)
	}
	var apart []netip.Prefix // of router ports that are not plugged in, which may be meant to be here
	for _, p := range a.routerPorts {
		if !a.isPlugged(p) {
			apart = append(apart, p.Net)
		}
	}
	var outside families
	for _, p := range a.switchPorts {
		if !isWorkload(p) || !topology.IsUnicast(p.IP) {
			continue
		}
		if nets := onSwitch[p.Switch]; len(nets) > 0 && !contains(nets, p.IP) && !contains(apart, p.IP) {
			outside.add(p, p.Pool)
		}
	}
	for _, f := range outside.order {
		list := outside.members[f]
		what := fmt.Sprintf("its address %s is in no network of its switch's routers (%s)", list[0].IP, some(onSwitch[f.sw], netip.Prefix.String))
		a.foundFamily(AddressOutside, list, what, revise(list[0].Key(), "address"))
	}
}

// unusable finds ports whose addresses no machine can have. That a workload has
// the address of its network is its own affair: only routers know the network.
func (a *audit) unusable() {
	say := func(key topology.Key, what string, value any) {
		a.found(PortUnusable, key, Finding{What: fmt.Sprintf("no machine can have its %s %s", what, value),
			Cure: revise(key, what), Remedy: []string{a.del(key)}})
	}
	for _, p := range a.switchPorts {
		switch {
		case p.Outer():
		case !topology.IsUnicast(p.IP):
			say(p.Key(), "address", p.IP)
		case p.MAC.IsMulticast():
			say(p.Key(), "MAC", p.MAC)
		}
	}
	for _, p := range a.routerPorts {
		switch {
		case !topology.IsUnicast(p.Net.Addr()) || !topology.IsHost(p.Net.Addr(), p.Net):
			say(p.Key(), "address", p.Net)
		case p.MAC.IsMulticast():
			say(p.Key(), "MAC", p.MAC)
		}
	}
}

func contains(nets []netip.Prefix, ip netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// overlaps finds, among the ports of one router, networks in which another
// port's network takes the packets.
func (a *audit) overlaps(ports []topology.RouterPort) {
	first := map[netip.Prefix]topology.RouterPort{}
	for _, p := range ports {
		net := p.Net.Masked()
		if _, ok := first[net]; !ok {
			// Of several in one network the one that was created first counts.
			at := topology.Key{Kind: topology.KindRouterNet, Parent: p.Router, Name: net.String()}
			for _, e := range a.model.List(at) {
				if q := e.(topology.RouterPort); a.isPlugged(q) {
					first[net] = q
					break
				}
			}
		}
	}
	for _, p := range ports {
		net := p.Net.Masked()
		if winner := first[net]; winner != p {
			a.shadowed(p, winner)
		}
		for bits := net.Bits() - 1; bits >= 0; bits-- {
			around, _ := net.Addr().Prefix(bits)
			if wider, ok := first[around]; ok {
				a.shadowed(wider, p)
			}
		}
	}
}

func (a *audit) isPlugged(p topology.RouterPort) bool {
	_, ok := a.plugged(p)
	return ok
}

// shadowed finds that packets to p's network go by the port winner, if that
// matters: networks between routers alone may be the same.
func (a *audit) shadowed(p, winner topology.RouterPort) {
	sp, _ := a.plugged(p)
	other, _ := a.plugged(winner)
	if sp.Switch == other.Switch {
		return
	}
	var lost []topology.SwitchPort
	for _, w := range a.portsOf[sp.Switch] {
		if isWorkload(w) && winner.Net.Contains(w.IP) {
			lost = append(lost, w)
		}
	}
	name := func(w topology.SwitchPort) string { return w.Name }
	f := Finding{What: fmt.Sprintf("its network %s overlaps %s of %s", p.Net.Masked(), winner.Net.Masked(), winner.Key())}
	switch {
	case len(lost) > 0:
		f.What += ", which takes the packets to " + count(lost, "port", name) + " of switch " + sp.Switch
		f.Cure, f.Remedy = revise(p.Key(), "network"), a.unplug(p)
		a.found(NetworkShadowed, p.Key(), f, winner.Key())
	case p.Net.Masked() != winner.Net.Masked():
		f.Cure, f.Remedy = revise(p.Key(), "network"), a.unplug(winner)
		a.found(NetworksOverlap, p.Key(), f, winner.Key())
	}
}

// external finds addresses on a physical network, or on a switch between
// routers, that two of them announce.
func (a *audit) external() {
	type place struct {
		where string
		ip    netip.Addr
	}
	type claimant struct {
		owner    string
		key      topology.Key
		property string // that holds the address
		remedy   []string
	}
	first := map[place]claimant{}
	claim := func(at place, c claimant) {
		if has, ok := first[at]; !ok {
			first[at] = c
		} else if has.owner != c.owner {
			a.found(ExternalAddressTwice, c.key, Finding{
				What:   fmt.Sprintf("%s has its external address %s, too, in %s", has.key, at.ip, at.where),
				Cure:   revise(c.key, c.property),
				Remedy: c.remedy}, has.key)
		}
	}
	for _, p := range a.routerPorts {
		if sp, ok := a.plugged(p); ok && a.leadsOut(sp.Switch) {
			claim(place{"network " + p.Net.Masked().String(), p.Net.Addr()}, claimant{p.Router, p.Key(), "address", a.unplug(p)})
		}
	}
	for _, n := range a.nats {
		if a.problems[n.Key()] != "" {
			continue
		}
		for _, p := range a.pluggedOf[n.Router] {
			sp, _ := a.plugged(p)
			if !p.Net.Contains(n.XlateIP) {
				continue
			}
			at, owner := place{"switch " + sp.Switch, n.XlateIP}, n.Router
			if a.leadsOut(sp.Switch) {
				at.where = "network " + p.Net.Masked().String()
				// A floating IP may be served by any number of edges.
				if a.floating(n) {
					owner = "floating IP of " + n.Net.Addr().String()
				}
			}
			claim(at, claimant{owner, n.Key(), "external address", []string{a.del(n.Key())}})
		}
	}
}

// floating reports whether a rule is half of a floating IP.
func (a *audit) floating(n topology.NAT) bool {
	other := topology.SNAT
	if n.Type == topology.SNAT {
		other = topology.DNAT
	}
	return n.Single() && a.model.Get(n.Rule(other)) != nil
}
