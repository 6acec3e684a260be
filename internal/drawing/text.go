package drawing

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// TextOptions say what a drawing of characters is made for.
type TextOptions struct {
	Width int  // columns of the terminal; 0 for no limit
	ASCII bool // no other characters than those
}

// Text draws the graph in characters: routers as boxes from which switches
// branch off, with routers again on these, then a table of the chassis.
func (g *Graph) Text(out io.Writer, o TextOptions) error {
	w := unicodeWriting
	if o.ASCII {
		w = asciiWriting
	}
	w.folded = g.folded
	buffered := bufio.NewWriter(out)
	if len(g.Nodes) == 0 {
		fmt.Fprintln(buffered, "empty data set")
		return buffered.Flush()
	}
	t := &tree{writing: w, drawn: map[*Node]bool{}, parent: map[*Node]*Edge{}, depth: map[*Node]int{}, deepest: 8}
	if o.Width > 0 {
		t.deepest = min(t.deepest, max(1, (o.Width-45)/indent))
	}
	p := printer{out: buffered, width: o.Width, writing: w}
	for _, b := range t.forest(g) {
		p.root(b)
	}
	p.table(g)
	fmt.Fprintln(buffered, w.cut(g.summary(), o.Width))
	if marks := g.marks(); marks > 0 {
		fmt.Fprintln(buffered, w.cut(fmt.Sprintf(`! %s marked; "tpctl check" tells more`, count(marks, "object")), o.Width))
	}
	return buffered.Flush()
}

// branch is a piece of the picture: a line, or a box with that line as its
// title, and what branches off from it.
type branch struct {
	line  string
	boxed bool
	box   []string // lines in the box
	kids  []branch
}

// indent is how many columns a router stands behind the one that leads to it.
const indent = 7

// tree makes branches of a graph. A router or switch is drawn where the way
// from the root is shortest; other links to it only name it.
type tree struct {
	writing
	drawn   map[*Node]bool  // has its place
	parent  map[*Node]*Edge // by which link it is led to
	depth   map[*Node]int   // of routers, how many are above
	deepest int             // routers on more others get a place of their own
	roots   []*Node
}

func (t *tree) forest(g *Graph) []branch {
	var devices, alone []*Node
	for _, n := range g.Nodes {
		switch {
		case n.Key.Kind == topology.KindChassis:
		case len(n.related(Link)) == 0 && n.Key.Kind == topology.KindSwitch:
			alone = append(alone, n)
		default:
			devices = append(devices, n)
		}
	}
	// The router with the most links is what others hang on.
	slices.SortStableFunc(devices, func(a, b *Node) int {
		return cmp.Or(cmp.Compare(rootRank(a), rootRank(b)), cmp.Compare(len(b.related(Link)), len(a.related(Link))))
	})
	for _, n := range devices {
		if !t.drawn[n] {
			t.place(n)
		}
	}
	var branches []branch
	for _, n := range t.roots {
		branches = append(branches, t.branch(n, t.title(n)))
	}
	for _, n := range alone {
		line := t.title(n)
		if n.More == 0 {
			line += "  (no router)"
		}
		branches = append(branches, t.branch(n, line))
	}
	return branches
}

// rootRank tells what makes the better root, the lower.
func rootRank(n *Node) int {
	switch {
	case n.Key.Kind != topology.KindRouter:
		return 2
	case len(n.related(Pinned)) > 0:
		return 1
	}
	return 0
}

// place gives everything that a root leads to its place.
func (t *tree) place(root *Node) {
	t.roots = append(t.roots, root)
	t.drawn[root] = true
	for queue := []*Node{root}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		for _, e := range n.related(Link) {
			next := e.other(n)
			if t.drawn[next] {
				continue
			}
			t.drawn[next] = true
			t.depth[next] = t.depth[n]
			if next.Key.Kind == topology.KindRouter {
				t.depth[next]++
			}
			if t.depth[next] > t.deepest {
				t.depth[next] = 0
				t.roots = append(t.roots, next)
			} else {
				t.parent[next] = e
			}
			queue = append(queue, next)
		}
	}
}

// branch draws a node, whose first line begins with what leads to it.
func (t *tree) branch(n *Node, line string) branch {
	l := t.label(n)
	if n.Key.Kind == topology.KindRouter {
		b := branch{line: line, boxed: true, box: append([]string{l.about}, l.lines...)}
		for _, m := range l.marks {
			b.box = append(b.box, "! "+m)
		}
		b.kids = t.switches(n)
		return b
	}
	b := branch{line: line + "  " + l.about}
	for _, m := range l.marks {
		b.kids = append(b.kids, branch{line: "! " + m})
	}
	for _, e := range n.related(Outer) {
		b.kids = append(b.kids, branch{line: t.wayOut(e)})
	}
	for _, s := range l.lines {
		b.kids = append(b.kids, branch{line: s})
	}
	for _, e := range n.related(Link) {
		line := t.link(e) + " " + rule + " " + t.title(e.From)
		switch {
		case t.parent[n] == e:
		case t.parent[e.From] == e:
			b.kids = append(b.kids, t.branch(e.From, line))
		default:
			b.kids = append(b.kids, branch{line: line + "  (drawn elsewhere)"})
		}
	}
	return b
}

// wayOut tells where an outer port leads.
func (t *tree) wayOut(e *Edge) string {
	bridge := ""
	if e.Bridge != "" {
		bridge = ", " + t.clean(e.Bridge)
	}
	return fmt.Sprintf("%s %s physical network%s on %s", t.outerPort(e), t.outside, bridge, t.title(e.To))
}

// switches draws what a router is plugged into: what leads nowhere else first,
// with names and addresses one below the other.
func (t *tree) switches(n *Node) []branch {
	links := slices.DeleteFunc(n.related(Link), func(e *Edge) bool { return t.parent[n] == e })
	slices.SortStableFunc(links, func(a, b *Edge) int {
		return cmp.Or(cmp.Compare(t.leads(a), t.leads(b)), natural(a.To.Key.Name, b.To.Key.Name))
	})
	addresses, names := 0, 0
	for _, e := range links {
		addresses = max(addresses, columns(t.link(e)))
		names = max(names, columns(t.title(e.To)))
	}
	names = min(names, 32)
	var kids []branch
	for _, e := range links {
		address, name := t.link(e), t.title(e.To)
		line := address + " " + strings.Repeat(rule, max(1, addresses-columns(address)+1)) + " " + name
		if t.parent[e.To] != e {
			kids = append(kids, branch{line: line + "  (drawn elsewhere)"})
			continue
		}
		kids = append(kids, t.branch(e.To, line+strings.Repeat(" ", max(0, names-columns(name)))))
	}
	return kids
}

// leads orders switches by where they lead: nowhere, to the physical network,
// to other routers.
func (t *tree) leads(e *Edge) int {
	switch {
	case len(e.To.related(Link)) > 1:
		return 2
	case len(e.To.related(Outer)) > 0:
		return 1
	}
	return 0
}

// summary counts what is drawn.
func (g *Graph) summary() string {
	var routers, switches, workloads, chassis int
	states := map[State]int{}
	for _, n := range g.Nodes {
		for _, a := range n.all() {
			switch a.Key.Kind {
			case topology.KindRouter:
				routers++
			case topology.KindSwitch:
				switches++
				used, _ := a.workloads()
				workloads += len(used)
			default:
				chassis++
				states[a.State]++
			}
		}
	}
	text := fmt.Sprintf("%s, %s with %s, %d chassis", count(routers, "router"), count(switches, "switch"), count(workloads, "workload"), chassis)
	var told []string
	for _, s := range []State{Up, Stopped, Down} {
		if states[s] > 0 {
			told = append(told, fmt.Sprintf("%d %s", states[s], s))
		}
	}
	if len(told) > 0 {
		text += " (" + strings.Join(told, ", ") + ")"
	}
	return text
}

// marks returns how many nodes something is wrong with.
func (g *Graph) marks() int {
	marked := 0
	for _, n := range g.Nodes {
		if len(n.Marks) > 0 {
			marked++
		}
	}
	return marked
}
