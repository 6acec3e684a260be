package drawing

import (
	"fmt"
	"io"
	"strings"

	"tuplenet/internal/topology"
)

// The characters that a picture is drawn with, each a column wide. All lines
// are drawn with these; toASCII then takes others for them.
const (
	rule        = "─"
	upright     = "│"
	topLeft     = "┌"
	topRight    = "┐"
	bottomLeft  = "└"
	bottomRight = "┘"
	fork        = "├"
	hang        = "┬"
)

var toASCII = strings.NewReplacer(rule, "-", upright, "|", topLeft, "+", topRight, "+",
	bottomLeft, "+", bottomRight, "+", fork, "+", hang, "+")

// printer writes a picture line by line.
type printer struct {
	writing
	out   io.Writer
	width int // columns; 0 for no limit
}

// line writes a line, as far as there is room.
func (p printer) line(s string) {
	s = strings.TrimRight(p.cut(s, p.width), " ")
	if p.ascii {
		s = toASCII.Replace(s)
	}
	fmt.Fprintln(p.out, s)
}

// root draws a branch that hangs on nothing.
func (p printer) root(b branch) {
	p.branch(b, "", "")
	p.line("")
}

// branch draws b. first is what stands before its first line, rest before the
// others.
func (p printer) branch(b branch, first, rest string) {
	if !b.boxed {
		p.line(first + b.line)
		p.kids(b.kids, rest)
		return
	}
	corner := topLeft
	if first != "" {
		corner = hang
	}
	inner := columns(b.line) + 2
	for _, s := range b.box {
		inner = max(inner, columns(s))
	}
	if p.width > 0 {
		inner = min(inner, max(4, p.width-columns(first)-4))
	}
	title := p.cut(b.line, inner-2)
	p.line(first + corner + rule + " " + title + " " + strings.Repeat(rule, inner-columns(title)-1) + topRight)
	for _, s := range b.box {
		s = p.cut(s, inner)
		p.line(rest + upright + " " + s + strings.Repeat(" ", inner-columns(s)) + " " + upright)
	}
	foot := rule
	if len(b.kids) > 0 {
		foot = hang
	}
	p.line(rest + bottomLeft + rule + foot + strings.Repeat(rule, inner) + bottomRight)
	p.kids(b.kids, rest+"  ")
}

// kids draws what hangs on a branch, each line behind before.
func (p printer) kids(kids []branch, before string) {
	for i, k := range kids {
		first, rest := fork, upright+"  "
		if i == len(kids)-1 {
			first, rest = bottomLeft, "   "
		}
		if k.boxed {
			first += rule
			rest = rest[:len(rest)-1]
		} else {
			first += rule + " "
		}
		p.branch(k, before+first, before+rest)
	}
}

// table lists the chassis, with what each is there for.
func (p printer) table(g *Graph) {
	var rows [][]string
	var marks [][]string
	for _, n := range g.Nodes {
		if n.Key.Kind == topology.KindChassis {
			rows = append(rows, p.row(n))
			marks = append(marks, p.label(n).marks)
		}
	}
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, s := range row {
			widths[i] = max(widths[i], columns(s))
		}
	}
	p.line("Chassis")
	for i, row := range rows {
		var line strings.Builder
		for c, s := range row {
			switch {
			case c == len(row)-1:
				line.WriteString("  " + s)
			case widths[c] > 0:
				line.WriteString("  " + s + strings.Repeat(" ", widths[c]-columns(s)))
			}
		}
		p.line(line.String())
		for _, m := range marks[i] {
			p.line("    ! " + m)
		}
	}
	p.line("")
}

// row is what the table says of a chassis, what can be missed last.
func (p printer) row(n *Node) []string {
	what, state := "", p.state(n)
	switch {
	case n.Alike != nil:
		what = fmt.Sprintf("%d chassis", len(n.Alike))
	case n.IP.IsValid():
		what = n.IP.String()
	}
	var roles []string
	if n.State == Down {
		var since string
		if state, since, _ = strings.Cut(state, " "); since != "" {
			roles = append(roles, since)
		}
	}
	for _, e := range n.related(Pinned) {
		roles = append(roles, p.title(e.From))
	}
	for _, e := range n.related(Outer) {
		roles = append(roles, p.outer(e))
	}
	roles = p.short(roles, "more")
	if n.MTU != 0 {
		roles = append(roles, fmt.Sprintf("MTU %d", n.MTU))
	}
	return []string{p.title(n), what, state, p.carries(n), strings.Join(roles, ", ")}
}
