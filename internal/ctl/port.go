package ctl

import (
	"errors"
	"fmt"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func addSwitchPort(s *session, args []string) error {
	parent, port, peer, err := newPortNames(args)
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
	if err := s.checkMAC(topology.Key{Kind: topology.KindSwitchPort, Parent: parent, Name: port}, optional(args, 3), mac); err != nil {
		return err
	}
	made, err := s.create(topology.SwitchPort{Switch: parent, Name: port, IP: ip, MAC: mac, Peer: peer})
	if err != nil {
		return err
	}
	return s.made(made, "switch %s port %s created", parent, port)
}

func addRouterPort(s *session, args []string) error {
	parent, port, peer, err := newPortNames(args)
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
	if err := s.checkMAC(topology.Key{Kind: topology.KindRouterPort, Parent: parent, Name: port}, optional(args, 3), mac); err != nil {
		return err
	}
	made, err := s.create(topology.RouterPort{Router: parent, Name: port, Net: network, MAC: mac, Peer: peer})
	if err != nil {
		return err
	}
	return s.made(made, "router %s port %s created", parent, port)
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

// newPortNames is portNames for a port that is to be made.
func newPortNames(args []string) (parent, port, peer string, err error) {
	if parent, port, peer, err = portNames(args, 4); err == nil {
		_, err = newName(port)
	}
	return
}

// portNames returns the names among a port's arguments: its parent's, its own
// and, if there is an argument at peerAt, its peer's.
func portNames(args []string, peerAt int) (parent, port, peer string, err error) {
	if parent, err = name(args[0]); err != nil {
		return
	}
	if port, err = name(args[1]); err != nil {
		return
	}
	peer, err = reference(optional(args, peerAt))
	return
}

func deleteSwitchPort(s *session, args []string) error {
	return s.deletePort(topology.KindSwitchPort, args)
}

func deleteRouterPort(s *session, args []string) error {
	return s.deletePort(topology.KindRouterPort, args)
}

func (s *session) deletePort(kind topology.Kind, args []string) error {
	parent, port, _, err := portNames(args, 2)
	if err != nil {
		return err
	}
	err = s.store.Delete(s.ctx, topology.Key{Kind: kind, Parent: parent, Name: port}, false)
	if errors.Is(err, store.ErrNotFound) {
		// A port may outlive its switch; only where there is none to delete
		// does it matter which of the two is missing.
		if err := s.exists(topology.Key{Kind: kind.Parent(), Name: parent}); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return s.say("%s %s port %s deleted", kind.Parent(), parent, port)
}

func showSwitchPorts(s *session, args []string) error {
	return s.showPorts(topology.KindSwitchPort, args)
}

func showRouterPorts(s *session, args []string) error {
	return s.showPorts(topology.KindRouterPort, args)
}

// showPorts shows the ports of the switch or router that the first argument
// names: the one that the second names, or all.
func (s *session) showPorts(kind topology.Kind, args []string) error {
	parent, err := name(args[0])
	if err != nil {
		return err
	}
	port := ""
	if len(args) > 1 {
		if port, err = name(args[1]); err != nil {
			return err
		}
	}
	if err := s.exists(topology.Key{Kind: kind.Parent(), Name: parent}); err != nil {
		return err
	}
	if port == "" {
		return s.showAll(kind, parent)
	}
	return s.showOne(topology.Key{Kind: kind, Parent: parent, Name: port})
}
