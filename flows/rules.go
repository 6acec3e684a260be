package flows

import "tuplenet/internal/topology"

// rule makes flows of one kind of entity.
type rule struct {
	name string
	kind topology.Kind
	run  func(*Reader, topology.Entity) []Flow
}

// on makes a rule of a function on one kind of entity.
func on[E topology.Entity](name string, f func(*Reader, E) []Flow) rule {
	var zero E
	return rule{name, zero.Key().Kind, func(r *Reader, e topology.Entity) []Flow { return f(r, e.(E)) }}
}

// rules lists all rules. A rule is a pure function: it knows the topology from
// its Reader alone, and returns the same flows for the same topology.
var rules = []rule{
	on("pipeline", pipeline),
	on("interface", localPort),
	on("tunnel", tunnel),
	on("lookup", lookup),
	on("neighbour", neighbour),
	on("router-entry", routerEntry),
	on("router-port", routerPort),
}

// Priorities within a table, where nothing else says which.
const (
	prioMiss   = 0
	prioNormal = 100
	prioGuard  = 200 // before what it guards
)

// Matches that many rules use.
var (
	isIP  = Exact(EthType, ethTypeIPv4)
	isARP = Exact(EthType, ethTypeARP)
)

func inDatapath(id uint32) Match { return Exact(RegDatapath, uint64(id)) }

func fromPort(id uint16) Match { return Masked(RegPorts, uint64(id), 0xffff) }
func toPort(id uint16) Match   { return Masked(RegPorts, uint64(id)<<16, 0xffff0000) }

func enterDatapath(id uint32) Action { return Load{All(RegDatapath), uint64(id)} }
func setSrcPort(id uint16) Action    { return Load{BitsSrcPort, uint64(id)} }
func setDstPort(id uint16) Action    { return Load{BitsDstPort, uint64(id)} }

var drop = Goto{TableDrop}
