package flows

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"tuplenet/internal/topology"
)

// Engine keeps the flows of a topology up to date. It runs each rule on each
// entity of the rule's kind, records what each run read, and when keys change
// runs only the instances again that read one of them. What it did then is the
// work, whatever the size of the topology.
//
//	topology.Model.Apply ──touched keys──▶ Engine.Update ──Delta──▶ the bridge
//
// The result is a function of the topology alone: after any sequence of
// updates the engine holds the flows that a new one would compile from scratch.
//
// An Engine is not safe for concurrent use.
type Engine struct {
	model *topology.Model
	rules map[topology.Kind][]*rule
	nodes map[topology.Key]*node
	flows map[uint64]*entry // by the hash of the flow's identity
	notes map[Note]int      // how many instances say so
	reach *reach
	held  held

	runs    uint64 // rule runs so far
	reader  Reader
	scratch []byte
}

// node is a key that somebody reads, or that has instances.
type node struct {
	key       topology.Key
	readers   []reader
	instances []*instance // one for each rule of the key's kind
}

// instance is one rule on one entity.
type instance struct {
	rule  *rule
	node  *node
	reads []read
	emits []emission
	notes []Note
	dirty bool
}

// A read and a reader are the two ends of one edge between an instance and a
// node; each knows where the other end stands, so that it can be cut in
// constant time.
type (
	read struct {
		node *node
		at   int // index in node.readers
	}
	reader struct {
		instance *instance
		at       int // index in instance.reads
	}
)

// emission is one flow of one instance.
type emission struct {
	identity uint64
	cookie   uint64
	flow     *Flow
}

// entry is one flow of the bridge. Usually one instance emits it. Several that
// emit the same flow share it. Several that emit it with different actions
// contradict each other: a mistake in a rule, which is reported; the flow with the
// smallest cookie stands.
type entry struct {
	flow   *Flow
	cookie uint64
	owner  *instance
	others []claimant // further emissions, if any

	table   Table  // also when there is no flow
	changed bool   // in the present update
	before  uint64 // cookie before the update, 0 if there was no flow
}

type claimant struct {
	flow   *Flow
	cookie uint64
	owner  *instance
}

// CookieFlow is a flow with its cookie.
type CookieFlow struct {
	Cookie uint64
	Flow   *Flow // not to be changed
}

// Delta is the difference that an update made.
type Delta struct {
	Put       []CookieFlow // new flows, and flows with new actions
	Gone      []uint64     // cookies of flows that exist no more
	Begun     []Note       // what rules say from now on
	Ended     []Note       // what no rule says any more
	Conflicts []string     // mistakes of rules: flows that contradict each other or are malformed
	Runs      int          // rule runs that it took
}

// NewEngine returns an engine for a topology. It holds no flows until Update
// is told of the keys that the model has.
func NewEngine(model *topology.Model) *Engine {
	e := &Engine{
		model: model,
		rules: map[topology.Kind][]*rule{},
		nodes: map[topology.Key]*node{},
		flows: map[uint64]*entry{},
		notes: map[Note]int{},
		held:  held{drops: map[uint64]*entry{}},
		reach: newReach(model),
	}
	for i := range rules {
		r := &rules[i]
		e.rules[r.kind] = append(e.rules[r.kind], r)
	}
	e.reader.engine = e
	return e
}

// Compile returns the flows of a topology, sorted by table, priority
// (descending) and cookie, and the mistakes of rules.
func Compile(model *topology.Model) ([]CookieFlow, []string) {
	e := NewEngine(model)
	delta := e.Update(Everything(model))
	slices.SortFunc(delta.Put, func(a, b CookieFlow) int {
		return cmp.Or(cmp.Compare(a.Flow.Table, b.Flow.Table), cmp.Compare(b.Flow.Priority, a.Flow.Priority), cmp.Compare(a.Cookie, b.Cookie))
	})
	return delta.Put, delta.Conflicts
}

// Everything returns the keys of a model's entities and those of the indexes
// that lead to them.
func Everything(model *topology.Model) []topology.Key {
	var keys []topology.Key
	for entity := range model.All() {
		keys = append(keys, entity.Key())
		keys = slices.AppendSeq(keys, topology.Indexes(entity))
	}
	return keys
}

// Update brings the flows up to date after the keys in touched, the Touched of
// a topology.Result, have changed.
func (e *Engine) Update(touched []topology.Key) Delta {
	if len(e.nodes) == 0 { // growing them step by step takes long
		e.nodes = make(map[topology.Key]*node, len(touched))
	}
	u := update{e: e, noted: map[Note]int{}}
	for _, key := range touched {
		u.touch(key)
	}
	for _, key := range e.reach.update(touched) {
		u.touch(key)
	}
	for _, i := range u.dirty {
		i.dirty = false
		if i.node != nil {
			u.run(i)
		}
	}
	return u.finish()
}

// All yields every flow behind its cookie, in no order.
func (e *Engine) All() iter.Seq2[uint64, *Flow] {
	return func(yield func(uint64, *Flow) bool) {
		for _, f := range e.flows {
			if !yield(f.cookie, f.flow) {
				return
			}
		}
	}
}

// Len returns the number of flows.
func (e *Engine) Len() int { return len(e.flows) }

// Runs returns the number of rule runs since the engine was made.
func (e *Engine) Runs() uint64 { return e.runs }

// Owner returns the rule and the entity that a cookie's flow comes from.
func (e *Engine) Owner(cookie uint64) (rule string, key topology.Key, ok bool) {
	for _, f := range e.flows {
		if f.cookie == cookie {
			return f.owner.rule.name, f.owner.node.key, true
		}
	}
	return "", topology.Key{}, false
}

// OwnerOf returns the rule and the entity that one of the engine's flows comes
// from; of several that want the same flow, those with the smallest key.
func (e *Engine) OwnerOf(f *Flow) (rule string, key topology.Key, ok bool) {
	var identity uint64
	identity, _, e.scratch = f.Hash(e.scratch)
	entry := e.flows[identity]
	if entry == nil || entry.owner == nil {
		return "", topology.Key{}, false
	}
	first := entry.owner
	for _, c := range entry.others {
		if by := cmp.Or(c.owner.node.key.Compare(first.node.key), cmp.Compare(c.owner.rule.name, first.rule.name)); c.cookie == entry.cookie && by < 0 {
			first = c.owner
		}
	}
	return first.rule.name, first.node.key, true
}

// Cookies returns the cookies of the flows in a table that the entity of a key
// has been asked for by its rules.
func (e *Engine) Cookies(key topology.Key, table Table) []uint64 {
	n := e.nodes[key]
	if n == nil {
		return nil
	}
	var out []uint64
	for _, i := range n.instances {
		for _, em := range i.emits {
			if em.flow.Table == table {
				out = append(out, em.cookie)
			}
		}
	}
	return out
}

// update is an Update under way.
type update struct {
	e         *Engine
	dirty     []*instance
	changed   []uint64     // identities whose entries may differ from before
	noted     map[Note]int // counts before the update, of notes that may differ
	conflicts []string
	runs      int
}

func (u *update) touch(key topology.Key) {
	e := u.e
	n := e.nodes[key]
	exists := len(e.rules[key.Kind]) > 0 && e.model.Get(key) != nil
	switch {
	case exists && (n == nil || n.instances == nil):
		n = e.node(key)
		for _, r := range e.rules[key.Kind] {
			i := &instance{rule: r, node: n}
			n.instances = append(n.instances, i)
			u.mark(i)
		}
	case !exists && n != nil && n.instances != nil:
		for _, i := range n.instances {
			u.retire(i)
		}
		n.instances = nil
		e.collect(n)
	}
	if n != nil {
		for _, r := range n.readers {
			u.mark(r.instance)
		}
	}
}

func (u *update) mark(i *instance) {
	if !i.dirty {
		i.dirty = true
		u.dirty = append(u.dirty, i)
	}
}

// retire removes an instance whose entity is gone.
func (u *update) retire(i *instance) {
	for _, r := range i.reads {
		u.e.cut(r)
	}
	for _, em := range i.emits {
		u.drop(em, i)
	}
	u.note(i, nil)
	i.reads, i.emits, i.node = nil, nil, nil
}

func (u *update) run(i *instance) {
	e := u.e
	r := &e.reader
	r.nodes = r.nodes[:0]
	own := r.get(i.node.key)
	made, notes := i.rule.run(r, own)
	e.link(i, r.nodes)
	u.note(i, notes)
	e.runs++
	u.runs++

	emits := make([]emission, len(made))
	for k := range made {
		f := &made[k]
		f.sortMatch()
		if err := f.check(); err != nil {
			u.conflicts = append(u.conflicts, fmt.Sprintf("rule %s on %s makes a malformed flow: %v", i.rule.name, i.node.key, err))
		}
		emits[k].flow = f
		emits[k].identity, emits[k].cookie, e.scratch = f.Hash(e.scratch)
	}
	// New ones first, so that what stays is never seen to go.
	for _, em := range emits {
		u.add(em, i)
	}
	for _, em := range i.emits {
		u.drop(em, i)
	}
	i.emits = emits
}

// note makes notes what instance i says.
func (u *update) note(i *instance, notes []Note) {
	e := u.e
	count := func(n Note, by int) {
		if _, seen := u.noted[n]; !seen {
			u.noted[n] = e.notes[n]
		}
		if e.notes[n] += by; e.notes[n] == 0 {
			delete(e.notes, n)
		}
	}
	for _, n := range notes {
		count(n, 1)
	}
	for _, n := range i.notes {
		count(n, -1)
	}
	i.notes = notes
}

// add enters an emission of instance i.
func (u *update) add(em emission, i *instance) {
	e := u.e
	f := e.flows[em.identity]
	if f == nil {
		f = &entry{table: em.flow.Table}
		e.flows[em.identity] = f
	}
	u.change(f, em.identity)
	c := claimant{em.flow, em.cookie, i}
	switch {
	case f.flow == nil:
		f.set(c)
	case em.cookie < f.cookie:
		f.others = append(f.others, f.claimant())
		f.set(c)
	default:
		f.others = append(f.others, c)
	}
}

// drop takes an emission of instance i back.
func (u *update) drop(em emission, i *instance) {
	f := u.e.flows[em.identity]
	u.change(f, em.identity)
	if f.owner != i || f.cookie != em.cookie {
		at := slices.IndexFunc(f.others, func(c claimant) bool { return c.owner == i && c.cookie == em.cookie })
		f.others = slices.Delete(f.others, at, at+1)
		return
	}
	if len(f.others) == 0 {
		f.set(claimant{})
		return
	}
	first := 0
	for k, c := range f.others {
		if c.cookie < f.others[first].cookie {
			first = k
		}
	}
	f.set(f.others[first])
	f.others = slices.Delete(f.others, first, first+1)
}

func (f *entry) claimant() claimant { return claimant{f.flow, f.cookie, f.owner} }
func (f *entry) set(c claimant)     { f.flow, f.cookie, f.owner = c.flow, c.cookie, c.owner }

// change remembers what an entry was before the update.
func (u *update) change(f *entry, identity uint64) {
	if !f.changed {
		f.changed, f.before = true, f.cookie
		u.changed = append(u.changed, identity)
	}
}

func (u *update) finish() Delta {
	d := Delta{Conflicts: u.conflicts, Runs: u.runs}
	for _, identity := range u.changed {
		f := u.e.flows[identity]
		f.changed = false
		u.e.held.take(identity, f)
		switch {
		case f.flow == nil:
			delete(u.e.flows, identity)
			if f.before != 0 {
				d.Gone = append(d.Gone, f.before)
			}
		case f.cookie != f.before:
			d.Put = append(d.Put, CookieFlow{f.cookie, f.flow})
		}
		for _, c := range f.others {
			if c.cookie != f.cookie {
				d.Conflicts = append(d.Conflicts, fmt.Sprintf(
					"rule %s on %s and rule %s on %s contradict each other in table %s: the second flow is left out",
					f.owner.rule.name, f.owner.node.key, c.owner.rule.name, c.owner.node.key, f.flow.Table))
			}
		}
		if len(f.others) == 0 {
			f.others = nil
		}
	}
	for n, before := range u.noted {
		switch now := u.e.notes[n]; {
		case before == 0 && now > 0:
			d.Begun = append(d.Begun, n)
		case before > 0 && now == 0:
			d.Ended = append(d.Ended, n)
		}
	}
	return d
}

// node returns the node of a key, and makes it if need be.
func (e *Engine) node(key topology.Key) *node {
	n := e.nodes[key]
	if n == nil {
		n = &node{key: key}
		e.nodes[key] = n
	}
	return n
}

// collect forgets a node that nobody needs.
func (e *Engine) collect(n *node) {
	if len(n.readers) == 0 && n.instances == nil {
		delete(e.nodes, n.key)
	}
}

// link makes nodes what the instance has read.
func (e *Engine) link(i *instance, nodes []*node) {
	same := slices.EqualFunc(i.reads, nodes, func(r read, n *node) bool { return r.node == n })
	if same {
		return
	}
	old := i.reads
	i.reads = make([]read, len(nodes))
	for k, n := range nodes {
		i.reads[k] = read{n, len(n.readers)}
		n.readers = append(n.readers, reader{i, k})
	}
	for _, r := range old {
		e.cut(r)
	}
}

// cut removes the far end of an edge. The last reader takes its place.
func (e *Engine) cut(r read) {
	n := r.node
	last := len(n.readers) - 1
	moved := n.readers[last]
	n.readers[r.at] = moved
	n.readers[last] = reader{}
	n.readers = n.readers[:last]
	if r.at != last {
		moved.instance.reads[moved.at].at = r.at
	}
	e.collect(n)
}
