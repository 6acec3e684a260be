package drawing

import (
	"cmp"
	"net/netip"
	"slices"

	"tuplenet/internal/topology"
)

// Graph is the virtual network as boxes and lines.
type Graph struct {
	Nodes []*Node // routers, switches, chassis; each by name
	Edges []*Edge // by what they join

	folded bool // what is alike is one, and long lists are cut short
}

// Node is a router, a switch or a chassis, or after Fold several that are
// alike.
type Node struct {
	Key     topology.Key
	Missing bool     // the store does not hold it, but something that refers to it
	Marks   []string // what is wrong with it and with what hangs on it, a sentence each
	More    int      // links that Around has left out

	ID     uint32                // datapath id of a router or switch
	Routes []Route               // of a router, by prefix and name
	NATs   []topology.NAT        // of a router, by name
	Ports  []topology.SwitchPort // of a switch, for workloads; by address
	Docker []string              // of a switch, names of the Docker networks that are on it; see NameNetworks

	IP    netip.Addr // tunnel address of a chassis
	MTU   int        // of a chassis, in bytes; 0 if unknown
	State State      // of a chassis
	Since int64      // since when a chassis is down, in Unix seconds
	Bound int        // ports of workloads that are plugged in on a chassis

	Alike []*Node // after Fold: all nodes that this one stands for; nil if it is only itself

	edges []*Edge
}

// State says whether the agent of a chassis runs.
type State string

// The states of a chassis. Agents that do not tell leave it unknown.
const (
	Unknown State = ""
	Up      State = "up"
	Stopped State = "stopped" // a moment ago, it may start again
	Down    State = "down"
)

// Route is a static route and where it leads.
type Route struct {
	topology.StaticRoute
	Switch string // that its output port is plugged into; may be empty
	Router string // that has its next hop; empty for a machine of the physical network, or a workload
}

// Relation says how the ends of an edge belong together.
type Relation string

// The relations, with what stands at From and at To.
const (
	Link   Relation = "link"   // a router is plugged into a switch
	Pinned Relation = "pinned" // a router lives on one chassis alone
	Outer  Relation = "outer"  // a switch leads to the physical network on a chassis
	Bound  Relation = "bound"  // ports of a switch are plugged in on a chassis
)

// Edge joins two nodes.
type Edge struct {
	Relation Relation
	From, To *Node

	Net        netip.Prefix // of a link: the router's address in the switch
	RouterPort string       // of a link
	SwitchPort string       // of a link or an outer port
	Bridge     string       // of an outer port; empty if its patch port was made by hand
	Ports      int          // of a bound edge: how many

	Alike []*Edge // after Fold: all edges that this one stands for, if an end of it stands for several nodes
}

// other returns the end of e that is not n.
func (e *Edge) other(n *Node) *Node {
	if e.From == n {
		return e.To
	}
	return e.From
}

// related yields n's edges of one relation.
func (n *Node) related(relation Relation) []*Edge {
	var list []*Edge
	for _, e := range n.edges {
		if e.Relation == relation {
			list = append(list, e)
		}
	}
	return list
}

// all returns the nodes that n stands for.
func (n *Node) all() []*Node {
	if n.Alike == nil {
		return []*Node{n}
	}
	return n.Alike
}

// kindOrder is the order in which kinds are listed.
var kindOrder = map[topology.Kind]int{topology.KindRouter: 0, topology.KindSwitch: 1, topology.KindChassis: 2}

func compareNodes(a, b *Node) int {
	return cmp.Or(cmp.Compare(kindOrder[a.Key.Kind], kindOrder[b.Key.Kind]), natural(a.Key.Name, b.Key.Name))
}

var relationOrder = map[Relation]int{Link: 0, Pinned: 1, Outer: 2, Bound: 3}

func compareEdges(a, b *Edge) int {
	return cmp.Or(
		cmp.Compare(relationOrder[a.Relation], relationOrder[b.Relation]),
		compareNodes(a.From, b.From),
		compareNodes(a.To, b.To),
		a.Net.Addr().Compare(b.Net.Addr()),
		natural(a.SwitchPort, b.SwitchPort),
	)
}

// newGraph puts nodes and edges into their order and joins them.
func newGraph(nodes []*Node, edges []*Edge, folded bool) *Graph {
	slices.SortFunc(nodes, compareNodes)
	slices.SortFunc(edges, compareEdges)
	for _, n := range nodes {
		n.edges = nil
	}
	for _, e := range edges {
		e.From.edges = append(e.From.edges, e)
		e.To.edges = append(e.To.edges, e)
	}
	return &Graph{Nodes: nodes, Edges: edges, folded: folded}
}
