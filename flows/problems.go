package flows

import (
	"slices"

	"tuplenet/internal/topology"
)

// Problems returns what the rules find wrong with the static routes and NAT
// rules of a topology as it is stored, on whichever chassis they work, ordered by
// object. A router port that is not plugged in is no problem of theirs.
func Problems(model *topology.Model) []Problem {
	r := &Reader{engine: NewEngine(model)}
	var out []Problem
	say := func(e topology.Entity, what string) {
		if what != "" {
			out = append(out, Problem{e.Key(), what})
		}
	}
	for e := range model.All() {
		r.nodes = r.nodes[:0]
		switch e := e.(type) {
		case topology.StaticRoute:
			if _, known := r.Router(e.Router); known {
				_, problem, _ := pathOf(r, e)
				say(e, problem)
			}
		case topology.NAT:
			n, problem, ok := readNAT(r, e)
			if ok && !n.floating && e.Type == topology.SNAT {
				_, problem = trackedOutside(r, n)
			}
			say(e, problem)
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return a.Object.Compare(b.Object) })
	return out
}
