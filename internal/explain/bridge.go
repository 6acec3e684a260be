package explain

import (
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Bridge is what a node's integration bridge holds, with what is known of it.
type Bridge struct {
	Flows   []Flow // ordered by table, priority (descending), and what they match
	Missing int    // flows that the agent would add
	Names   Names
	Unknown error // why nobody knows what the flows are for; nil if it is known
}

// Flow is a flow that the bridge holds.
type Flow struct {
	Table    flows.Table
	Priority uint16
	Cookie   uint64
	Packets  uint64 // that have taken it; Open vSwitch counts them up to a second late
	Bytes    uint64
	Age      time.Duration

	Origin Origin
	Flow   *flows.Flow  // what the agent has made it as; nil if nobody knows
	Rule   string       // that made it
	Object topology.Key // that it was made for; of a Node if for none in particular
	Text   string       // the flow in the words of ovs-ofctl(8); may be empty for one that is known
}

// Origin says whose a flow is.
type Origin string

// The origins.
const (
	Own     Origin = "own"     // the agent made it
	Stale   Origin = "stale"   // it has TupleNet's mark, and no object wants it now
	Unknown Origin = "unknown" // it has TupleNet's mark; which object wants it is not known
	Changed Origin = "changed" // the agent made it, and somebody has changed it
	Foreign Origin = "foreign" // somebody else made it
)

// For returns what the flow was made for, for people.
func (f *Flow) For() string {
	switch {
	case f.Origin != Own && f.Origin != Changed:
		return ""
	case f.Object.Kind == topology.KindNode:
		return "this host"
	}
	return strings.TrimSpace(f.Object.String())
}

// kinds are the words for kinds in "lsp/NAME".
var kinds = map[string][]topology.Kind{
	"ls":        {topology.KindSwitch},
	"lsp":       {topology.KindSwitchPort, topology.KindInterface, topology.KindDemand},
	"lr":        {topology.KindRouter},
	"lrp":       {topology.KindRouterPort},
	"lsr":       {topology.KindStaticRoute},
	"lnat":      {topology.KindNAT},
	"ch":        {topology.KindChassis, topology.KindTunnel},
	"patchport": {topology.KindSwitchPort, topology.KindInterface},
	"neighbour": {topology.KindNeighbour},
	"host":      {topology.KindNode},
}

// Kinds returns the words that IsFor knows in front of a slash.
func Kinds() []string {
	return []string{"ls", "lsp", "lr", "lrp", "lsr", "lnat", "ch", "patchport", "neighbour", "host"}
}

// IsFor reports whether the flow was made for an object: a name, or a name
// behind its kind, as in lsp/lsp-alice. A switch or router stands for what
// hangs on it, too.
func (f *Flow) IsFor(object string) bool {
	if f.Origin != Own && f.Origin != Changed {
		return false
	}
	kind, name, typed := strings.Cut(object, "/")
	if !typed {
		return f.Object.Kind != topology.KindNode && (f.Object.Name == object || f.Object.Parent == object)
	}
	for _, k := range kinds[kind] {
		if f.Object.Kind == k && (f.Object.Name == name || k == topology.KindNode) {
			return true
		}
	}
	switch kind {
	case "ls":
		return f.Object.Parent == name && f.Object.Kind.Parent() != topology.KindRouter
	case "lr":
		return f.Object.Parent == name && f.Object.Kind.Parent() == topology.KindRouter
	}
	return false
}

// Find reports whether there is an object that IsFor means by that, and returns
// the names of all objects, of that kind if it names one, if there is none.
func (n Names) Find(object string) (found bool, names []string) {
	if n.Model == nil {
		return false, nil
	}
	kind, _, typed := strings.Cut(object, "/")
	for e := range n.Model.All() {
		f := Flow{Origin: Own, Object: e.Key()}
		if f.IsFor(object) {
			return true, nil
		}
		if _, ok := e.(topology.Stored); ok && (!typed || slices.Contains(kinds[kind], f.Object.Kind)) {
			names = append(names, f.Object.Name)
		}
	}
	slices.Sort(names)
	return false, slices.Compact(names)
}

// TracePoint reports whether the flow only shows packets to the agent that are
// traced.
func (f *Flow) TracePoint() bool {
	return f.Flow != nil && slices.ContainsFunc(f.Flow.Actions, func(a flows.Action) bool {
		hold, ok := a.(flows.Hold)
		return ok && hold.Why == flows.Traced
	})
}
