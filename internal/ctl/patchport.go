package ctl

import (
	"errors"
	"fmt"
	"slices"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// integrationBridge is the bridge that the agents have for themselves.
const integrationBridge = "br-int"

// addPatchPort makes the outer port whose pair of patch interfaces the agent
// of a chassis makes, between the integration bridge and another.
func addPatchPort(s *session, args []string) error {
	key, err := newChildKey(topology.KindSwitchPort, args)
	if err != nil {
		return err
	}
	chassis, err := reference(args[2])
	if err != nil {
		return err
	}
	bridge, err := reference(args[3])
	if err != nil {
		return err
	}
	if err := checkBridge(bridge); err != nil {
		return err
	}
	if chassis == "" {
		return errors.New("invalid chassis: it is empty, want the system-id of a host")
	}
	made, err := s.createIf(s.chassisKnown(chassis), patchPort(key, chassis, bridge))
	if err != nil {
		return err
	}
	return s.made(made, "switch %s patchport %s created", key.Parent, key.Name)
}

func patchPort(key topology.Key, chassis, bridge string) topology.SwitchPort {
	return topology.SwitchPort{Switch: key.Parent, Name: key.Name, IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: chassis, Peer: bridge}
}

// checkBridge refuses what cannot be the bridge that leads to the physical
// network.
func checkBridge(bridge string) error {
	switch bridge {
	case "":
		return errors.New("invalid bridge: its name is empty")
	case integrationBridge:
		return fmt.Errorf("invalid bridge %s: it is TupleNet's own, want the bridge that the NIC to the physical network is in", bridge)
	}
	return nil
}

// chassisKnown returns the check that a chassis has a record, or none if the
// user wants none or names no chassis.
func (s *session) chassisKnown(chassis string) func(*store.View) error {
	if chassis == "" || s.set(forceFlag) {
		return nil
	}
	return func(v *store.View) error {
		_, err := v.Get(topology.Key{Kind: topology.KindChassis, Name: chassis})
		if errors.Is(err, store.ErrNotFound) {
			return unknownChassis(chassis)
		}
		return err
	}
}

func unknownChassis(chassis string) error {
	return fmt.Errorf(`chassis %s %w ("tpctl ch show" lists those that are known): start its agent first, or use --force`, chassis, store.ErrNotFound)
}

func deletePatchPort(s *session, args []string) error {
	key, err := childKey(topology.KindSwitchPort, args)
	if err != nil {
		return err
	}
	e, err := s.store.Get(s.ctx, key)
	if err == nil && !e.(topology.SwitchPort).Outer() {
		return fmt.Errorf(`switch %s port %s is no patch port; "tpctl lsp del" deletes it`, key.Parent, key.Name)
	}
	return s.deleteChild(topology.KindSwitchPort, "patchport", args)
}

// listPatchPorts returns the ports of a switch that lead to the physical
// network, those included that somebody plugs in by hand; or the port that is
// named, whichever it is.
func listPatchPorts(s *session, args []string) ([]object, error) {
	ports, err := s.children(topology.KindSwitchPort, args)
	if len(args) < 2 {
		ports = slices.DeleteFunc(ports, func(e topology.Stored) bool { return !e.(topology.SwitchPort).Outer() })
	}
	return objectsOf(ports), err
}
