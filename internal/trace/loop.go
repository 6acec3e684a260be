package trace

import (
	"fmt"
	"strings"

	"tuplenet/internal/topology"
)

// Loop is a circle that a packet goes round in.
type Loop struct {
	From   int `json:"from"`   // index of its first hop; the last one is the path's
	Rounds int `json:"rounds"` // whole ones, the first included
}

// fold leaves of a circle that the packet ends in only the first round, and says
// in the verdict who keeps it there.
func (p *Path) fold() {
	from, length, found := circle(p.Hops)
	if !found || p.End.OK() {
		return
	}
	p.Loop = &Loop{From: from, Rounds: (len(p.Hops) - from) / length}
	dst := p.Hops[from].steps[0].header.IPDst
	p.Hops = p.Hops[:from+length]
	var routers, names []string
	for _, h := range p.Hops[from:] {
		if strings.HasPrefix(h.Device, topology.KindRouter.String()+" ") {
			routers, names = append(routers, fmt.Sprintf("%s (%s)", h.name, h.Object)), append(names, h.name)
		}
	}
	p.End.Reason, p.End.Table, p.End.Object = Loops, "", ""
	p.End.Text = "goes round between " + strings.Join(routers, " and ") + " until its TTL is used up"
	p.End.Remedy = fmt.Sprintf("a route for %s in %s that leads elsewhere ends it", dst, strings.Join(names, " or "))
}

// circle finds the first hops that the packet comes to again, with a lower TTL,
// and then again until its end.
func circle(hops []Hop) (from, length int, found bool) {
	for again := range hops {
	next:
		for first := again - 1; first >= 0; first-- {
			length := again - first
			if !hops[first].same(hops[again]) || hops[again].steps[0].header.TTL >= hops[first].steps[0].header.TTL {
				continue
			}
			for i := again; i < len(hops); i++ {
				if !hops[i].same(hops[i-length]) {
					continue next
				}
			}
			return first, length, true
		}
	}
	return 0, 0, false
}

// same reports whether the packet comes to the same place from the same side, and
// goes to the same address.
func (h Hop) same(o Hop) bool {
	a, b := h.steps[0].header, o.steps[0].header
	return h.Chassis == o.Chassis && h.Device == o.Device && h.From == o.From && a.IPSrc == b.IPSrc && a.IPDst == b.IPDst
}

// round says how often the packet went round, if it did.
func (p Path) round() string {
	if p.Loop == nil {
		return ""
	}
	first := p.Hops[p.Loop.From]
	return fmt.Sprintf("goes round %s, from %s on %s", times(p.Loop.Rounds), first.Device, first.Chassis)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
