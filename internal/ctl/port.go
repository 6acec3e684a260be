package ctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func addSwitchPort(s *session, args []string) error {
	key, peer, err := newPort(topology.KindSwitchPort, args)
	if err != nil {
		return err
	}
	ip, err := portAddress(args[2])
	if err != nil {
		return err
	}
	mac, err := portMAC(optional(args, 3), ip)
	if err != nil {
		return err
	}
	if err := s.checkMAC(key, optional(args, 3), mac); err != nil {
		return err
	}
	parent, tag, err := s.parentage()
	if err != nil {
		return err
	}
	port := topology.SwitchPort{Switch: key.Parent, Name: key.Name, IP: ip, MAC: mac, Peer: peer,
		Parent: parent, Tag: tag, Secured: s.set(securityFlag)}
	if err := checkSecured(port); err != nil {
		return err
	}
	made, err := s.createSwitchPort(port)
	if err != nil {
		return err
	}
	joined, err := s.joinedTo(port.Switch)
	if err != nil {
		return err
	}
	s.note(joined.portRemarks(port)...)
	return s.made(made, "switch %s port %s created", key.Parent, key.Name)
}

func addRouterPort(s *session, args []string) error {
	key, peer, err := newPort(topology.KindRouterPort, args)
	if err != nil {
		return err
	}
	network, err := routerNetwork(args[2])
	if err != nil {
		return err
	}
	mac, err := portMAC(optional(args, 3), network.Addr())
	if err != nil {
		return err
	}
	if err := s.checkMAC(key, optional(args, 3), mac); err != nil {
		return err
	}
	port := topology.RouterPort{Router: key.Parent, Name: key.Name, Net: network, MAC: mac, Peer: peer}
	made, err := s.createIf(func(v *store.View) error {
		if err := s.checkNames(key); err != nil {
			return err
		}
		named, err := s.portsNamed(port.Peer)
		if err != nil {
			return err
		}
		return checkPeer(v, named, port)
	}, port)
	if err != nil {
		return err
	}
	return s.made(made, "router %s port %s created", key.Parent, key.Name)
}

// newPort returns the names among the arguments of a port that is to be made:
// its key, and its peer.
func newPort(kind topology.Kind, args []string) (key topology.Key, peer string, err error) {
	if key, err = newChildKey(kind, args); err == nil {
		peer, err = reference(optional(args, 4))
	}
	return key, peer, err
}

// checkMAC refuses a MAC that somebody chose, given, if another port of the
// switch or router has it: an agent would ignore the second. A MAC that is made
// from an address is as unique as that.
func (s *session) checkMAC(key topology.Key, given string, mac topology.MAC) error {
	if given == "" {
		return nil
	}
	others, _, err := s.store.List(s.ctx, key.Kind, key.Parent)
	if err != nil {
		return err
	}
	for _, other := range others {
		var has topology.MAC
		switch other := other.(type) {
		case topology.SwitchPort:
			has = other.MAC
		case topology.RouterPort:
			has = other.MAC
		}
		if has == mac && other.Key() != key {
			return fmt.Errorf("%s %s port %s: MAC %s: conflict with other MAC, port %s has it",
				key.Kind.Parent(), key.Parent, key.Name, mac, other.Key().Name)
		}
	}
	return nil
}

// portsNamed returns the keys of the switch ports with a name, which may be
// empty.
func (s *session) portsNamed(name string) ([]topology.Key, error) {
	if name == "" {
		return nil, nil
	}
	return s.store.Named(s.ctx, topology.KindSwitchPort, name)
}

// checkNames refuses ports under names that ports of other switches, or other
// routers, have: agents find them by their names alone.
func (s *session) checkNames(keys ...topology.Key) error {
	for _, key := range keys {
		named, err := s.store.Named(s.ctx, key.Kind, key.Name)
		if err != nil {
			return err
		}
		for _, other := range named {
			if other != key {
				return fmt.Errorf("port %s already exists in %s, and ports are found by their names alone; choose another name", key.Name, other.ParentKey())
			}
		}
	}
	return nil
}

// joinedTo returns the part of the network that tells which networks a switch
// has: its ports, and those of all routers.
func (s *session) joinedTo(sw string) (*network, error) {
	ports, _, err := s.store.List(s.ctx, topology.KindSwitchPort, sw)
	if err != nil {
		return nil, err
	}
	others, _, err := s.store.List(s.ctx, topology.KindRouterPort, "")
	return newNetwork(append(ports, others...)), err
}

// portRemarks tells of an address that no machine can have in a network that a
// router has on the switch, or that no router finds there.
func (n *network) portRemarks(port topology.SwitchPort) []string {
	if port.Peer != "" || port.Outer() {
		return nil
	}
	nets := n.networksOf(port.Switch)
	for _, net := range nets {
		if net.Contains(port.IP) {
			if topology.IsHost(port.IP, net) {
				return nil
			}
			return []string{fmt.Sprintf("switch %s port %s: %s is the address of network %s itself, or its broadcast address: no machine can have it",
				port.Switch, port.Name, port.IP, net)}
		}
	}
	if len(nets) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("switch %s port %s: %s is in no network of the switch's routers (%s): no router finds it",
		port.Switch, port.Name, port.IP, joinPrefixes(nets))}
}

// networksOf returns the networks that routers have on a switch.
func (n *network) networksOf(sw string) []netip.Prefix {
	if n.networks == nil {
		n.networks = map[string][]netip.Prefix{}
		for p := range on[topology.RouterPort](n, "") {
			if sw := n.switchOf(p); sw != "" && !slices.Contains(n.networks[sw], p.Net.Masked()) {
				n.networks[sw] = append(n.networks[sw], p.Net.Masked())
			}
		}
	}
	return n.networks[sw]
}

func joinPrefixes(nets []netip.Prefix) string {
	words := make([]string, len(nets))
	for i, net := range nets {
		words[i] = net.String()
	}
	return strings.Join(words, ", ")
}

// checkPeer refuses a router port whose switch port is there, under one of the
// keys that named are, and has no place for it. One that is not there may come
// later.
func checkPeer(v source, named []topology.Key, port topology.RouterPort) error {
	for _, key := range named {
		e, err := v.Get(key)
		if err != nil {
			return err
		}
		switch peer := e.(topology.SwitchPort); {
		case peer.Outer():
			return fmt.Errorf("invalid peer %s: switch %[2]s port %[1]s leads to the physical network, no router is plugged into it; name another switch port",
				port.Peer, peer.Switch)
		case peer.Peer != "" && peer.Peer != port.Name:
			return fmt.Errorf("invalid peer %s: switch %[2]s port %[1]s belongs to router port %[3]s; name another switch port",
				port.Peer, peer.Switch, peer.Peer)
		}
	}
	return nil
}

// deleteSwitchPort refuses a port that others need, unless it is forced to.
func deleteSwitchPort(s *session, args []string) error {
	key, err := s.portKey(args)
	if err != nil {
		return err
	}
	var check func(*store.View) error
	if !s.set(forceFlag) {
		check = func(v *store.View) error { return s.checkUnused(v, key) }
	}
	return s.deletePort(check, key)
}

// deleteRouterPort deletes a port also when routes use it, as the original
// does, but tells of them.
func deleteRouterPort(s *session, args []string) error {
	key, err := childKey(topology.KindRouterPort, args)
	if err != nil {
		return err
	}
	if err := s.deletePort(nil, key); err != nil {
		return err
	}
	routes, err := s.list(topology.KindStaticRoute, key.Parent)
	if err != nil {
		return err
	}
	for _, e := range routes {
		if r := e.(topology.StaticRoute); r.OutPort == key.Name {
			fmt.Fprintf(s.Err, "route %s of router %s leads nowhere without its output port %s\n", r.Name, r.Router, key.Name)
		}
	}
	return nil
}
