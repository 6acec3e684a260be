package ctl

import (
	"errors"
	"fmt"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// checkSecured refuses port security of a port that more than one machine's
// packets come from.
func checkSecured(p topology.SwitchPort) error {
	if !p.Secured || p.Peer == "" && !p.Outer() {
		return nil
	}
	what := "leads to the physical network"
	if !p.Outer() {
		what = "belongs to router port " + p.Peer
	}
	return fmt.Errorf("switch %s port %s %s: packets of any address come from it; port security is for ports that workloads are plugged into", p.Switch, p.Name, what)
}

func securePort(s *session, args []string) error {
	key, err := s.portKey(args)
	if err != nil {
		return err
	}
	e, err := s.secure(key, args[2])
	if errors.Is(err, store.ErrNotFound) {
		if err := s.exists(key.ParentKey()); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if sw, err := s.store.Get(s.ctx, key.ParentKey()); err == nil && sw.(topology.Switch).Secured && !e.(topology.SwitchPort).Secured {
		s.note(fmt.Sprintf(`it stays in force, as switch %[1]s has it for all its ports; "tpctl ls port-security %[1]s off" ends that`, key.Parent))
	}
	return s.made([]topology.Stored{e}, "switch %s port %s: port security is %s", key.Parent, key.Name, args[2])
}

func secureSwitch(s *session, args []string) error {
	sw, err := name(args[0])
	if err != nil {
		return err
	}
	if sw, err = s.meant(topology.Key{Kind: topology.KindSwitch, Name: sw}); err != nil {
		return err
	}
	e, err := s.secure(topology.Key{Kind: topology.KindSwitch, Name: sw}, args[1])
	if err != nil {
		return err
	}
	return s.made([]topology.Stored{e}, "switch %s: port security is %s", sw, args[1])
}

// secure switches port security on or off and returns the port, or the switch,
// as it is then.
func (s *session) secure(key topology.Key, word string) (topology.Stored, error) {
	if word != "on" && word != "off" {
		return nil, fmt.Errorf("invalid port security %q, want on or off", word)
	}
	for {
		n, err := s.store.Snapshot(s.ctx)
		if err != nil {
			return nil, err
		}
		before := n.Entities[key]
		if before == nil {
			if err := s.exists(key); err != nil {
				return nil, err
			}
			continue // it was made a moment ago
		}
		after := before
		switch e := before.(type) {
		case topology.Switch:
			e.Secured = word == "on"
			after = e
		case topology.SwitchPort:
			e.Secured = word == "on"
			if err := checkSecured(e); err != nil {
				return nil, err
			}
			after = e
		}
		if after == before {
			return after, nil
		}
		if err := n.Write(s.ctx, []store.Edit{{Key: key, After: after}}); !errors.Is(err, store.ErrChanged) {
			return after, err
		}
	}
}
