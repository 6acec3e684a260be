package flows

import (
	"iter"
	"math"
)

// held is what an engine knows of its flows at large. It is kept up to date with
// each change, so that who asks waits for no count.
type held struct {
	tables [math.MaxUint8 + 1]int // how many a table has
	drops  map[uint64]*entry      // those of flows that drop, by the hash of the flow's identity
}

// take takes in an entry that has changed in the present update.
func (h *held) take(identity uint64, f *entry) {
	if f.before != 0 {
		h.tables[f.table]--
	}
	if f.flow != nil {
		h.tables[f.table]++
	}
	if f.flow != nil && f.flow.drops() {
		h.drops[identity] = f
	} else {
		delete(h.drops, identity)
	}
}

// drops reports whether the flow hands packets to the table drop.
func (f *Flow) drops() bool {
	return len(f.Actions) > 0 && f.Actions[len(f.Actions)-1] == Action(drop)
}

// Held returns how many of the flows are in a table.
func (e *Engine) Held(table Table) int { return e.held.tables[table] }

// Drops yields the flows that hand packets to the table drop, behind their
// cookies, in no order.
func (e *Engine) Drops() iter.Seq2[uint64, *Flow] {
	return func(yield func(uint64, *Flow) bool) {
		for _, f := range e.held.drops {
			if !yield(f.cookie, f.flow) {
				return
			}
		}
	}
}
