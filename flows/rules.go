package flows

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"tuplenet/internal/topology"
)

// rule makes flows of one kind of entity.
type rule struct {
	name string
	kind topology.Kind
	run  func(*Reader, topology.Entity) ([]Flow, []Note)
}

// on makes a rule of a function on one kind of entity.
func on[E topology.Entity](name string, f func(*Reader, E) ([]Flow, []Note)) rule {
	return rule{name, kindOf[E](), func(r *Reader, e topology.Entity) ([]Flow, []Note) { return f(r, e.(E)) }}
}

// flowsOn is on for a function that has nothing to say beside its flows.
func flowsOn[E topology.Entity](name string, f func(*Reader, E) []Flow) rule {
	return on(name, func(r *Reader, e E) ([]Flow, []Note) { return f(r, e), nil })
}

func kindOf[E topology.Entity]() topology.Kind {
	var zero E
	return zero.Key().Kind
}

// rules lists all rules. A rule is a pure function: it knows the topology from
// its Reader alone, and returns the same flows for the same topology.
var rules = []rule{
	flowsOn("pipeline", pipeline),
	flowsOn("trace", tracePoints),
	flowsOn("chassis", fromChassis),
	flowsOn("strangers", strangers),
	flowsOn("arrival", arrival),
	flowsOn("nobody", nobody),
	on("redirect", redirect),
	flowsOn("port-security", impostors),
	on("interface", localPort),
	flowsOn("way-out", wayOut),
	on("switch-port", switchPort),
	on("demand", demanded),
	{"block", topology.KindBlock, func(r *Reader, e topology.Entity) ([]Flow, []Note) {
		return block(r, e.(topology.SwitchPort)), nil
	}},
	flowsOn("outer-arp", outerARP),
	flowsOn("learned", learned),
	flowsOn("host-stack", hostStack),
	flowsOn("not-direct", notDirect),
	flowsOn("router-entry", routerEntry),
	on("router", pinnedRouter),
	on("router-port", routerPort),
	on("static-route", staticRoute),
	on("nat", natRule),
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

// prefixMatch matches field, an IPv4 address, against a network. A network of
// all addresses matches nothing in particular.
func prefixMatch(field Field, net netip.Prefix) []Match {
	if net.Bits() == 0 {
		return nil
	}
	return []Match{Masked(field, ipv4(net.Addr()), uint64(0xffffffff)<<(32-net.Bits())&0xffffffff)}
}

func ipv4(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

func inDatapath(id uint32) Match { return Exact(RegDatapath, uint64(id)) }

func fromPort(id uint16) Match { return Masked(RegPorts, uint64(id), 0xffff) }
func toPort(id uint16) Match   { return Masked(RegPorts, uint64(id)<<16, 0xffff0000) }

// where is a match that begins with what is common to several.
func where(common []Match, more ...Match) []Match { return slices.Concat(common, more) }

func enterDatapath(id uint32) Action { return Load{All(RegDatapath), uint64(id)} }
func setSrcPort(id uint16) Action    { return Load{BitsSrcPort, uint64(id)} }
func setDstPort(id uint16) Action    { return Load{BitsDstPort, uint64(id)} }

var (
	drop    = Goto{TableDrop}
	foreign = Goto{TableForeign}
)

// owed drops a packet that an ICMP error is owed for, and has the agent send
// that.
func owed(why Reason) []Action {
	return []Action{LimitTo{MeterErrors}, Punt{why}, drop}
}
