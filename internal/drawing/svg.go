package drawing

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"tuplenet/internal/topology"
)

// Measures of the text, in pixels. The font has a fixed width, so that it is
// known without one how long a text is.
const (
	charWidth  = 7.25 // of 12 pixels' monospace, a little more than its 0.6
	lineHeight = 16
	padding    = 10
	headHeight = 24 // of the strip with the name
)

const svgHead = `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]s %[2]s" width="%[1]s" height="%[2]s">
<title>%[3]s</title>
<style>
text { font: 12px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #222; white-space: pre }
.name { font-weight: bold }
.label { font-size: 11px; fill: #444 }
.mark { fill: #c0222b }
path { fill: none; stroke-width: 1.5 }
.link { stroke: #33658a }
.pinned { stroke: #555; stroke-dasharray: 2 4 }
.outer { stroke: #c8553d; stroke-width: 3 }
.bound { stroke: #999; stroke-dasharray: 6 4 }
</style>
<rect width="100%%" height="100%%" fill="#fff"/>
`

// legend says what the lines are.
var legend = []struct {
	relation Relation
	text     string
}{
	{Link, "router in switch"},
	{Pinned, "router pinned to chassis"},
	{Outer, "physical network"},
	{Bound, "workloads on chassis"},
}

// SVG writes the graph as a picture.
func (g *Graph) SVG(out io.Writer) error {
	s := &svg{writing: unicodeWriting, out: bufio.NewWriter(out), labels: map[*Node]label{}}
	s.folded = g.folded
	for _, n := range g.Nodes {
		s.labels[n] = s.boxLabel(n)
	}
	p := newPicture(g, s.size, s.room)
	s.picture = p
	foot := p.h
	p.h += 2*lineHeight + margin
	fmt.Fprintf(s.out, svgHead, px(p.w), px(p.h), escape(g.summary()))
	for _, l := range p.wires {
		s.wire(l)
	}
	for _, layer := range p.layers {
		for _, b := range layer {
			s.box(b)
		}
	}
	for _, b := range p.alone {
		s.box(b)
	}
	s.foot(g, foot)
	fmt.Fprintln(s.out, "</svg>")
	return s.out.Flush()
}

type svg struct {
	writing
	out    *bufio.Writer
	labels map[*Node]label
	*picture
}

// boxLabel is the label of a node, cut to what fits into a box.
func (s *svg) boxLabel(n *Node) label {
	l := s.label(n)
	l.title, l.about = s.cut(l.title, widest), s.cut(l.about, widest)
	for i := range l.lines {
		l.lines[i] = s.cut(l.lines[i], widest)
	}
	marks := make([]string, len(l.marks))
	for i, m := range l.marks {
		marks[i] = s.cut("! "+m, widest)
	}
	l.marks = marks
	return l
}

// size returns how large a node's box has to be.
func (s *svg) size(n *Node) (w, h float64) {
	l := s.labels[n]
	most := max(columns(l.title)+1, columns(l.about)) // bold, which may be wider
	for _, line := range append(l.lines[:len(l.lines):len(l.lines)], l.marks...) {
		most = max(most, columns(line))
	}
	return max(90, float64(most)*charWidth+2*padding), headHeight + padding + lineHeight*float64(1+len(l.lines)+len(l.marks))
}

// room returns how large the text of an edge is, with what has to be free
// around it.
func (s *svg) room(e *Edge) (w, h float64) {
	return float64(columns(s.line(e)))*charWidth + padding, lineHeight + 4
}

// box draws the box of a node: a strip with its name, and what belongs to it in
// the middle of the rest.
func (s *svg) box(b *box) {
	if b.node == nil {
		return
	}
	n, l := b.node, s.labels[b.node]
	x, y, w, h := s.rectangle(b)
	fmt.Fprintf(s.out, "<g><title>%s</title>\n", escape(s.clean(n.Key.String())))
	stroke := 1.0
	if len(n.Marks) > 0 {
		stroke = 2
	}
	fmt.Fprintf(s.out, `<rect x="%s" y="%s" width="%s" height="%s" rx="%d" fill="%s" stroke="%s" stroke-width="%s"/>`+"\n",
		px(x), px(y), px(w), px(h), map[bool]int{true: 12, false: 3}[n.Key.Kind == topology.KindRouter], n.fill(), n.border(), px(stroke))
	_, least := s.size(n)
	x, y = x+padding, y+(h-least)/2+17
	write := func(class, text string) {
		fmt.Fprintf(s.out, `<text x="%s" y="%s"%s>%s</text>`+"\n", px(x), px(y), class, escape(text))
		y += lineHeight
	}
	write(` class="name"`, l.title)
	y += headHeight - 17 - 3
	write("", l.about)
	for _, line := range l.lines {
		write("", line)
	}
	for _, m := range l.marks {
		write(` class="mark"`, m)
	}
	fmt.Fprintln(s.out, "</g>")
}

// wire draws the line of an edge, straight where its text stands.
func (s *svg) wire(l *wire) {
	first, last := l.pieces[0], l.pieces[len(l.pieces)-1]
	at := l.labelled()
	room, _ := s.turned(s.room(l.edge))
	var path strings.Builder
	along := first.from.along + first.from.deep
	fmt.Fprint(&path, "M", s.point(along, first.start))
	if at == first.from {
		s.text(along, first.start, l.edge)
		along += room
		fmt.Fprint(&path, "L", s.point(along, first.start))
	}
	for _, part := range l.pieces {
		end, next := part.to.along, part.to.along+part.to.deep
		if part == last {
			next = end
			if at == part.to {
				end -= room
				s.text(end, part.end, l.edge)
			}
		}
		middle := (along + end) / 2
		fmt.Fprint(&path, "C", s.point(middle, part.start), " ", s.point(middle, part.end), " ", s.point(end, part.end))
		fmt.Fprint(&path, "L", s.point(next, part.end))
		along = next
	}
	fmt.Fprintf(s.out, `<path class="%s" d="%s"/>`+"\n", l.edge.Relation, path.String())
}

// point prints the coordinates of a place.
func (s *svg) point(along, across float64) string {
	x, y := s.turned(along, across)
	return px(x) + " " + px(y)
}

// text writes the text of an edge beside the line, or above it, from a place on.
func (s *svg) text(along, across float64, e *Edge) {
	x, y := s.turned(along, across)
	if s.down {
		x, y = x+padding/2, y+lineHeight-2
	} else {
		x, y = x+padding/2, y-4
	}
	fmt.Fprintf(s.out, `<text class="label" x="%s" y="%s">%s</text>`+"\n", px(x), px(y), escape(s.line(e)))
}

// foot writes the summary, and what the lines mean that are there.
func (s *svg) foot(g *Graph, y float64) {
	y += lineHeight
	text := g.summary()
	if len(g.Nodes) == 0 {
		text = "empty data set"
	}
	fmt.Fprintf(s.out, `<text x="%d" y="%s" class="name">%s</text>`+"\n", margin, px(y), escape(text))
	there := map[Relation]bool{}
	for _, e := range g.drawn() {
		there[e.Relation] = true
	}
	x := float64(margin)
	y += lineHeight + 4
	for _, l := range legend {
		if !there[l.relation] {
			continue
		}
		fmt.Fprintf(s.out, `<path class="%s" d="M%s %sh32"/><text class="label" x="%s" y="%s">%s</text>`+"\n",
			l.relation, px(x), px(y-4), px(x+40), px(y), escape(l.text))
		x += 40 + float64(columns(l.text))*charWidth + 2*padding
	}
}

// px prints a length with no more digits than can be seen.
func px(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}

// escape returns s as XML's text.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
