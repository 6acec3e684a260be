package drawing

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

const (
	foldFrom = 10 // how many nodes have to be alike to be drawn as one
	listMost = 8  // how much of a list a folded graph shows
)

// Fold returns the graph with what is alike drawn as one, and with long lists
// cut short. Nodes are alike if they are of one kind and in one state and
// their links lead to the same nodes, or to nodes that are alike. What is
// marked is like nothing else.
func (g *Graph) Fold() *Graph {
	class := g.classes()
	members := map[int][]*Node{}
	for _, n := range g.Nodes {
		members[class[n]] = append(members[class[n]], n)
	}
	stands := map[*Node]*Node{} // what a node is drawn as
	var nodes []*Node
	for _, n := range g.Nodes {
		alike := members[class[n]]
		if alike[0] == n {
			c := *n
			if len(alike) > 1 {
				c.Alike = alike
			}
			nodes = append(nodes, &c)
			for _, a := range alike {
				stands[a] = &c
			}
		}
	}
	type ends struct {
		relation Relation
		from, to *Node
	}
	merged := map[ends]*Edge{}
	var edges []*Edge
	for _, e := range g.Edges {
		c := *e
		c.From, c.To = stands[e.From], stands[e.To]
		if c.From.Alike != nil || c.To.Alike != nil {
			at := ends{e.Relation, c.From, c.To}
			if first := merged[at]; first != nil {
				first.Alike = append(first.Alike, e)
				first.Ports += e.Ports
				continue
			}
			c.Alike = []*Edge{e}
			merged[at] = &c
		}
		edges = append(edges, &c)
	}
	return newGraph(nodes, edges, true)
}

// classes returns for each node the number of its class: nodes with one number
// are alike, and are foldFrom at least, or one alone.
//
// The nodes are told apart by what they are, then by what their neighbours are,
// and so on until no more differences show. Classes that are too small to be
// folded are then taken apart, which may tell apart what is joined to them.
func (g *Graph) classes() map[*Node]int {
	ids := map[string]int{}
	number := func(s string) int {
		if _, ok := ids[s]; !ok {
			ids[s] = len(ids)
		}
		return ids[s]
	}
	class := make(map[*Node]int, len(g.Nodes))
	for _, n := range g.Nodes {
		class[n] = number(n.looks())
	}
	for count := len(ids); ; {
		clear(ids)
		next := make(map[*Node]int, len(g.Nodes))
		for _, n := range g.Nodes {
			next[n] = number(n.surroundings(class))
		}
		class = next
		if len(ids) > count {
			count = len(ids)
			continue
		}
		if !separate(g.Nodes, class) {
			return class
		}
		count = 0
	}
}

// looks tells what makes a node different from others by itself.
func (n *Node) looks() string {
	if len(n.Marks) > 0 {
		return "alone " + n.Key.String()
	}
	if n.Key.Kind == topology.KindChassis {
		return fmt.Sprint("chassis ", n.State, " ", n.MTU, " ", n.Bound > 0)
	}
	used, spare := n.workloads()
	return fmt.Sprint(n.Key.Kind, " ", len(used) > 0, " ", len(spare) > 0, " ", len(n.Routes) > 0, " ", len(n.NATs) > 0, " ", n.More, " ", len(n.Docker) > 0)
}

// surroundings tells a node's class and those of its neighbours. Where the
// ports of a switch are plugged in makes no difference: it would be one
// everywhere.
func (n *Node) surroundings(class map[*Node]int) string {
	neighbours := make([]string, 0, len(n.edges))
	for _, e := range n.edges {
		if e.Relation != Bound {
			neighbours = append(neighbours, fmt.Sprint(e.Relation, " ", e.Bridge, " ", class[e.other(n)]))
		}
	}
	slices.Sort(neighbours)
	return fmt.Sprint(class[n], ": ", strings.Join(neighbours, ", "))
}

// separate takes classes apart that are too small to be folded, and reports
// whether there were any.
func separate(nodes []*Node, class map[*Node]int) bool {
	size := map[int]int{}
	for _, n := range nodes {
		size[class[n]]++
	}
	free, found := len(size), false
	for _, n := range nodes {
		if s := size[class[n]]; s > 1 && s < foldFrom {
			class[n] = free
			free++
			found = true
		}
	}
	return found
}
