package ctl

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// checkChanges says what is wrong with the network that changes would make of
// what the store holds. It goes as if the objects were made one after the other,
// in the order of changes, each by its own command: with the same checks, and
// what comes later is judged by what is there. Then it looks at what is there
// already and was good until these changes. The notes are those that the
// commands would print.
func checkChanges(n *store.Snapshot, changes []manifest.Change, force bool) (problems manifest.Problems, notes []string) {
	j := newJudge(n, changes, force)
	problems = j.collisions(n)
	for _, c := range changes {
		if c.After == nil {
			continue
		}
		if err := j.fault(c); err != nil {
			problems = append(problems, manifest.Problem{At: c.At, Text: about(c.Key, err)})
			if c.Key.Kind == topology.KindStaticRoute || c.Key.Kind == topology.KindNAT {
				continue // nothing refers to it, and nothing else shall be wrong because of it
			}
		}
		j.add(c.After)
	}
	problems = append(problems, j.families()...)
	problems = append(problems, j.victims()...)
	if len(problems) > 0 || len(changes) == 0 {
		return problems, nil
	}
	all := j.network()
	for _, c := range changes {
		switch e := c.After.(type) {
		case topology.SwitchPort:
			was, _ := c.Before.(topology.SwitchPort)
			notes = append(notes, movedRemarks(was, e)...)
			if was.IP != e.IP {
				notes = append(notes, all.portRemarks(e)...)
			}
		case topology.StaticRoute:
			ports, _ := j.List(topology.KindRouterPort, e.Router)
			notes = append(notes, routeRemarks(e, ports)...)
		case topology.NAT:
			notes = append(notes, all.natRemarks(e)...)
		}
	}
	return nil, notes
}

// movedRemarks tells of a port that something is plugged into and whose address
// or MAC changes.
func movedRemarks(was, is topology.SwitchPort) []string {
	if was.Chassis == "" || was.Outer() || was.IP == is.IP && was.MAC == is.MAC {
		return nil
	}
	return []string{fmt.Sprintf("port %s/%s is plugged in at %s, whose workload has to follow", was.Switch, was.Name, was.Chassis)}
}

// about returns what is wrong with an object in a sentence that names it.
func about(key topology.Key, err error) string {
	own := fmt.Sprintf("router %s NAT %s: ", key.Parent, key.Name) // as natConflict begins
	return key.String() + ": " + strings.TrimPrefix(err.Error(), own)
}

// judge holds the network as it would be after some of the changes. It answers
// the checks as a store.View does.
type judge struct {
	entities map[topology.Key]topology.Stored
	children map[topology.Key][]topology.Stored // by kind and parent
	named    map[string][]topology.Key          // switch ports by name
	family   map[string][]topology.SwitchPort   // child ports by parent
	rules    map[string][]topology.NAT          // by router
	changed  map[topology.Key]manifest.Change
	changes  []manifest.Change
	standing []topology.Stored // what does not change
	outside  *network          // all but NAT rules that change, once it is needed
	force    bool
}

func newJudge(n *store.Snapshot, changes []manifest.Change, force bool) *judge {
	j := &judge{
		entities: make(map[topology.Key]topology.Stored, len(n.Entities)+len(changes)),
		children: map[topology.Key][]topology.Stored{},
		named:    map[string][]topology.Key{},
		family:   map[string][]topology.SwitchPort{},
		rules:    map[string][]topology.NAT{},
		changed:  make(map[topology.Key]manifest.Change, len(changes)),
		changes:  changes,
		force:    force,
	}
	for _, c := range changes {
		j.changed[c.Key] = c
	}
	for _, key := range slices.SortedFunc(maps.Keys(n.Entities), topology.Key.Compare) {
		if _, ok := j.changed[key]; !ok {
			j.standing = append(j.standing, n.Entities[key])
			j.add(n.Entities[key])
		}
	}
	return j
}

func (j *judge) add(e topology.Stored) {
	key := e.Key()
	j.entities[key] = e
	siblings := topology.Key{Kind: key.Kind, Parent: key.Parent}
	j.children[siblings] = append(j.children[siblings], e)
	switch e := e.(type) {
	case topology.SwitchPort:
		j.named[key.Name] = append(j.named[key.Name], key)
		if e.Parent != "" {
			j.family[e.Parent] = append(j.family[e.Parent], e)
		}
	case topology.NAT:
		j.rules[e.Router] = append(j.rules[e.Router], e)
	}
}

// Get implements source.
func (j *judge) Get(key topology.Key) (topology.Stored, error) {
	if e := j.entities[key]; e != nil {
		return e, nil
	}
	return nil, store.NotFound(key)
}

// List implements source, for what hangs on a parent.
func (j *judge) List(kind topology.Kind, parent string) ([]topology.Stored, error) {
	return j.children[topology.Key{Kind: kind, Parent: parent}], nil
}

func (j *judge) network() *network { return newNetwork(slices.Collect(maps.Values(j.entities))) }

// collisions tells what changes would have the same id, address, MAC or name as
// something else, and so be ignored by the agents.
func (j *judge) collisions(n *store.Snapshot) manifest.Problems {
	var all []topology.Change
	for _, e := range j.standing {
		all = append(all, topology.Change{Key: e.Key(), Entity: e, Created: 1})
	}
	for i, c := range j.changes {
		if c.After != nil {
			all = append(all, topology.Change{Key: c.Key, Entity: c.After, Created: int64(2 + i)})
		}
	}
	var problems manifest.Problems
	for _, conflict := range topology.NewModel().Apply(all).Conflicts {
		c, ok := j.changed[conflict.Ignored]
		if !ok || c.Key.Kind == topology.KindStaticRoute || c.Key.Kind == topology.KindNAT {
			continue // it was so before, or is told by the checks of these
		}
		where := ""
		if other := j.changed[conflict.Because].At; other != (manifest.Place{}) {
			where = fmt.Sprintf(" (%s)", other)
		}
		problems = append(problems, manifest.Problem{At: c.At,
			Text: fmt.Sprintf("%s: conflict with %s%s, which has the same %s", c.Key, conflict.Because, where, conflict.What)})
	}
	return problems
}

// fault says what is wrong with an object that changes, by itself and with what
// it refers to.
func (j *judge) fault(c manifest.Change) error {
	if n, err := newName(c.Key.Kind, c.Key.Name); c.Action() == manifest.Create && (err != nil || n != c.Key.Name) {
		return cmp.Or(err, fmt.Errorf("invalid name %q: spaces are not allowed", c.Key.Name))
	}
	if c.Key.Parent != "" {
		if _, err := j.Get(c.Key.ParentKey()); err != nil {
			return err
		}
	}
	switch e := c.After.(type) {
	case topology.Router:
		was, _ := c.Before.(topology.Router)
		return j.checkChassis(e.Chassis, was.Chassis)
	case topology.SwitchPort:
		was, _ := c.Before.(topology.SwitchPort)
		return j.checkSwitchPort(e, was)
	case topology.RouterPort:
		return firstOf(
			func() error { return checkRouterNetwork(e.Net) },
			func() error { return checkPortMAC(e.MAC, e.Net.Addr()) },
			func() error { return checkReference(e.Peer) },
			func() error { return checkPeer(j, j.named[e.Peer], e) })
	case topology.StaticRoute:
		return firstOf(
			func() error { return checkReference(e.OutPort) },
			func() error { return checkDestination(e) },
			func() error { return checkRoute(j, e) })
	case topology.NAT:
		return j.checkRule(e)
	}
	return nil
}

func (j *judge) checkSwitchPort(p, was topology.SwitchPort) error {
	return firstOf(
		func() error { return checkUnicast(p.IP) },
		func() error { return checkPortMAC(p.MAC, p.IP) },
		func() error { return checkReference(p.Peer) },
		func() error { return checkReference(p.Parent) },
		func() error { return checkReference(p.Pool) },
		func() error { return checkSecured(p) },
		func() error { _, err := topology.Parse(p.Key(), p.Value()); return err },
		func() error { return j.checkChassis(p.Chassis, was.Chassis) },
		func() error {
			if p.Outer() && p.Peer != "" {
				return checkBridge(p.Peer)
			}
			return nil
		})
}

// checkChassis refuses a chassis that has no record, where it is new.
func (j *judge) checkChassis(chassis, was string) error {
	if err := checkReference(chassis); err != nil || chassis == was || j.force {
		return err
	}
	if j.entities[topology.Key{Kind: topology.KindChassis, Name: chassis}] == nil {
		return unknownChassis(chassis)
	}
	return nil
}

func (j *judge) checkRule(rule topology.NAT) error {
	if j.outside == nil { // NAT rules come last
		j.outside = j.network()
	}
	return firstOf(
		func() error { return checkNAT(rule) },
		func() error { return natConflict(rule, j.rules[rule.Router]) },
		func() error { return j.outside.checkExternal(rule) })
}

// families tells which children that change have no place at their parent, which
// may be described later than they are.
func (j *judge) families() manifest.Problems {
	var problems manifest.Problems
	for _, c := range j.changes {
		child, ok := c.After.(topology.SwitchPort)
		if !ok || child.Parent == "" {
			continue
		}
		// Of its own children those that change are told by themselves.
		standing := slices.DeleteFunc(slices.Clone(j.family[child.Name]), func(p topology.SwitchPort) bool { _, ok := j.changed[p.Key()]; return ok })
		if err := checkParent(j, j.named[child.Parent], child, standing, j.force); err != nil {
			problems = append(problems, manifest.Problem{At: c.At, Text: about(c.Key, err)})
		}
	}
	return problems
}

// lostHosts returns the names of switch ports that are deleted, or that no host
// can be plugged into any more.
func (j *judge) lostHosts() map[string]bool {
	lost := map[string]bool{}
	for _, c := range j.changes {
		before, ok := c.Before.(topology.SwitchPort)
		after, _ := c.After.(topology.SwitchPort)
		if ok && (c.After == nil || before.Parent != after.Parent || before.Peer != after.Peer || before.Outer() != after.Outer()) {
			lost[before.Name] = true
		}
	}
	return lost
}

// victims tells what does not change, but refers to what does and has no place
// for it any more.
func (j *judge) victims() manifest.Problems {
	var problems manifest.Problems
	lost := j.lostHosts()
	for _, e := range j.standing {
		var err error
		switch e := e.(type) {
		case topology.StaticRoute:
			if c, ok := j.changed[topology.Key{Kind: topology.KindRouterPort, Parent: e.Router, Name: e.OutPort}]; ok {
				err = j.checkWay(e, c)
			}
		case topology.RouterPort:
			if slices.ContainsFunc(j.named[e.Peer], j.pluggedOtherwise) {
				err = checkPeer(j, j.named[e.Peer], e)
			}
		case topology.SwitchPort:
			if lost[e.Parent] {
				err = checkParent(j, j.named[e.Parent], e, nil, j.force)
			}
		}
		if err != nil {
			problems = append(problems, manifest.Problem{Text: about(e.Key(), err)})
		}
	}
	return problems
}

// checkWay refuses to change the output port of a route so that the next hop is
// no neighbour any more.
func (j *judge) checkWay(r topology.StaticRoute, c manifest.Change) error {
	before, _ := c.Before.(topology.RouterPort)
	after, ok := c.After.(topology.RouterPort)
	switch {
	case !ok:
		return store.NotFound(c.Key)
	case before.Net == after.Net:
		return nil
	}
	return checkNextHop(r.NextHop, after)
}

// pluggedOtherwise reports whether a switch port belongs to another router port
// than before.
func (j *judge) pluggedOtherwise(key topology.Key) bool {
	c := j.changed[key]
	before, _ := c.Before.(topology.SwitchPort)
	after, ok := c.After.(topology.SwitchPort)
	return ok && (before.Peer != after.Peer || before.Outer() != after.Outer())
}

// checkReference refuses a name that cannot stand in another object's value.
func checkReference(name string) error {
	n, err := reference(name)
	if err == nil && n != name {
		err = fmt.Errorf("invalid name %q: it begins or ends with a space", name)
	}
	return err
}

// firstOf returns the first error of checks.
func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
