package manifest

import (
	"cmp"
	"maps"
	"slices"

	"tuplenet/internal/topology"
)

// Unit is what has to be written at once: one change, or those of the two ends
// of a link.
type Unit []Change

// Group is what belongs together, in the order in which it can be written: a
// switch with its ports, or a router with its links, ports, NAT rules and routes.
type Group []Unit

// Groups returns changes in the order in which they are to be written, so that
// traffic goes on meanwhile: what is new comes first, and what is deleted at the
// end, but for what has an id or an address that something new takes over.
// Routers that live on every chassis come after those that are pinned to one,
// since they send traffic there.
func Groups(changes []Change) []Group {
	var early, late, rest []Change
	inTheWay := inTheWay(changes)
	for _, c := range changes {
		switch {
		case c.Action() != Delete:
			rest = append(rest, c)
		case inTheWay[c.Key]:
			early = append(early, c)
		default:
			late = append(late, c)
		}
	}
	return slices.Concat(removals(early), groups(rest), removals(late))
}

// inTheWay returns the keys of what is deleted and has something that others
// get, together with what hangs on it and with the other ends of links.
func inTheWay(changes []Change) map[topology.Key]bool {
	wanted := map[topology.Key]bool{}
	for _, c := range changes {
		if c.After != nil {
			wanted[place(c.After)] = true
		}
	}
	found := map[topology.Key]bool{}
	for _, c := range changes {
		if c.After == nil && c.Before != nil && wanted[place(c.Before)] {
			found[c.Key] = true
		}
	}
	ends := changedEnds(changes)
	for _, c := range changes {
		if c.After == nil && (found[c.Key] || found[c.Key.ParentKey()]) {
			found[c.Key] = true
			if end, ok := ends[c.Key]; ok && end.After == nil {
				found[end.Key] = true
			}
		}
	}
	return found
}

// place returns what an entity occupies, as the key of the index that finds it
// there: the id of a switch or router, a port's id within these. Of others it
// is the entity's own key.
func place(e topology.Stored) topology.Key {
	switch e := e.(type) {
	case topology.Switch:
		return topology.Datapath(e.ID)
	case topology.Router:
		return topology.Datapath(e.ID)
	case topology.SwitchPort:
		return topology.PortAt(e.Switch, e.ID())
	case topology.RouterPort:
		return topology.RouterPortAt(e.Router, e.ID())
	}
	return e.Key()
}

// changedEnds returns, for both ends of each link that changes, the change of
// the other end.
func changedEnds(changes []Change) map[topology.Key]Change {
	byKey := make(map[topology.Key]Change, len(changes))
	subjects := make([]topology.Stored, len(changes))
	for i, c := range changes {
		byKey[c.Key], subjects[i] = c, subject(c)
	}
	ends := map[topology.Key]Change{}
	for key, end := range linkEnds(subjects) {
		ends[key] = byKey[end]
	}
	return ends
}

// linkEnds returns, for both ends of each link among entities, the other end.
func linkEnds(entities []topology.Stored) map[topology.Key]topology.Key {
	named := map[string]topology.Key{} // switch ports by themselves and the router port that they name
	for _, e := range entities {
		if p, ok := e.(topology.SwitchPort); ok && p.Peer != "" {
			named[p.Name+" "+p.Peer] = p.Key()
		}
	}
	ends := map[topology.Key]topology.Key{}
	for _, e := range entities {
		if p, ok := e.(topology.RouterPort); ok {
			if end, ok := named[p.Peer+" "+p.Name]; ok {
				ends[p.Key()], ends[end] = end, p.Key()
			}
		}
	}
	return ends
}

// subject returns what a change is about.
func subject(c Change) topology.Stored {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// groups puts changes into groups: switches, then routers, parents before what
// hangs on them.
func groups(changes []Change) []Group {
	ends := changedEnds(changes)
	byDevice := map[topology.Key]Group{}
	pinned := map[topology.Key]bool{}
	for _, c := range changes {
		device, unit := deviceOf(c.Key), Unit{c}
		if end, ok := ends[c.Key]; ok {
			if c.Key.Kind == topology.KindSwitchPort {
				continue // it goes with the router's end
			}
			unit = Unit{end, c}
		}
		byDevice[device] = append(byDevice[device], unit)
		if r, ok := subject(c).(topology.Router); ok {
			pinned[device] = r.Chassis != ""
		}
	}
	devices := slices.SortedFunc(maps.Keys(byDevice), func(a, b topology.Key) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), -compare(pinned[a], pinned[b]), a.Compare(b))
	})
	list := make([]Group, len(devices))
	for i, device := range devices {
		list[i] = byDevice[device]
		slices.SortStableFunc(list[i], func(a, b Unit) int { return stage(a) - stage(b) })
	}
	return list
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// stage orders the units of a group: what others hang on or lead to comes
// first, and a rule that translates before the route that traffic comes by.
func stage(u Unit) int {
	return slices.Index([]topology.Kind{topology.KindSwitch, topology.KindRouter, topology.KindSwitchPort,
		topology.KindRouterPort, topology.KindNAT, topology.KindStaticRoute}, u[len(u)-1].Key.Kind)
}

// removals is groups the other way round.
func removals(changes []Change) []Group {
	list := groups(changes)
	slices.Reverse(list)
	for _, g := range list {
		slices.Reverse(g)
	}
	return list
}

// deviceOf returns the key of the switch or router that an object is or hangs on.
func deviceOf(key topology.Key) topology.Key {
	if key.Parent == "" {
		return key
	}
	return key.ParentKey()
}
