package drawing

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"tuplenet/internal/topology"
)

// dotStyles are Graphviz's attributes of the lines of each relation.
var dotStyles = map[Relation]string{
	Link:   `color="#33658a"`,
	Pinned: `style=dotted, color="#555555", constraint=false`,
	Outer:  `penwidth=2, color="#c8553d"`,
	Bound:  `style=dashed, color="#999999"`,
}

// DOT writes the graph in Graphviz's language, as dot(1) reads it.
func (g *Graph) DOT(out io.Writer) error {
	w := unicodeWriting
	w.folded = g.folded
	b := bufio.NewWriter(out)
	fmt.Fprintln(b, "graph topology {")
	fmt.Fprintln(b, `  graph [rankdir=LR, ranksep=1.2, label=`+quoteDOT(g.summary())+`];`)
	fmt.Fprintln(b, `  node [shape=box, style="rounded,filled", fontname="monospace", fontsize=10];`)
	fmt.Fprintln(b, `  edge [fontname="monospace", fontsize=9];`)
	for _, n := range g.Nodes {
		l := w.label(n)
		text := quoteDOT(l.title) // centred, what follows is not
		lines := append([]string{l.about}, l.lines...)
		for _, m := range l.marks {
			lines = append(lines, "! "+m)
		}
		for _, s := range lines {
			text = strings.TrimSuffix(text, `"`) + `\n` + strings.TrimPrefix(quoteDOT(w.cut(s, widest)), `"`)
		}
		fmt.Fprintf(b, "  %s [label=%s, fillcolor=%q, color=%q];\n", quoteDOT(n.Key.String()), text, n.fill(), n.border())
	}
	rank := g.ranks()
	for _, e := range g.drawn() {
		left, right := e.From, e.To
		if rank[left] > rank[right] {
			left, right = right, left
		}
		fmt.Fprintf(b, "  %s -- %s [label=%s, %s];\n", quoteDOT(left.Key.String()), quoteDOT(right.Key.String()), quoteDOT(w.line(e)), dotStyles[e.Relation])
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}

// What stands in a picture is cut to so many columns.
const (
	widest     = 60 // in a box
	widestLine = 36 // at a line
)

// line is what stands at the line that an edge is.
func (w writing) line(e *Edge) string {
	var text string
	switch e.Relation {
	case Link:
		text = w.link(e)
	case Outer:
		text = w.outer(e)
	case Bound:
		text = count(e.Ports, "workload")
	}
	return w.cut(text, widestLine)
}

// drawn returns the edges that are drawn as lines. Where hundreds of switches
// have ports on hundreds of chassis lines show nothing any more; the boxes say
// how many workloads there are.
func (g *Graph) drawn() []*Edge {
	const most = 200
	bound := 0
	for _, e := range g.Edges {
		if e.Relation == Bound {
			bound++
		}
	}
	if bound <= most {
		return g.Edges
	}
	return g.Edges[:len(g.Edges)-bound] // they come last
}

// fill and border are the colours of a node's box.
func (n *Node) fill() string {
	switch n.Key.Kind {
	case topology.KindRouter:
		return "#dbe9f6"
	case topology.KindSwitch:
		return "#e4f3e1"
	}
	switch n.State {
	case Down:
		return "#f6dcd8"
	case Stopped:
		return "#fbf0d0"
	}
	return "#f1f1f1"
}

func (n *Node) border() string {
	if len(n.Marks) > 0 {
		return "#c0222b"
	}
	return "#555555"
}

// quoteDOT returns s as a string in Graphviz's language, in which a backslash
// in a label begins an escape.
func quoteDOT(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(strings.ToValidUTF8(s, "\uFFFD")) + `"`
}
