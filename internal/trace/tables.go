package trace

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"tuplenet/flows"
)

// Tables are flows as a switch holds them. Looking a packet up takes as long as
// a table has sets of fields that its flows match on, however many flows there
// are.
type Tables struct {
	groups   [256][]*group // the one with the highest priority first
	byCookie map[uint64]*flows.Flow
}

// group is the flows of a table that match on the same bits of the same fields.
type group struct {
	mask   []flows.Match // their values mean nothing
	top    uint16        // no flow has a higher priority
	values map[string][]flows.CookieFlow
}

// NewTables returns the tables of flows behind their cookies, such as
// flows.Engine.All yields. Trace points are left out: they change nothing.
func NewTables(all iter.Seq2[uint64, *flows.Flow]) *Tables {
	t := &Tables{byCookie: map[uint64]*flows.Flow{}}
	for cookie, f := range all {
		t.put(flows.CookieFlow{Cookie: cookie, Flow: f})
	}
	t.sort()
	return t
}

// Apply brings the tables up to date after the engine has changed its flows.
func (t *Tables) Apply(d flows.Delta) {
	for _, cookie := range d.Gone {
		if f, ok := t.byCookie[cookie]; ok {
			t.remove(cookie, f)
		}
	}
	for _, f := range d.Put {
		t.put(f)
	}
	t.sort()
}

func (t *Tables) put(f flows.CookieFlow) {
	if isTracePoint(f.Flow) {
		return
	}
	g := t.group(f.Flow)
	if g == nil {
		g = &group{mask: f.Flow.Match, values: map[string][]flows.CookieFlow{}}
		t.groups[f.Flow.Table] = append(t.groups[f.Flow.Table], g)
	}
	g.top = max(g.top, f.Flow.Priority)
	key := string(appendValues(nil, f.Flow.Match))
	// A flow with the same identity is replaced.
	list := slices.DeleteFunc(g.values[key], func(o flows.CookieFlow) bool {
		same := o.Flow.Priority == f.Flow.Priority
		if same {
			delete(t.byCookie, o.Cookie)
		}
		return same
	})
	list = append(list, f)
	slices.SortFunc(list, func(a, b flows.CookieFlow) int { return cmp.Compare(b.Flow.Priority, a.Flow.Priority) })
	g.values[key] = list
	t.byCookie[f.Cookie] = f.Flow
}

func (t *Tables) remove(cookie uint64, f *flows.Flow) {
	g := t.group(f)
	key := string(appendValues(nil, f.Match))
	list := slices.DeleteFunc(g.values[key], func(o flows.CookieFlow) bool { return o.Cookie == cookie })
	if g.values[key] = list; len(list) == 0 {
		delete(g.values, key)
	}
	delete(t.byCookie, cookie)
}

func (t *Tables) group(f *flows.Flow) *group {
	for _, g := range t.groups[f.Table] {
		if slices.EqualFunc(g.mask, f.Match, func(a, b flows.Match) bool { return a.Field == b.Field && a.Mask == b.Mask }) {
			return g
		}
	}
	return nil
}

func (t *Tables) sort() {
	for _, groups := range t.groups {
		slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(b.top, a.top) })
	}
}

func appendValues(b []byte, match []flows.Match) []byte {
	for _, m := range match {
		b = binary.BigEndian.AppendUint64(b, m.Value.Lo)
	}
	return b
}

func isTracePoint(f *flows.Flow) bool {
	return slices.ContainsFunc(f.Actions, func(a flows.Action) bool {
		hold, ok := a.(flows.Hold)
		return ok && hold.Why == flows.Traced
	})
}

// Lookup returns the flow that a packet in a state takes in a table, if there is
// one. Of several with one priority, which Open vSwitch leaves open, it is the one
// with the smallest cookie.
func (t *Tables) Lookup(table flows.Table, s *flows.State) (best flows.CookieFlow, ok bool) {
	var room [128]byte
	for _, g := range t.groups[table] {
		if ok && g.top < best.Flow.Priority {
			break
		}
		key := room[:0]
		for _, m := range g.mask {
			key = binary.BigEndian.AppendUint64(key, s[m.Field]&m.Mask.Lo)
		}
		list := g.values[string(key)]
		if len(list) == 0 {
			continue
		}
		f := list[0]
		if !ok || f.Flow.Priority > best.Flow.Priority || f.Flow.Priority == best.Flow.Priority && f.Cookie < best.Cookie {
			best, ok = f, true
		}
	}
	return best, ok
}
