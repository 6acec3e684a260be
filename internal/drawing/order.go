package drawing

import (
	"cmp"
	"slices"
)

// arrange finds an order of the boxes in their layers in which few lines
// cross: each box goes to where its neighbours in the layer before are on
// average, then the same from the other side, for some rounds, and the best
// order is kept.
func (p *picture) arrange() {
	p.untangle()
	best, least := p.order(), p.crossings()
	const rounds = 12
	for round := 0; round < rounds && least > 0; round++ {
		for i := 1; i < len(p.layers); i++ {
			if round%2 == 0 {
				sweep(p.layers[i], p.layers[i-1], func(b *box) []*piece { return b.in })
			} else {
				sweep(p.layers[len(p.layers)-1-i], p.layers[len(p.layers)-i], func(b *box) []*piece { return b.out })
			}
		}
		if n := p.crossings(); n < least {
			best, least = p.order(), n
		}
	}
	p.layers = best
}

// untangle begins with an order in which what belongs together stands
// together: that in which the boxes are found along the lines.
func (p *picture) untangle() {
	place := map[*box]int{}
	var visit func(*box)
	visit = func(b *box) {
		if _, ok := place[b]; ok {
			return
		}
		place[b] = len(place)
		for _, e := range b.in {
			visit(e.from)
		}
		for _, e := range b.out {
			visit(e.to)
		}
	}
	for _, layer := range p.layers {
		for _, b := range layer {
			visit(b)
		}
	}
	for _, layer := range p.layers {
		slices.SortStableFunc(layer, func(a, b *box) int { return cmp.Compare(place[a], place[b]) })
	}
}

func (p *picture) order() [][]*box {
	order := make([][]*box, len(p.layers))
	for i, layer := range p.layers {
		order[i] = slices.Clone(layer)
	}
	return order
}

// sweep orders a layer by the average place of its boxes' neighbours in the
// fixed layer.
func sweep(layer, fixed []*box, pieces func(*box) []*piece) {
	place := positions(fixed)
	wish := make(map[*box]float64, len(layer))
	for i, b := range layer {
		wish[b] = float64(i)
		if list := pieces(b); len(list) > 0 {
			sum := 0
			for _, e := range list {
				if at, ok := place[e.from]; ok {
					sum += at
				} else {
					sum += place[e.to]
				}
			}
			wish[b] = float64(sum) / float64(len(list))
		}
	}
	slices.SortStableFunc(layer, func(a, b *box) int { return cmp.Compare(wish[a], wish[b]) })
}

func positions(layer []*box) map[*box]int {
	place := make(map[*box]int, len(layer))
	for i, b := range layer {
		place[b] = i
	}
	return place
}

// crossings counts how often lines cross.
func (p *picture) crossings() int {
	total := 0
	for i := 1; i < len(p.layers); i++ {
		to := positions(p.layers[i])
		// Going through the left layer from above, a line crosses all that were
		// there before it and end below: counted by a binary indexed tree.
		tree := make([]int, len(p.layers[i])+1)
		seen := 0
		for _, b := range p.layers[i-1] {
			ends := make([]int, 0, len(b.out))
			for _, e := range b.out {
				ends = append(ends, to[e.to])
			}
			slices.Sort(ends)
			for _, end := range ends {
				notBelow := 0
				for k := end + 1; k > 0; k -= k & -k {
					notBelow += tree[k]
				}
				total += seen - notBelow
			}
			for _, end := range ends {
				for k := end + 1; k < len(tree); k += k & -k {
					tree[k]++
				}
				seen++
			}
		}
	}
	return total
}
