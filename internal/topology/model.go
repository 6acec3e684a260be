package topology

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Change is one thing that happened to one key.
type Change struct {
	Key     Key
	Entity  Entity // what the key holds now; nil if it is gone, or if Err is set
	Created int64  // revision of the store at which the key was created; 0 for this node's own facts
	Err     error  // the key is there, but its value cannot be used
}

// Model is the topology in memory. It holds every entity that it was told of,
// and tells apart those that count and those that are ignored because another
// entity, created before, has the same id, address, MAC or name in the same
// scope. When the conflict ends, what was ignored counts again.
//
// A port that names neither a chassis nor a peer reads as bound to the chassis of
// its first Binding.
//
// An entity's parent or peer need not exist: they may come later, and an entity
// whose parent is gone waits for its return.
//
// A Model is not safe for concurrent use.
type Model struct {
	records   map[Key]*record
	holders   map[claim]*record   // claims that one record makes
	contested map[claim][]*record // claims that several make
	chassis   map[Key]struct{}    // keys of all chassis
	counts    [KindPortName]Count // by the kind of records
}

// Count is how many entities of a kind there are, and how many of them are ignored.
type Count struct{ All, Ignored int }

type record struct {
	key     Key
	entity  Entity
	created int64
	claims  []claim
	counts  bool
	ignored bool // decided not to count, and reported
	unbound bool // a port whose own value does not say where it is: bindings do
}

// Conflict says that an entity is ignored, and because of which other.
type Conflict struct {
	Ignored Key
	Because Key
	What    string // what the two have in common: "address 10.0.0.1"
}

func (c Conflict) String() string {
	return fmt.Sprintf("%s is ignored: %s has the same %s", c.Ignored, c.Because, c.What)
}

// Result tells what a batch of changes did.
type Result struct {
	Touched   []Key      // keys, of entities and of indexes, that read differently now; each once, in no order
	Conflicts []Conflict // entities that are ignored from now on
	Resolved  []Key      // entities that were ignored and count from now on
}

// NewModel returns an empty topology.
func NewModel() *Model {
	return &Model{
		records:   map[Key]*record{},
		holders:   map[claim]*record{},
		contested: map[claim][]*record{},
		chassis:   map[Key]struct{}{},
	}
}

// Get returns the entity that counts under key, or nil. The kinds of indexes
// (KindPortName and those after it) find an entity by something else than its
// name; of several the one that ranks first.
func (m *Model) Get(key Key) Entity {
	var r *record
	if c, ok := indexed(key); ok {
		r = m.holder(c)
	} else {
		r = m.records[key]
	}
	if r == nil || !r.counts {
		return nil
	}
	return r.entity
}

// Told returns the entity that the model was told of last under key, whether
// or not it counts, or nil.
func (m *Model) Told(key Key) Entity {
	if r := m.records[key]; r != nil {
		return r.entity
	}
	return nil
}

// List returns the entities that an index finds under key, the one that ranks
// first in front.
func (m *Model) List(key Key) []Entity {
	c, ok := indexed(key)
	if !ok {
		return nil
	}
	list := m.contested[c]
	if r := m.holders[c]; r != nil {
		list = []*record{r}
	}
	list = slices.SortedFunc(func(yield func(*record) bool) {
		for _, r := range list {
			if r.counts && !yield(r) {
				return
			}
		}
	}, compareRank)
	entities := make([]Entity, len(list))
	for i, r := range list {
		entities[i] = r.entity
	}
	return entities
}

// All yields every entity that counts, in no order.
func (m *Model) All() iter.Seq[Entity] {
	return func(yield func(Entity) bool) {
		for _, r := range m.records {
			if r.counts && !yield(r.entity) {
				return
			}
		}
	}
}

// Chassis yields every chassis that counts, in no order. It takes as long as
// there are chassis.
func (m *Model) Chassis() iter.Seq[Chassis] {
	return func(yield func(Chassis) bool) {
		for key := range m.chassis {
			if r := m.records[key]; r.counts && !yield(r.entity.(Chassis)) {
				return
			}
		}
	}
}

// Len returns the number of entities, ignored ones included.
func (m *Model) Len() int { return len(m.records) }

// Count returns how many entities of a kind the model has. It takes no longer for
// a larger model.
func (m *Model) Count(kind Kind) Count { return m.counts[kind] }

// Replace makes changes everything that the store holds: what the model has
// from the store and changes does not name is gone. This node's own facts stay.
func (m *Model) Replace(changes []Change) Result {
	named := make(map[Key]struct{}, len(changes))
	for _, c := range changes {
		named[c.Key] = struct{}{}
	}
	if len(m.records) == 0 { // growing step by step takes half of the time
		m.records = make(map[Key]*record, len(changes))
		m.holders = make(map[claim]*record, 5*len(changes))
	}
	all := slices.Clone(changes)
	for key := range m.records {
		if _, ok := named[key]; !ok && key.Kind.Stored() {
			all = append(all, Change{Key: key})
		}
	}
	return m.Apply(all)
}

// Apply carries out changes in their order. A change with Err leaves the last
// valid state of its key in force.
func (m *Model) Apply(changes []Change) Result {
	b := batch{m: m, touched: make(map[Key]struct{}, 6*len(changes)), unsettled: map[*record]struct{}{}, rebound: map[Key]struct{}{}}
	for _, c := range changes {
		switch {
		case c.Err != nil:
		case c.Entity == nil:
			b.remove(c.Key)
		default:
			b.put(c)
		}
	}
	b.settle()
	b.bind()
	b.result.Touched = slices.AppendSeq(make([]Key, 0, len(b.touched)), maps.Keys(b.touched))
	return b.result
}

// batch is an Apply under way.
type batch struct {
	m         *Model
	touched   map[Key]struct{}
	unsettled map[*record]struct{} // whether they count has to be decided anew
	rebound   map[Key]struct{}     // ports whose bindings have changed
	result    Result
}

func (b *batch) put(c Change) {
	m, r := b.m, b.m.records[c.Key]
	unbound := false
	switch e := c.Entity.(type) {
	case SwitchPort:
		if unbound = e.Chassis == "" && e.Peer == ""; unbound { // who has a peer is plugged in there
			e.Chassis = m.boundBy(c.Key)
			c.Entity = e
		}
	case Binding:
		b.rebound[e.PortKey()] = struct{}{}
	}
	if r == nil {
		r = &record{key: c.Key, entity: c.Entity, created: c.Created, claims: claims(c.Entity), unbound: unbound}
		m.records[c.Key] = r
		m.counts[c.Key.Kind].All++
		if c.Key.Kind == KindChassis {
			m.chassis[c.Key] = struct{}{}
		}
		b.claim(r)
		return
	}
	r.unbound = unbound
	if r.entity == c.Entity && r.created == c.Created {
		return
	}
	sameRank := r.created == c.Created && c.Key.Kind != KindChassis // a chassis' rank changes with its tick
	if r.counts {
		b.touch(r)
	}
	r.entity, r.created = c.Entity, c.Created
	if r.counts {
		b.touch(r) // in the indexes it may stand elsewhere now
	}
	// A port that is bound to another chassis claims what it claimed before:
	// nothing to decide.
	wanted := claims(c.Entity)
	if sameRank && slices.Equal(r.claims, wanted) {
		return
	}
	b.release(r)
	r.claims = wanted
	b.claim(r)
}

func (b *batch) remove(key Key) {
	r := b.m.records[key]
	if r == nil {
		return
	}
	if r.counts {
		b.touch(r)
	}
	if binding, ok := r.entity.(Binding); ok {
		b.rebound[binding.PortKey()] = struct{}{}
	}
	delete(b.m.records, key)
	count := &b.m.counts[key.Kind]
	count.All--
	if r.ignored {
		count.Ignored--
	}
	delete(b.m.chassis, key)
	delete(b.unsettled, r)
	b.release(r)
}

// touch notes that what r's key, or an index that leads to r, returns differs
// from before.
func (b *batch) touch(r *record) {
	b.touched[r.key] = struct{}{}
	for key := range Indexes(r.entity) {
		b.touched[key] = struct{}{}
	}
}

// claim enters r's claims.
func (b *batch) claim(r *record) {
	m := b.m
	b.unsettled[r] = struct{}{}
	for _, c := range r.claims {
		if list := m.contested[c]; list != nil {
			m.contested[c] = append(list, r)
		} else if other := m.holders[c]; other != nil {
			delete(m.holders, c)
			m.contested[c] = []*record{other, r}
		} else {
			m.holders[c] = r
			continue
		}
		if !c.kind.shared() {
			b.unsettle(c)
		}
	}
}

// release takes r's claims back.
func (b *batch) release(r *record) {
	m := b.m
	for _, c := range r.claims {
		if m.holders[c] == r {
			delete(m.holders, c)
			continue
		}
		list := slices.DeleteFunc(m.contested[c], func(o *record) bool { return o == r })
		if len(list) == 1 {
			m.holders[c] = list[0]
			delete(m.contested, c)
		} else {
			m.contested[c] = list
		}
		if !c.kind.shared() {
			for _, o := range list {
				b.unsettled[o] = struct{}{}
			}
		}
	}
}

func (b *batch) unsettle(c claim) {
	for _, r := range b.m.contested[c] {
		b.unsettled[r] = struct{}{}
	}
}

// settle decides which of the unsettled records count: a record does unless
// one that counts and ranks before it makes one of its claims. As a decision
// only bears on records that rank after, deciding in order of rank decides
// each once.
func (b *batch) settle() {
	queue := make([]*record, 0, len(b.unsettled))
	for r := range b.unsettled {
		queue = append(queue, r)
	}
	slices.SortFunc(queue, compareRank)
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		delete(b.unsettled, r)
		winner, lost := b.m.blocked(r)
		counts := winner == nil
		switch {
		case !counts && !r.ignored:
			b.m.counts[r.key.Kind].Ignored++
			b.result.Conflicts = append(b.result.Conflicts,
				Conflict{r.key, winner.key, lost.describe(r.entity, winner.entity)})
		case counts && r.ignored:
			b.m.counts[r.key.Kind].Ignored--
			b.result.Resolved = append(b.result.Resolved, r.key)
		}
		r.ignored = !counts
		if counts == r.counts {
			continue
		}
		r.counts = counts
		b.touch(r)
		for _, c := range r.claims {
			if c.kind.shared() {
				continue
			}
			for _, o := range b.m.contested[c] {
				if _, queued := b.unsettled[o]; o != r && !queued && compareRank(o, r) > 0 {
					b.unsettled[o] = struct{}{}
					at, _ := slices.BinarySearchFunc(queue, o, compareRank)
					queue = slices.Insert(queue, at, o)
				}
			}
		}
	}
}

// bind follows up on bindings, once it is known which of a port's comes first.
func (b *batch) bind() {
	for key := range b.rebound {
		r := b.m.records[key]
		if r == nil || !r.unbound {
			continue
		}
		port := r.entity.(SwitchPort)
		if port.Chassis = b.m.boundBy(key); port == r.entity {
			continue
		}
		r.entity = port
		if r.counts {
			b.touch(r)
		}
	}
}

// boundBy returns the chassis that a port is bound to whose own value names
// none.
func (m *Model) boundBy(port Key) string {
	if r := m.holder(bindingOf(port)); r != nil {
		return r.entity.(Binding).Chassis
	}
	return ""
}

// blocked returns the record that keeps r from counting, and by which claim.
func (m *Model) blocked(r *record) (*record, claim) {
	for _, c := range r.claims {
		if c.kind.shared() {
			continue
		}
		for _, o := range m.contested[c] {
			if o != r && o.counts && compareRank(o, r) < 0 {
				return o, c
			}
		}
	}
	return nil, claim{}
}

// holder returns the record that ranks first of those that claim c and count.
func (m *Model) holder(c claim) *record {
	if r := m.holders[c]; r != nil {
		return r
	}
	var first *record
	for _, r := range m.contested[c] {
		if r.counts && (first == nil || compareRank(r, first) < 0) {
			first = r
		}
	}
	return first
}
