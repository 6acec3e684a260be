package trace

import (
	"cmp"
	"iter"
	"slices"

	"tuplenet/flows"
)

// Tables are flows as a switch holds them: by table, the highest priority first.
type Tables struct {
	flows [256][]flows.CookieFlow
}

// NewTables returns the tables of flows behind their cookies, such as
// flows.Engine.All yields. Trace points are left out: they change nothing.
func NewTables(all iter.Seq2[uint64, *flows.Flow]) *Tables {
	t := &Tables{}
	for cookie, f := range all {
		if !isTracePoint(f) {
			t.flows[f.Table] = append(t.flows[f.Table], flows.CookieFlow{Cookie: cookie, Flow: f})
		}
	}
	for _, list := range t.flows {
		slices.SortFunc(list, func(a, b flows.CookieFlow) int {
			return cmp.Or(cmp.Compare(b.Flow.Priority, a.Flow.Priority), cmp.Compare(a.Cookie, b.Cookie))
		})
	}
	return t
}

func isTracePoint(f *flows.Flow) bool {
	return slices.ContainsFunc(f.Actions, func(a flows.Action) bool {
		hold, ok := a.(flows.Hold)
		return ok && hold.Why == flows.Traced
	})
}

// Lookup returns the flow that a packet in a state takes in a table, if there is
// one.
func (t *Tables) Lookup(table flows.Table, s *flows.State) (flows.CookieFlow, bool) {
	for _, f := range t.flows[table] {
		if s.Matches(f.Flow) {
			return f, true
		}
	}
	return flows.CookieFlow{}, false
}
