package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// listChassis returns chassis with what is known of whether they are alive.
func listChassis(s *session, args []string) ([]object, error) {
	chassis, err := s.devices(topology.KindChassis, args)
	if err != nil {
		return nil, err
	}
	known := map[topology.Key]topology.Stored{}
	for _, kind := range []topology.Kind{topology.KindPresence, topology.KindAbsence, topology.KindContender} {
		list, err := s.list(kind, "")
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			known[e.Key()] = e
		}
	}
	objects := make([]object, len(chassis))
	for i, e := range chassis {
		o := objectOf(e)
		o.fields = append(o.fields, stateOf(e, known)...)
		objects[i] = o
	}
	return objects, nil
}

// withUnheard adds to what the store holds the absence of chassis that are not
// heard of, and that nobody has declared down, as where etcd lets agents write
// under their own names alone. (Of a record without an MTU, as an agent of the
// original TupleNet writes it, nobody knows.)
func withUnheard(all []topology.Change) []topology.Change {
	heard := map[string]bool{}
	for _, c := range all {
		if c.Key.Kind == topology.KindPresence || c.Key.Kind == topology.KindAbsence {
			heard[c.Key.Name] = true
		}
	}
	for _, c := range all {
		if chassis, ok := c.Entity.(topology.Chassis); ok && chassis.MTU > 0 && !heard[chassis.Name] {
			absence := topology.Absence{Chassis: chassis.Name}
			all = append(all, topology.Change{Key: absence.Key(), Entity: absence})
		}
	}
	return all
}

// stateOf returns what the store says of whether a chassis is alive: nothing of
// an agent of the original TupleNet.
func stateOf(record topology.Stored, known map[topology.Key]topology.Stored) []field {
	var fields []field
	chassis := record.Key().Name
	announces := false
	if c, ok := record.(topology.Chassis); ok {
		announces = c.MTU > 0
	}
	presence, isThere := known[topology.Presence{Chassis: chassis}.Key()].(topology.Presence)
	absence, isDown := known[topology.Absence{Chassis: chassis}.Key()].(topology.Absence)
	switch {
	case presence.Stopped:
		fields = append(fields, state("stopped"))
	case isThere:
		fields = append(fields, state("up"))
	case isDown:
		since := time.Unix(absence.Since, 0).UTC().Format(time.RFC3339)
		fields = append(fields, state(downSince(since)), field{name: "since", value: since, onlyJSON: true})
	case announces: // missed a moment ago, or nobody may write that it is down
		fields = append(fields, state("not heard of"))
	}
	if contender, ok := known[topology.Contender{Chassis: chassis}.Key()].(topology.Contender); ok {
		fields = append(fields, field{name: "contender", value: contender.IP.String()})
	}
	return fields
}

// state is the field for what became of a chassis. Its plain name is no longer
// than "tick": what scripts in the field read stays where it was.
func state(value any) field { return field{name: "state", plainName: "now", value: value} }

// downSince is the state of a chassis that is down, which in JSON has a field
// of its own for the time.
type downSince string

// String implements fmt.Stringer.
func (d downSince) String() string { return "down since " + string(d) }

// MarshalJSON implements json.Marshaler.
func (d downSince) MarshalJSON() ([]byte, error) { return json.Marshal("down") }

// deleteChassis deletes the record with a name, or those with an address, and
// what else is to be cleaned up after those chassis.
func deleteChassis(s *session, args []string) error {
	n, err := name(args[0])
	if err != nil {
		return err
	}
	err = s.removeChassis(n)
	ip, notAddress := topology.ParseAddr(n)
	if notAddress != nil || !errors.Is(err, store.ErrNotFound) {
		return err
	}
	all, err := s.list(topology.KindChassis, "")
	if err != nil {
		return err
	}
	found := false
	for _, e := range all {
		if e.(topology.Chassis).IP != ip {
			continue
		}
		found = true
		if err := s.removeChassis(e.Key().Name); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("chassis with the address %s %w", ip, store.ErrNotFound)
	}
	return nil
}

// removeChassis removes one chassis, says what was done, and what is left to do.
func (s *session) removeChassis(chassis string) error {
	removal, err := s.store.RemoveChassis(s.ctx, chassis)
	if err != nil {
		return err
	}
	if err := s.say("%s deleted", chassis); err != nil {
		return err
	}
	for _, port := range removal.Released {
		if err := s.say("switch %s port %s released from %s", port.Parent, port.Name, chassis); err != nil {
			return err
		}
	}
	switch {
	case removal.Alive:
		s.note(fmt.Sprintf("the agent of %[1]s runs: its ports stay bound to it, and it registers again when it is started anew; "+
			`to take the host out, stop its agent, then "tpctl ch del %[1]s" cleans up after it`, chassis))
	case !removal.Gone:
		s.note(fmt.Sprintf("it is not known whether the agent of %[1]s runs, so its ports stay bound to it; "+
			`if it does not, "tpctl ch del %[1]s" once more releases them`, chassis))
	}
	net, err := s.network()
	if err != nil {
		return err
	}
	s.note(net.references(chassis)...)
	return nil
}

// references tells what an operator has bound to a chassis, each with the
// command that ends that.
func (n *network) references(chassis string) []string {
	var notes []string
	for _, r := range of(n, func(r topology.Router) bool { return r.Chassis == chassis }) {
		remedy := fmt.Sprintf(`"tpctl lr del -r %s" deletes it`, r.Name)
		if vip := n.vipOf(r.Name); vip.IsValid() {
			remedy = fmt.Sprintf(`"tpctl edge remove --vip %s" takes its road away`, vip)
		}
		notes = append(notes, fmt.Sprintf("router %s is pinned to %s; %s", r.Name, chassis, remedy))
	}
	for _, p := range of(n, func(p topology.SwitchPort) bool { return p.Outer() && p.Peer != "" && p.Chassis == chassis }) {
		notes = append(notes, fmt.Sprintf(`switch %[1]s port %[2]s leads to bridge %[3]s of %[4]s; "tpctl patchport del %[1]s %[2]s" deletes it`,
			p.Switch, p.Name, p.Peer, chassis))
	}
	return notes
}
