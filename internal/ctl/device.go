package ctl

import (
	"errors"
	"fmt"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func addSwitch(s *session, args []string) error {
	sw, err := newName(topology.KindSwitch, args[0])
	if err != nil {
		return err
	}
	made, err := s.create(topology.Switch{Name: sw, Secured: s.set(securityFlag)})
	if err != nil {
		return err
	}
	return s.made(made, "switch %s created", sw)
}

func addRouter(s *session, args []string) error {
	lr, err := newName(topology.KindRouter, args[0])
	if err != nil {
		return err
	}
	chassis, err := reference(optional(args, 1))
	if err != nil {
		return err
	}
	made, err := s.createIf(s.chassisKnown(chassis), topology.Router{Name: lr, Chassis: chassis})
	if err != nil {
		return err
	}
	return s.made(made, "router %s created", lr)
}

// linkRouter makes the two ports that join a router and a switch, each the
// other's peer. Where one of the two is left of such a link it makes the other.
func linkRouter(s *session, args []string) error {
	lr, err := name(args[0])
	if err != nil {
		return err
	}
	sw, err := name(args[1])
	if err != nil {
		return err
	}
	if err := s.checkRelink(lr, sw); err != nil {
		return err
	}
	if _, err := reference(sw + "_to_" + lr); err != nil {
		return err
	}
	network, err := routerNetwork(args[2])
	if err != nil {
		return err
	}
	switchPort, routerPort := manifest.Link(lr, sw, network)
	free := func(*store.View) error { return s.checkNames(switchPort.Key(), routerPort.Key()) }
	made, err := s.store.CreateIf(s.ctx, free, switchPort, routerPort)
	if errors.Is(err, store.ErrExists) {
		made, err = s.completeLink(s.sayExists(err, []topology.Stored{switchPort, routerPort}), switchPort, routerPort)
	}
	if err != nil {
		return err
	}
	return s.made(made, "%s linked to %s", lr, sw)
}

// completeLink makes the end of a link that is missing beside the other. It
// returns exists, the error that says what is there, if both ends are, and how
// their address is changed if that is what was meant.
func (s *session) completeLink(exists error, switchPort topology.SwitchPort, routerPort topology.RouterPort) ([]topology.Stored, error) {
	missing, left := topology.Stored(switchPort), topology.Stored(routerPort)
	object := "lrp"
	if errors.Is(s.exists(left.Key()), store.ErrNotFound) {
		missing, left, object = left, missing, "lsp"
	} else if !errors.Is(s.exists(missing.Key()), store.ErrNotFound) {
		return nil, s.linkedOtherwise(exists, switchPort, routerPort)
	}
	return s.createIf(func(v *store.View) error {
		if err := s.checkNames(missing.Key()); err != nil {
			return err
		}
		has, err := v.Get(left.Key())
		if err != nil {
			return err
		}
		if key := left.Key(); bare(has) != bare(left) {
			return fmt.Errorf(`%w and is no half of this link; "tpctl %s del %s %s" removes it`, exists, object, key.Parent, key.Name)
		}
		return nil
	}, missing)
}

// linkedOtherwise returns exists, the error that says that two ports of a link
// are there, with what changes their address if that is another.
func (s *session) linkedOtherwise(exists error, switchPort topology.SwitchPort, routerPort topology.RouterPort) error {
	has, err := s.read.Get(s.ctx, routerPort.Key())
	is, ok := has.(topology.RouterPort)
	if err != nil || !ok || is.Net == routerPort.Net {
		return exists
	}
	return fmt.Errorf(`%w with the address %s; "tpctl export %s > FILE", another cidr there and "tpctl apply -f FILE" change that, or "tpctl lrp del %s %s" and "tpctl lsp del %s %s", and this again`,
		exists, is.Net, routerPort.Router, routerPort.Router, routerPort.Name, switchPort.Switch, switchPort.Name)
}

func deleteSwitch(s *session, args []string) error {
	return s.deleteDevice(topology.KindSwitch, args[0])
}
func deleteRouter(s *session, args []string) error {
	return s.deleteDevice(topology.KindRouter, args[0])
}

func (s *session) deleteDevice(kind topology.Kind, arg string) error {
	device, err := name(arg)
	if err != nil {
		return err
	}
	key := topology.Key{Kind: kind, Name: device}
	networks, err := s.networksOf(key)
	if err != nil {
		return err
	}
	if len(networks) > 0 && !s.set(networksFlag) {
		return errInUse(key.String(), networks)
	}
	var lost []string
	if kind == topology.KindSwitch && s.set(recursiveFlag) {
		u, err := s.usersOf(device, networks)
		if err != nil {
			return err
		}
		lost = u.lost()
	}
	err = s.store.Delete(s.ctx, key, s.set(recursiveFlag))
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		hangs := "ports"
		if kind == topology.KindRouter {
			hangs = "ports, routes or NAT rules"
		}
		return fmt.Errorf(`failed to delete %s: there are remaining %s, consider using "-r"?`, device, hangs)
	case errors.Is(err, store.ErrNotFound) && kind == topology.KindSwitch:
		return s.notThere(device, err)
	case err != nil:
		return err
	}
	if kind == topology.KindRouter && len(networks) > 0 {
		lost = append(lost, cutOff(networks))
	} else {
		forgotten, err := s.forgetNetworks(networks)
		if err != nil {
			return fmt.Errorf("%s is deleted, but not what is known of its Docker networks: %w", device, err)
		}
		lost = append(lost, forgotten...)
	}
	s.note(lost...)
	return s.say("%s deleted", device)
}
