package agent

import (
	"tuplenet/internal/topology"
)

// Children have no interfaces: their packets pass, with VLAN tags, through that
// of another port. Where a child is follows from where its parent is, so nobody
// contends for it: while the parent is bound here, the store is told that the
// child is, too, whatever it said before. What stands for a child's interface is
// in the model and nowhere else.

// throughParent returns what stands for the interface of a child while its
// parent is bound here.
func (a *agent) throughParent(child topology.SwitchPort) (topology.Interface, bool) {
	p := a.plugs[child.Parent]
	if p == nil || p.state == yielded {
		return topology.Interface{}, false
	}
	parent, _ := a.portNamed(child.Parent)
	if parent.Chassis != a.self || !parent.CanHaveChildren() {
		return topology.Interface{}, false
	}
	return topology.Interface{Port: child.Name, OFPort: p.iface.OFPort, Tag: child.Tag}, true
}

// children returns those of a port, wherever they are.
func (a *agent) children(parent string) []topology.SwitchPort {
	found := a.model.List(topology.Key{Kind: topology.KindChildren, Name: parent})
	out := make([]topology.SwitchPort, len(found))
	for i, e := range found {
		out[i] = e.(topology.SwitchPort)
	}
	return out
}

// childrenChanged follows up on a port whose interface has come or gone, or
// whose place has changed.
func (a *agent) childrenChanged(parent string) {
	for _, child := range a.children(parent) {
		a.childChanged(child.Name)
	}
}

// childChanged decides anew whether packets of a port pass through the interface
// of its parent here, if it is a child, or was one.
func (a *agent) childChanged(name string) {
	port, _ := a.portNamed(name)
	was, plugged := a.model.Get(topology.Interface{Port: name}.Key()).(topology.Interface)
	if port.Parent == "" && was.Tag == 0 {
		return
	}
	now, here := a.throughParent(port)
	switch {
	case here && now != was:
		a.log.Info("child port is here", "port", port.Key(), "parent", port.Parent, "tag", port.Tag)
		a.change(topology.Change{Entity: now})
	case !here && plugged:
		a.log.Info("child port is not here any more", "port", name)
		a.leave(name)
		a.change(topology.Change{Key: was.Key()})
	}
	if here && port.Chassis != a.self && a.member {
		a.binder.claim(name, port.Key())
	}
}
