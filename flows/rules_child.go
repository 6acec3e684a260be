package flows

import (
	"slices"

	"tuplenet/internal/topology"
)

// A child port has no interface of its own. Its packets pass through that of its
// parent, with a VLAN tag:
//
//	                              ┌─ tag of a child ─▶ tag off, the child's switch
//	parent's interface ─▶ classify ─ no tag ─────────▶ the parent's switch
//	                              └─ any other tag ──▶ drop
//
// A tag means something between the parent and this node alone. No frame enters
// with a second one inside, and none that has a tag is delivered to a port that
// shares its interface: it would come out as another port's.
//
// The port that a child's packet came in by is forgotten: it may leave by it
// again, to a sibling, to the parent, or as the answer to an ARP request.

// prioTagged is before what has no tag, and behind the tags of children.
const prioTagged = prioGuard - 1

// tagged matches frames with a VLAN tag.
var tagged = Masked(VLAN, VLANPresent, VLANPresent)

// throughParent joins a child to the interface of its parent. Enter leads from
// classify into the child's switch.
func throughParent(r *Reader, parent topology.SwitchPort, sw topology.Switch, port topology.SwitchPort, i topology.Interface, enter []Action) []Flow {
	from := Exact(InPort, uint64(i.OFPort))
	deliver := []Match{inDatapath(sw.ID), toPort(port.ID())}
	out := []Flow{
		{TableClassify, prioGuard, []Match{from, Exact(VLAN, VLANPresent|uint64(i.Tag))},
			append([]Action{PopVLAN{}, Load{All(InPort), 0}}, enter...)},
		{TableNeighbourDone, prioNormal + 1, []Match{inDatapath(sw.ID), fromPort(port.ID()), isARP, Masked(RegFlags, 0, FlagRedirected)},
			append(slices.Clone(arpReplyActions), setDstPort(port.ID()), Resubmit{TableSwitchDeliver})},
		{TableSwitchDeliver, prioNormal, deliver, []Action{Load{All(InPort), 0}, PushVLAN{i.Tag}, Output{i.OFPort}}},
		{TableSwitchDeliver, prioGuard, where(deliver, tagged), []Action{drop}},
		// Each child says this of its parent; it is the same flow.
		{TableClassify, prioTagged, []Match{from, tagged}, []Action{drop}},
		{TableClassify, prioGuard + 1, []Match{from, Exact(EthType, ethTypeVLAN)}, []Action{drop}},
		{TableClassify, prioGuard + 1, []Match{from, Exact(EthType, ethTypeService)}, []Action{drop}},
	}
	if home, ok := r.Switch(parent.Switch); ok {
		out = append(out, Flow{TableSwitchDeliver, prioGuard,
			[]Match{inDatapath(home.ID), toPort(parent.ID()), tagged}, []Action{drop}})
	}
	return out
}

// orphaned says why the parent of a port cannot be one. A parent that is not
// there may come.
func orphaned(r *Reader, port topology.SwitchPort) string {
	if port.Parent == "" {
		return ""
	}
	parent, can := r.Parent(port)
	is := "its parent " + port.Parent + " "
	switch {
	case can || parent.Name == "":
		return ""
	case parent.Parent != "":
		return is + "is a child itself"
	case parent.Outer():
		return is + "leads to the physical network"
	}
	return is + "leads to a router"
}
