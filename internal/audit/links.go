package audit

import (
	"fmt"
	"strings"

	"tuplenet/internal/topology"
)

// links finds objects without the switch or router that they hang on, and ports
// that are not joined to what they name.
func (a *audit) links() {
	a.orphans()
	namedBy := map[string]bool{} // router ports that a switch port names
	for _, p := range a.switchPorts {
		if p.Peer != "" && !p.Outer() {
			namedBy[p.Peer] = true
			a.switchEnd(p)
		}
	}
	for _, p := range a.routerPorts {
		a.routerEnd(p, namedBy[p.Name])
	}
}

func (a *audit) orphans() {
	var parents []topology.Key
	children := map[topology.Key][]topology.Key{}
	for _, item := range a.items {
		key := item.Key
		parent := key.ParentKey()
		if parent.Kind == 0 || a.byKey[key] == nil || a.byKey[parent] != nil {
			continue
		}
		if children[parent] == nil {
			parents = append(parents, parent)
		}
		children[parent] = append(children[parent], key)
	}
	for _, parent := range parents {
		list := children[parent]
		a.found(ParentMissing, parent, Finding{
			What:   "it does not exist, but " + count(list, "object", func(k topology.Key) string { return k.Kind.String() + " " + k.Name }) + " is kept under its name",
			Advice: "or, if nobody wants it back, delete what is there one by one: " + a.del(list[0]),
			Remedy: []string{tpctl(parent.Kind, "add", parent.Name)},
		})
	}
}

// switchEnd checks a switch port that names a router port.
func (a *audit) switchEnd(p topology.SwitchPort) {
	rp, ok := a.routerPortNamed(p.Peer)
	switch {
	case !ok && a.isNamed(topology.KindRouterPort, p.Peer):
		// That one is ignored or unreadable, and told of by itself.
	case !ok:
		again := tpctl(topology.KindRouterPort, "add", "ROUTER", p.Peer, p.IP.String()+"/LENGTH", p.MAC.String(), p.Name)
		if router, _ := strings.CutPrefix(p.Name, p.Switch+"_to_"); p.Peer == router+"_to_"+p.Switch && p.MAC == topology.MACFromIP(p.IP) {
			again = tpctl(topology.KindRouter, "link", router, p.Switch, p.IP.String()+"/LENGTH")
		}
		f := Finding{What: "its peer, router port " + p.Peer + ", does not exist", Cure: "make that again: " + again, Remedy: []string{a.del(p.Key())}}
		a.found(PeerMissing, p.Key(), a.partOfLink(p.Peer, f))
	case rp.Peer == p.Name:
		a.linked(rp, p)
	case rp.Peer == "":
		whole := rp
		whole.Peer = p.Name
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, names no peer", rp.Key()),
			Remedy: []string{a.del(rp.Key()), addRouterPort(whole)}})
	default:
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, names %s as its own", rp.Key(), rp.Peer),
			Cure: revise(p.Key(), "peer"), Remedy: []string{a.del(p.Key())}})
	}
}

// routerEnd checks a router port; named tells whether a switch port names it.
func (a *audit) routerEnd(p topology.RouterPort, named bool) {
	if p.Peer == "" {
		if !named {
			a.found(RouterPortUnplugged, p.Key(), Finding{What: "it has no peer", Remedy: []string{a.del(p.Key())},
				Cure: "plug it in: " + tpctl(topology.KindSwitchPort, "add", "SWITCH", "PORT", p.Net.Addr().String(), p.MAC.String(), p.Name) + ", and " + revise(p.Key(), "peer")})
		}
		return
	}
	sp, ok := a.portNamed(p.Peer)
	switch {
	case !ok && a.isNamed(topology.KindSwitchPort, p.Peer):
	case !ok:
		f := Finding{What: "its peer, switch port " + p.Peer + ", does not exist", Remedy: []string{a.relink(p)}}
		if f.Remedy[0] == "" {
			f.Remedy[0] = a.del(p.Key())
			f.Cure = "make that again: " + tpctl(topology.KindSwitchPort, "add", "SWITCH", p.Peer, p.Net.Addr().String(), p.MAC.String(), p.Name)
		}
		a.found(PeerMissing, p.Key(), a.partOfLink(p.Name, f))
	case sp.Outer():
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, leads to the physical network", sp.Key()),
			Cure: revise(p.Key(), "peer"), Remedy: []string{a.del(p.Key())}})
	case sp.Peer == p.Name:
	case sp.Peer == "" && sp.Chassis == "" && sp.Owner == "" && sp.Parent == "" && sp.Pool == "":
		whole := sp
		whole.Peer = p.Name
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, names no peer", sp.Key()),
			Remedy: []string{a.del(sp.Key()), addPort(whole)}})
	case sp.Peer == "":
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, is a workload's", sp.Key()),
			Cure: revise(p.Key(), "peer"), Remedy: []string{a.del(p.Key())}})
	default:
		a.found(PeerOneSided, p.Key(), Finding{What: fmt.Sprintf("its peer, %s, names %s as its own", sp.Key(), sp.Peer),
			Cure: revise(p.Key(), "peer"), Remedy: []string{a.del(p.Key())}})
	}
}

// relink is the command for a router port whose switch port is gone: it makes
// that again if the two were a link and the switch is still there; else it is
// nothing.
func (a *audit) relink(p topology.RouterPort) string {
	for _, sw := range a.switches {
		if p.Name == p.Router+"_to_"+sw.Name && p.Peer == sw.Name+"_to_"+p.Router && p.MAC == topology.MACFromIP(p.Net.Addr()) &&
			a.model.Get(topology.PortAt(sw.Name, p.ID())) == nil {
			return tpctl(topology.KindRouter, "link", p.Router, sw.Name, p.Net.String())
		}
	}
	return ""
}

// isNamed reports whether there is a port of a bare name, counting or not.
func (a *audit) isNamed(kind topology.Kind, name string) bool {
	_, ok := a.named[topology.Key{Kind: kind, Name: name}]
	return ok
}

// culprit returns what is told of because a router port is not plugged in: that
// port, or the one that it should be plugged into.
func (a *audit) culprit(p topology.RouterPort) topology.Key {
	if _, ok := a.portNamed(p.Peer); !ok && a.isNamed(topology.KindSwitchPort, p.Peer) {
		return a.named[topology.Key{Kind: topology.KindSwitchPort, Name: p.Peer}]
	}
	if p.Peer == "" {
		for _, sp := range a.switchPorts {
			if sp.Peer == p.Name && !sp.Outer() {
				return sp.Key()
			}
		}
	}
	return p.Key()
}

// linked checks the two ends of a link against each other.
func (a *audit) linked(rp topology.RouterPort, sp topology.SwitchPort) {
	if sp.IP == rp.Net.Addr() && sp.MAC == rp.MAC {
		return
	}
	right := sp
	right.IP, right.MAC = rp.Net.Addr(), rp.MAC
	remedy, cure := []string{a.del(sp.Key()), addPort(right)}, ""
	if other, ok := a.model.Get(topology.PortAt(sp.Switch, right.ID())).(topology.SwitchPort); ok && other != sp {
		remedy, cure = a.unplug(rp), revise(rp.Key(), "address")
	}
	a.found(LinkMismatch, rp.Key(), Finding{
		What:   fmt.Sprintf("it has %s %s, but %s, which it is plugged into, %s %s", rp.Net.Addr(), rp.MAC, sp.Key(), sp.IP, sp.MAC),
		Cure:   cure,
		Remedy: remedy})
}
