package manifest

import (
	"cmp"
	"maps"
	"slices"

	"tuplenet/internal/topology"
)

// State is what the store holds, as far as a description can name it.
type State struct {
	Entities map[topology.Key]topology.Stored
	Broken   map[topology.Key]error // keys whose values cannot be used
	IDTaken  func(id uint32) bool   // whether the book has the id of a switch or router
}

// Change is what becomes of one object.
type Change struct {
	Key    topology.Key
	Before topology.Stored // nil: there is none, or its value is Broken
	After  topology.Stored // nil: it is deleted
	Broken error           // why what there is cannot be read
	At     Place           // where After is described
}

// Action is what a change does.
type Action string

// The three actions.
const (
	Create Action = "create"
	Modify Action = "change"
	Delete Action = "delete"
)

// Action returns what the change does.
func (c Change) Action() Action {
	switch {
	case c.After == nil:
		return Delete
	case c.Before == nil && c.Broken == nil:
		return Create
	}
	return Modify
}

// described are the kinds that a description is about.
var described = []topology.Kind{topology.KindSwitch, topology.KindRouter, topology.KindSwitchPort,
	topology.KindRouterPort, topology.KindStaticRoute, topology.KindNAT}

// Plan returns the changes that make a store what the description says: what
// is made or changed in the description's order, kind by kind (switches,
// routers, switch ports, router ports, routes, NAT rules), then what is deleted.
// Of what is there it keeps what the description does not tell: ids, the chassis
// that agents have bound ports to, and pairs that this version does not know.
//
// With prune what is not described is deleted, but for what keep returns true
// for, ports that are in use by a container, the other ends of links and the
// parents of children among these, and the switches and routers that they hang
// on; otherwise nothing is.
func (d Description) Plan(s State, prune bool, keep func(topology.Key) bool) []Change {
	var changes []Change
	wanted := make(map[topology.Key]bool, len(d))
	ids := d.newIDs(s)
	for _, o := range d {
		key := o.Entity.Key()
		wanted[key] = true
		before := s.Entities[key]
		if after := ids.complete(o, before); after != before {
			changes = append(changes, Change{key, before, after, s.Broken[key], o.At})
		}
	}
	rank := func(c Change) int { return slices.Index(described, c.Key.Kind) }
	slices.SortStableFunc(changes, func(a, b Change) int { return rank(a) - rank(b) })
	if !prune {
		return changes
	}
	gone := unwanted(s, wanted, keep)
	for _, key := range slices.SortedFunc(maps.Keys(gone), topology.Key.Compare) {
		changes = append(changes, Change{Key: key, Before: s.Entities[key], Broken: s.Broken[key]})
	}
	return changes
}

// unwanted returns the keys of what there is, is not wanted and not kept.
func unwanted(s State, wanted map[topology.Key]bool, keep func(topology.Key) bool) map[topology.Key]bool {
	gone := map[topology.Key]bool{}
	var kept []topology.Key
	consider := func(key topology.Key) {
		switch {
		case !slices.Contains(described, key.Kind) || wanted[key]:
		case keep(key) || isOwned(s.Entities[key]):
			kept = append(kept, key)
		default:
			gone[key] = true
		}
	}
	for key := range s.Entities {
		consider(key)
	}
	for key := range s.Broken {
		consider(key)
	}
	if len(kept) == 0 {
		return gone
	}
	ends := linkEnds(slices.Collect(maps.Values(s.Entities)))
	hosts := map[string]bool{} // names of ports that have children which are kept
	for _, key := range kept {
		delete(gone, key.ParentKey())
		if end, ok := ends[key]; ok {
			delete(gone, end)
			delete(gone, end.ParentKey())
		}
		if p, ok := s.Entities[key].(topology.SwitchPort); ok {
			hosts[p.Parent] = true
		}
	}
	for key := range gone {
		if key.Kind == topology.KindSwitchPort && hosts[key.Name] {
			delete(gone, key)
			delete(gone, key.ParentKey())
		}
	}
	return gone
}

// isOwned reports whether e is a port that is in use by an attachment, such as a
// container.
func isOwned(e topology.Stored) bool {
	p, ok := e.(topology.SwitchPort)
	return ok && p.Owner != ""
}

// isAttachment reports whether a port was made for its owner, and goes with it.
func isAttachment(p topology.SwitchPort) bool { return p.Owner != "" && p.Pool == "" }

// ids gives out ids of switches and routers.
type ids struct {
	taken func(uint32) bool
	given map[uint32]bool
	next  uint32
}

// newIDs knows the ids that are in the store or in the description.
func (d Description) newIDs(s State) *ids {
	x := &ids{taken: s.IDTaken, given: map[uint32]bool{}, next: 1}
	for key, e := range s.Entities {
		if key.Kind == topology.KindSwitch || key.Kind == topology.KindRouter {
			x.given[topology.DatapathID(e)] = true
		}
	}
	for _, o := range d {
		x.given[topology.DatapathID(o.Entity)] = true
	}
	return x
}

// complete returns what an object is to be where before, or nothing, is now.
func (x *ids) complete(o Object, before topology.Stored) topology.Stored {
	switch e := o.Entity.(type) {
	case topology.Switch:
		was, _ := before.(topology.Switch)
		e.ID, e.Extra = x.id(e.ID, was.ID), was.Extra
		if !o.Security {
			e.Secured = was.Secured
		}
		return e
	case topology.Router:
		was, _ := before.(topology.Router)
		e.ID, e.Extra = x.id(e.ID, was.ID), was.Extra
		return e
	case topology.SwitchPort:
		was, _ := before.(topology.SwitchPort)
		// The chassis of a port that named a bridge was an operator's choice, and
		// that has been taken back.
		if !o.Bound && !isPatch(was) {
			e.Chassis = was.Chassis
		}
		if !o.Security {
			e.Secured = was.Secured
		}
		// A container may have chosen another MAC for the time that the port is its.
		if e.Owner = was.Owner; e.Owner != "" && e.IP == was.IP {
			e.MAC = was.MAC
		}
		e.Extra = was.Extra
		return e
	case topology.RouterPort:
		was, _ := before.(topology.RouterPort)
		e.Extra = was.Extra
		return e
	case topology.StaticRoute:
		was, _ := before.(topology.StaticRoute)
		e.Extra = was.Extra
		return e
	case topology.NAT:
		was, _ := before.(topology.NAT)
		e.Extra = was.Extra
		return e
	}
	return o.Entity
}

// id returns the id that is described, or that there is, or the lowest free.
func (x *ids) id(described, was uint32) uint32 {
	if known := cmp.Or(described, was); known != 0 {
		return known
	}
	for x.given[x.next] || x.taken(x.next) {
		x.next++
	}
	x.given[x.next] = true
	return x.next
}

// isPatch reports whether an agent makes the port's pair of patch interfaces.
func isPatch(p topology.SwitchPort) bool { return p.Outer() && p.Peer != "" && p.Chassis != "" }
