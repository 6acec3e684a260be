package audit

import (
	"fmt"

	"tuplenet/internal/topology"
)

// family is what ports of one switch have in common: a parent, or a node.
type family struct{ sw, name string }

// families are ports by what they have in common, in the order of the first of each.
type families struct {
	order   []family
	members map[family][]topology.SwitchPort
}

func (f *families) add(p topology.SwitchPort, name string) {
	if f.members == nil {
		f.members = map[family][]topology.SwitchPort{}
	}
	key := family{p.Switch, name}
	if f.members[key] == nil {
		f.order = append(f.order, key)
	}
	f.members[key] = append(f.members[key], p)
}

// children finds child ports whose packets pass through no interface.
func (a *audit) children() {
	var lost families
	for _, p := range a.switchPorts {
		if p.Parent == "" {
			continue
		}
		parent, ok := a.portNamed(p.Parent)
		switch {
		case !ok && a.isNamed(topology.KindSwitchPort, p.Parent):
			// That one is ignored or unreadable, and told of by itself.
		case !ok:
			lost.add(p, p.Parent)
		case parent.Parent != "":
			a.unfit(p, parent, "is a child itself")
		case parent.Outer():
			a.unfit(p, parent, "leads to the physical network")
		case parent.Peer != "":
			a.unfit(p, parent, "belongs to router port "+parent.Peer)
		}
	}
	for _, f := range lost.order {
		a.foundFamily(ChildParentMissing, lost.members[f], "its parent, switch port "+f.name+", does not exist",
			"make that again: "+tpctl(topology.KindSwitchPort, "add", "SWITCH", f.name, "IP"))
	}
}

func (a *audit) unfit(p, parent topology.SwitchPort, what string) {
	a.found(ChildParentUnfit, p.Key(), Finding{What: fmt.Sprintf("its parent, %s, %s", parent.Key(), what),
		Cure: revise(p.Key(), "parent"), Remedy: []string{a.del(p.Key())}}, parent.Key())
}

// attachments finds ports that belong to containers, or are kept for them, on
// hosts that are not there.
func (a *audit) attachments() {
	var lost families
	for _, p := range a.switchPorts {
		// Where a child is, its parent says.
		if p.Owner != "" && p.Chassis == "" && p.Parent == "" {
			f := Finding{What: a.dockered.owner(p) + " has it, but on no chassis", Cure: "if its host still runs, " + startAgent, Remedy: []string{a.del(p.Key())}}
			if p.Pool != "" {
				f.Advice = `"tpctl ls provision" makes it again`
			}
			a.found(AttachmentLeaked, p.Key(), f)
		}
		if p.Pool == "" || p.Parent == p.Pool || a.isNamed(topology.KindSwitchPort, p.Pool) || a.byKey[topology.Chassis{Name: p.Pool}.Key()] != nil {
			continue
		}
		lost.add(p, p.Pool)
	}
	for _, f := range lost.order {
		a.foundFamily(PoolNodeMissing, lost.members[f], "node "+f.name+", for which it was made, is neither a chassis nor a switch port", startAgent)
	}
}

// foundFamily adds one finding for ports of one switch with which the same is
// wrong.
func (a *audit) foundFamily(kind Kind, list []topology.SwitchPort, what, cure string) {
	if more := len(list) - 1; more > 0 {
		what += fmt.Sprintf("; so with %d more of the switch's ports", more)
	}
	var others []topology.Key
	for _, p := range list[1:] {
		others = append(others, p.Key())
	}
	a.found(kind, list[0].Key(), Finding{What: what, Cure: cure, Remedy: a.delPorts(list)}, others...)
}

// delPorts returns the commands that delete ports of one switch. Where they are
// many they go together: with the switch, if it has no others but a router's, or
// with the node's pool, if they are all of that.
func (a *audit) delPorts(list []topology.SwitchPort) (commands []string) {
	const many = 3
	first, all, pool := list[0], 0, 0
	for _, p := range a.portsOf[first.Switch] {
		if isWorkload(p) || p.Outer() {
			all++
		}
		if p.Pool == first.Pool {
			pool++
		}
	}
	together := len(list) > many && first.Pool != "" && pool == len(list)
	switch {
	case len(list) > many && all == len(list):
		return []string{delAll(first.Key().ParentKey())}
	case together:
		commands = append(commands, Command(append([]string{"tpctl", "ls", "unprovision", "--node", first.Pool}, operands(first.Switch)...)...))
	}
	for _, p := range list {
		if !together || a.isUsed(p.Key()) {
			commands = append(commands, a.del(p.Key()))
		}
	}
	return commands
}

// isUsed reports whether a switch port is deleted by force only: a container has
// it, or it has children.
func (a *audit) isUsed(key topology.Key) bool {
	item := a.byKey[key]
	if item == nil {
		return false
	}
	p, ok := item.Entity.(topology.SwitchPort)
	return ok && (p.Owner != "" || a.parents[p.Name])
}
