package ctl

import (
	"fmt"

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
	made, err := s.create(topology.SwitchPort{Switch: key.Parent, Name: key.Name, IP: ip, MAC: mac, Peer: peer})
	if err != nil {
		return err
	}
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
	all, _, err := s.store.List(s.ctx, topology.KindSwitchPort, "")
	var named []topology.Key
	for _, e := range all {
		if e.Key().Name == name {
			named = append(named, e.Key())
		}
	}
	return named, err
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

func deleteSwitchPort(s *session, args []string) error {
	return s.deleteChild(topology.KindSwitchPort, "port", args)
}

// deleteRouterPort deletes a port also when routes use it, as the original
// does, but tells of them.
func deleteRouterPort(s *session, args []string) error {
	if err := s.deleteChild(topology.KindRouterPort, "port", args); err != nil {
		return err
	}
	key, err := childKey(topology.KindRouterPort, args)
	if err != nil {
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
