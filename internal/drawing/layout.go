package drawing

import (
	"cmp"
	"slices"

	"tuplenet/internal/topology"
)

// The layout of a picture, in layers: edge chassis, the switches to the physical
// network, edge routers, and so on inwards to the switches of workloads and the
// chassis that those are on. A place is told by how far it is along the layers,
// from the first to the last, and how far across, within a layer; both are
// pixels. The layers are rows from top to bottom, or columns from left to right.
//
// The steps are those of Sugiyama's method. Which layer a node is in is given
// (ranks). A line that crosses layers gets a bend in each, so that every piece
// of it leads from one layer to the next (thread). The order in the layers is
// improved while it saves crossings (arrange). Then everything moves as near
// to the middle of its neighbours as its order allows (settle).

// box is what has a place: a node, or the bend of a line.
type box struct {
	node          *Node // nil for a bend
	along, across float64
	deep, broad   float64 // its size, along and across
	rank          int
	in            []*piece // from the layer before
	out           []*piece // to the next
}

func (b *box) middle() float64 { return b.across + b.broad/2 }

// piece is the part of a line between two layers.
type piece struct {
	from, to   *box    // to is one layer further
	start, end float64 // where it touches them, across
}

// wire is the line of an edge.
type wire struct {
	edge   *Edge
	pieces []*piece // along the layers
}

// picture is a graph with a place for everything.
type picture struct {
	down   bool // the layers are rows
	layers [][]*box
	alone  []*box // that no line leads to, below the layers
	wires  []*wire
	w, h   float64 // of the whole

	room func(*Edge) (w, h float64) // for the text of an edge, which stands at its switch
}

const (
	lineGap = 20 // between lines
	boxGap  = 24 // between boxes
	margin  = 24
	bending = 60 // room for lines between two layers to change their place
)

// turned returns what is along and across of a width and a height, and the
// other way round.
func (p *picture) turned(w, h float64) (along, across float64) {
	if p.down {
		return h, w
	}
	return w, h
}

// ranks returns the layer of every router, switch and chassis. Switches and
// routers count from those that lead to the physical network, so that each link
// joins neighbouring layers: two switches are never linked, nor two routers.
func (g *Graph) ranks() map[*Node]int {
	rank := map[*Node]int{}
	var sources []*Node
	for _, n := range g.Nodes {
		if n.Key.Kind == topology.KindSwitch && len(n.related(Outer)) > 0 {
			sources = append(sources, n)
		}
	}
	inmost := 0
	for _, n := range walk(rank, sources) {
		inmost = max(inmost, rank[n])
	}
	// What has no way out ends at the same layer, so as to be beside the others.
	var inner [][]*Node
	devices := slices.DeleteFunc(slices.Clone(g.Nodes), func(n *Node) bool { return n.Key.Kind == topology.KindChassis })
	slices.SortStableFunc(devices, func(a, b *Node) int { return cmp.Compare(len(b.related(Link)), len(a.related(Link))) })
	for _, n := range devices {
		if _, ok := rank[n]; !ok {
			part := walk(rank, []*Node{n})
			inner = append(inner, part)
			inmost = max(inmost, rank[part[len(part)-1]])
		}
	}
	for _, part := range inner {
		by := inmost - rank[part[len(part)-1]]
		for _, n := range part {
			rank[n] += by
		}
	}
	for _, n := range g.Nodes {
		switch {
		case n.Key.Kind != topology.KindChassis:
			rank[n]++
		case len(n.related(Outer))+len(n.related(Pinned)) > 0:
			rank[n] = 0
		default:
			rank[n] = inmost + 2
		}
	}
	return rank
}

// walk ranks what links lead to by the distance from the sources, and returns
// it, the farthest last.
func walk(rank map[*Node]int, sources []*Node) []*Node {
	for _, n := range sources {
		rank[n] = 0
	}
	queue := slices.Clone(sources)
	for i := 0; i < len(queue); i++ {
		for _, e := range queue[i].related(Link) {
			next := e.other(queue[i])
			if _, ok := rank[next]; !ok {
				rank[next] = rank[queue[i]] + 1
				queue = append(queue, next)
			}
		}
	}
	return queue
}

// newPicture lays the graph out in rows or in columns, whichever fits a screen
// better. size tells how large a node's box has to be at least; room how large
// the text of an edge is.
func newPicture(g *Graph, size func(*Node) (w, h float64), room func(*Edge) (w, h float64)) *picture {
	rows, columns := &picture{down: true, room: room}, &picture{room: room}
	rows.layOut(g, size)
	columns.layOut(g, size)
	const screen = 1.6
	if max(columns.w, columns.h*screen) < max(rows.w, rows.h*screen) {
		return columns
	}
	return rows
}

func (p *picture) layOut(g *Graph, size func(*Node) (w, h float64)) {
	rank := g.ranks()
	boxes := make(map[*Node]*box, len(g.Nodes))
	for _, n := range g.Nodes {
		b := &box{node: n, rank: rank[n]}
		b.deep, b.broad = p.turned(size(n))
		boxes[n] = b
		p.layers = append(p.layers, make([][]*box, max(0, b.rank+1-len(p.layers)))...)
	}
	for _, e := range g.drawn() {
		p.thread(e, boxes[e.From], boxes[e.To])
	}
	for _, n := range g.Nodes {
		b := boxes[n]
		if len(b.in)+len(b.out) == 0 {
			p.alone = append(p.alone, b)
			continue
		}
		p.layers[b.rank] = append(p.layers[b.rank], b)
	}
	p.layers = slices.DeleteFunc(p.layers, func(l []*box) bool { return len(l) == 0 })
	p.widen()
	p.arrange()
	p.settle()
	p.attach()
	p.advance()
	p.shelve()
}

// widen makes boxes broad enough for the lines that come to them.
func (p *picture) widen() {
	text := map[*box]float64{}
	for _, line := range p.wires {
		at := line.labelled()
		if at == nil {
			continue
		}
		_, across := p.turned(p.room(line.edge))
		text[at] = max(text[at], across)
	}
	for _, layer := range p.layers {
		for _, b := range layer {
			if b.node != nil {
				b.broad = max(b.broad, max(lineGap, text[b])*float64(1+max(len(b.in), len(b.out))))
			}
		}
	}
}

// thread leads a line from layer to layer.
func (p *picture) thread(e *Edge, from, to *box) {
	if from.rank > to.rank {
		from, to = to, from
	}
	line := &wire{edge: e}
	for at := from; at != to; {
		next := to
		if at.rank+1 < to.rank {
			next = &box{rank: at.rank + 1, broad: 1}
			p.layers[next.rank] = append(p.layers[next.rank], next)
		}
		part := &piece{from: at, to: next}
		at.out = append(at.out, part)
		next.in = append(next.in, part)
		line.pieces = append(line.pieces, part)
		at = next
	}
	p.wires = append(p.wires, line)
}

// settle gives the boxes their places across.
func (p *picture) settle() {
	for _, layer := range p.layers {
		across := 0.0
		for _, b := range layer {
			b.across = across
			across += b.broad + boxGap
		}
	}
	const rounds = 30
	for round := range rounds {
		for i := range p.layers {
			layer := p.layers[i]
			if round%2 == 1 {
				layer = p.layers[len(p.layers)-1-i]
			}
			pull(layer)
		}
	}
	if len(p.layers) == 0 {
		return
	}
	first := p.layers[0][0].across
	for _, layer := range p.layers {
		first = min(first, layer[0].across)
	}
	for _, layer := range p.layers {
		for _, b := range layer {
			b.across += margin - first
		}
	}
}

// pull moves the boxes of a layer as near to the middle of their neighbours as
// is possible without changing their order: the sum of the squared distances
// becomes the least. Where boxes would overlap they form a block that moves as
// one (pool adjacent violators).
func pull(layer []*box) {
	type block struct {
		first, count int
		wish, weight float64 // where the first box is to be, on average
	}
	var blocks []block
	offset := 0.0 // of a box behind the first one of the layer, if all are packed
	offsets := make([]float64, len(layer))
	for i, b := range layer {
		offsets[i] = offset
		gap := float64(boxGap)
		if b.node == nil && i+1 < len(layer) && layer[i+1].node == nil {
			gap = lineGap
		}
		offset += b.broad + gap
		sum := 0.0
		for _, part := range b.in {
			sum += part.from.middle()
		}
		for _, part := range b.out {
			sum += part.to.middle()
		}
		wish := sum/float64(len(b.in)+len(b.out)) - b.broad/2 // no box in a layer is without a line
		weight := 1.0
		if b.node == nil {
			weight = 4 // long lines are to be straight
		}
		last := block{i, 1, wish - offsets[i], weight}
		for len(blocks) > 0 && blocks[len(blocks)-1].wish > last.wish {
			before := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			weight := before.weight + last.weight
			last = block{before.first, before.count + last.count, (before.wish*before.weight + last.wish*last.weight) / weight, weight}
		}
		blocks = append(blocks, last)
	}
	for _, bl := range blocks {
		for i := bl.first; i < bl.first+bl.count; i++ {
			layer[i].across = bl.wish + offsets[i]
		}
	}
}

// attach spreads the lines over the sides of the boxes, in the order in which
// they come.
func (p *picture) attach() {
	for _, layer := range p.layers {
		for _, b := range layer {
			slices.SortStableFunc(b.in, func(a, c *piece) int { return cmp.Compare(a.from.middle(), c.from.middle()) })
			slices.SortStableFunc(b.out, func(a, c *piece) int { return cmp.Compare(a.to.middle(), c.to.middle()) })
			for i, part := range b.in {
				part.end = b.across + b.broad*float64(i+1)/float64(len(b.in)+1)
			}
			for i, part := range b.out {
				part.start = b.across + b.broad*float64(i+1)/float64(len(b.out)+1)
			}
		}
	}
}

// advance gives the layers their places along, with room between them for the
// texts at the lines, and for the lines to bend.
func (p *picture) advance() {
	before, behind := make([]float64, len(p.layers)), make([]float64, len(p.layers))
	index := map[*box]int{}
	for i, layer := range p.layers {
		for _, b := range layer {
			index[b] = i
		}
	}
	for _, line := range p.wires {
		at := line.labelled()
		if at == nil {
			continue
		}
		i, side := index[at], before
		if line.pieces[0].from == at {
			side = behind
		}
		room, _ := p.turned(p.room(line.edge))
		side[i] = max(side[i], room)
	}
	along, across := 0.0, 0.0
	for i, layer := range p.layers {
		if i == 0 {
			along = margin
		} else {
			along += behind[i-1] + bending + before[i]
		}
		deep := 0.0
		for _, b := range layer {
			deep = max(deep, b.deep)
			across = max(across, b.across+b.broad)
		}
		for _, b := range layer {
			if b.node == nil {
				b.deep = deep
			}
			b.along = along + (deep-b.deep)/2
		}
		along += deep
	}
	p.w, p.h = p.turned(along+margin, across+margin)
}

// labelled returns the box at which the text of a line stands: that of its
// switch.
func (l *wire) labelled() *box {
	for _, b := range []*box{l.pieces[0].from, l.pieces[len(l.pieces)-1].to} {
		if b.node.Key.Kind == topology.KindSwitch {
			return b
		}
	}
	return nil
}

// rectangle returns where a box is in the picture.
func (p *picture) rectangle(b *box) (x, y, w, h float64) {
	x, y = p.turned(b.along, b.across)
	w, h = p.turned(b.deep, b.broad)
	return x, y, w, h
}

// shelve puts what no line leads to below the rest, in rows.
func (p *picture) shelve() {
	p.w = max(p.w, 900)
	x, y, row := float64(margin), max(p.h, margin), 0.0
	for _, b := range p.alone {
		_, _, w, h := p.rectangle(b)
		if x > margin && x+w+margin > p.w {
			x, y, row = margin, y+row+boxGap, 0
		}
		b.along, b.across = p.turned(x, y)
		p.w, p.h = max(p.w, x+w+margin), max(p.h, y+h+margin)
		x += w + boxGap
		row = max(row, h)
	}
}
