package drawing

import (
	"fmt"
	"slices"

	"tuplenet/internal/topology"
)

// Around returns the part of the graph that is at most depth links away from
// the switches, routers and chassis with these names, or all that can be
// reached if depth is negative.
//
// No way leads through a chassis, as all sorts of switches have ports on one.
// The chassis of what is drawn are drawn with it; but who names a chassis does
// not want to see all others that the same switches have ports on.
func (g *Graph) Around(names []string, depth int) (*Graph, error) {
	starts, err := g.named(names)
	if err != nil {
		return nil, err
	}
	distance := map[*Node]int{}
	namesChassis := false
	for _, n := range starts {
		distance[n] = 0
		namesChassis = namesChassis || n.Key.Kind == topology.KindChassis
	}
	for queue := starts; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if n.Key.Kind == topology.KindChassis && distance[n] > 0 {
			continue
		}
		for _, e := range n.edges {
			next, far := e.other(n), distance[n]+1
			near := depth < 0 || far <= depth
			if next.Key.Kind == topology.KindChassis {
				near = e.Relation != Bound || !namesChassis
			}
			if _, ok := distance[next]; near && !ok {
				distance[next] = far
				queue = append(queue, next)
			}
		}
	}
	return g.part(func(n *Node) bool { _, ok := distance[n]; return ok }), nil
}

// named returns the nodes with the names, each once. What no node is named may be
// what Docker calls the network on a switch.
func (g *Graph) named(names []string) ([]*Node, error) {
	var list []*Node
	for _, name := range names {
		isNamed := func(n *Node) bool { return n.Key.Name == name }
		if !slices.ContainsFunc(g.Nodes, isNamed) {
			isNamed = func(n *Node) bool { return slices.Contains(n.Docker, name) }
		}
		found := false
		for _, n := range g.Nodes {
			if isNamed(n) {
				found = true
				if !slices.Contains(list, n) {
					list = append(list, n)
				}
			}
		}
		if of := g.withPort(name); !found && of != nil {
			return nil, fmt.Errorf(`%s is a port of %s: "tpctl topology %s" draws what is around that`, name, of.Key, of.Key.Name)
		}
		if !found {
			return nil, fmt.Errorf(`switch, router or chassis %s not found; "tpctl topology" without a name draws all`, name)
		}
	}
	return list, nil
}

// withPort returns the switch or router that has a port of that name, or nil.
func (g *Graph) withPort(name string) *Node {
	for _, n := range g.Nodes {
		if slices.ContainsFunc(n.Ports, func(p topology.SwitchPort) bool { return p.Name == name }) {
			return n
		}
	}
	for _, e := range g.Edges {
		switch {
		case e.Relation == Link && e.RouterPort == name, e.Relation == Outer && e.SwitchPort == name:
			return e.From
		case e.Relation == Link && e.SwitchPort == name:
			return e.To
		}
	}
	return nil
}

// part returns the nodes that keep returns true for, with the edges between
// them.
func (g *Graph) part(keep func(*Node) bool) *Graph {
	copies := map[*Node]*Node{}
	var nodes []*Node
	for _, n := range g.Nodes {
		if keep(n) {
			c := *n
			copies[n] = &c
			nodes = append(nodes, &c)
		}
	}
	var edges []*Edge
	for _, e := range g.Edges {
		from, to := copies[e.From], copies[e.To]
		switch {
		case from != nil && to != nil:
			c := *e
			c.From, c.To = from, to
			edges = append(edges, &c)
		case e.Relation != Link: // chassis are where roads end
		case from != nil:
			from.More++
		case to != nil:
			to.More++
		}
	}
	return newGraph(nodes, edges, g.folded)
}
