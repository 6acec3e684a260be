package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// ErrChanged says that others have written what a Snapshot was read from.
// Nothing of the transaction has been written.
var ErrChanged = errors.New("changed meanwhile")

// Edit is what becomes of one object of a Snapshot: After takes the place of
// what there is, if anything, or it is deleted if After is nil.
type Edit struct {
	Key   topology.Key
	After topology.Stored
}

// Unit is edits that are written in one transaction, Group is units that belong
// together and are written in their order: a switch or router before what hangs
// on it, or after that where both go.
type (
	Unit  []Edit
	Group []Unit
)

// Snapshot is the objects that the store held at one revision, for a change that
// is too large for one transaction: each makes sure that nobody has changed
// meanwhile what it writes. A Snapshot serves one such change.
type Snapshot struct {
	Entities map[topology.Key]topology.Stored
	Broken   map[topology.Key]error // keys whose values cannot be used

	store    *Store
	modified map[topology.Key]int64
	books    map[string]*book // by path
	strange  []string         // paths of keys that have no place in the layout
}

// book is a set of ids in use: what the store's book said, without what Write
// has taken out, and how many objects have each id.
type book struct {
	listed  *roaring.Bitmap
	holders map[uint32]int
	err     error // the store's book is corrupt
}

// Snapshot reads all objects.
func (s *Store) Snapshot(ctx context.Context) (*Snapshot, error) {
	items, err := s.Everything(ctx)
	if err != nil {
		return nil, err
	}
	n := &Snapshot{
		Entities: make(map[topology.Key]topology.Stored, len(items)),
		Broken:   map[topology.Key]error{},
		store:    s,
		modified: make(map[topology.Key]int64, len(items)),
		books:    map[string]*book{},
	}
	for _, item := range items {
		switch item.Role {
		case Object:
			n.modified[item.Key] = item.Modified
			if item.Err != nil {
				n.Broken[item.Key] = item.Err
				continue
			}
			n.Entities[item.Key] = item.Entity
			if path := n.bookPath(item.Key); path != "" {
				n.book(path).holders[idOf(item.Entity)]++
			}
		case DeviceIDs, Book:
			b := n.book(item.Path)
			b.listed.AddMany(item.Used)
			b.err = item.Err
		case Strange:
			n.strange = append(n.strange, item.Path)
		}
	}
	return n, nil
}

// IDTaken reports whether a switch or router has an id, or the book says so.
func (n *Snapshot) IDTaken(id uint32) bool {
	b := n.book(n.store.layout.deviceIDs())
	return b.holders[id] > 0 || b.listed.Contains(id)
}

func (n *Snapshot) book(path string) *book {
	b := n.books[path]
	if b == nil {
		b = &book{listed: roaring.New(), holders: map[uint32]int{}}
		n.books[path] = b
	}
	return b
}

// bookPath returns the path of the book that an object's id is in, or nothing if
// it has none.
func (n *Snapshot) bookPath(key topology.Key) string {
	switch key.Kind {
	case topology.KindSwitch, topology.KindRouter:
		return n.store.layout.deviceIDs()
	case topology.KindSwitchPort, topology.KindRouterPort:
		return n.store.layout.book(key.ParentKey())
	}
	return ""
}

// Batches packs groups into as few transactions as etcd's limit allows, in their
// order: a unit is never divided, a group only if it does not fit into one
// transaction. The error is one that would come up later, whatever others do.
func (n *Snapshot) Batches(groups []Group) ([][]Edit, error) {
	for _, group := range groups {
		for _, unit := range group {
			if err := n.writable(unit); err != nil {
				return nil, err
			}
		}
	}
	return n.batches(groups), nil
}

// writable refuses what would fail later, whatever others do.
func (n *Snapshot) writable(unit Unit) error {
	for _, e := range unit {
		if e.After != nil { // what has a wrong name may go
			if err := checkNames(e.Key); err != nil {
				return err
			}
			if err := checkValue(e.After); err != nil {
				return err
			}
		} else if e.Key.Kind.Parent() == 0 {
			under := n.store.layout.children(e.Key)
			if i := slices.IndexFunc(n.strange, func(path string) bool { return strings.HasPrefix(path, under) }); i >= 0 {
				return fmt.Errorf("%s cannot be deleted: %s, which is nothing of TupleNet's, hangs on it; delete that with etcdctl if you know whose it is",
					describe(e.Key), n.strange[i])
			}
		}
		path := n.bookPath(e.Key)
		if b := n.books[path]; b != nil && b.err != nil {
			remedy := remedyBooks
			if e.Key.Kind.Parent() == 0 {
				remedy = remedyIDs
			}
			return corrupt(path, remedy, b.err)
		}
	}
	return nil
}

func (n *Snapshot) batches(groups []Group) [][]Edit {
	var list [][]Edit
	var batch []Edit
	compared := map[string]bool{} // what the batch makes conditions of
	add := func(edits []Edit) bool {
		more := n.paths(edits)
		for _, e := range edits {
			if e.After == nil && e.Key.Kind.Parent() == 0 {
				more = append(more, n.store.layout.children(e.Key)) // see checkSurroundings
			}
		}
		more = slices.DeleteFunc(more, func(path string) bool { return compared[path] })
		if len(compared)+len(more) > maxOps {
			return false
		}
		batch = append(batch, edits...)
		for _, path := range more {
			compared[path] = true
		}
		return true
	}
	flush := func() {
		if len(batch) > 0 {
			list = append(list, batch)
		}
		batch, compared = nil, map[string]bool{}
	}
	for _, group := range groups {
		if whole := slices.Concat(group...); len(whole) <= maxOps {
			if add(whole) {
				continue
			}
			flush()
			if add(whole) {
				continue
			}
		}
		for _, unit := range group {
			if !add(unit) {
				flush()
				add(unit) // two objects always fit
			}
		}
	}
	flush()
	return list
}

// paths returns the keys that a transaction has to see, each once.
func (n *Snapshot) paths(edits []Edit) []string {
	l := n.store.layout
	seen := make(map[string]bool, 2*len(edits))
	for _, e := range edits {
		seen[l.path(e.Key)] = true
		if path := n.bookPath(e.Key); path != "" {
			seen[path] = true
		}
		switch {
		case e.Key.Kind.Parent() != 0:
			if e.After != nil {
				seen[l.path(e.Key.ParentKey())] = true
			}
		case e.After == nil:
			seen[l.book(e.Key)] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// Write writes one of Batches, each once and in their order, in one transaction.
// ErrChanged: others have written something of it, and nothing is written; a new
// Snapshot tells what.
func (n *Snapshot) Write(ctx context.Context, edits []Edit) error {
	s := n.store
	doing := "writing " + describe(edits[0].Key)
	if len(edits) > 1 {
		doing += fmt.Sprintf(" and %d more", len(edits)-1)
	}
	if err := s.change(ctx, doing, n.paths(edits), func(t *txn) error { return n.plan(ctx, t, edits) }); err != nil {
		return err
	}
	for _, e := range edits {
		path := n.bookPath(e.Key)
		if path == "" {
			continue
		}
		b := n.book(path)
		if before := n.Entities[e.Key]; before != nil {
			id := idOf(before)
			if b.holders[id]--; b.holders[id] == 0 {
				b.listed.Remove(id)
			}
		}
		if e.After != nil {
			b.holders[idOf(e.After)]++
		}
	}
	return nil
}

// plan adds to t what edits take, or says that others have changed something.
func (n *Snapshot) plan(ctx context.Context, t *txn, edits []Edit) error {
	l := n.store.layout
	more := map[string]map[uint32]int{}  // by path of a book: how many more objects have an id
	counted := map[string]topology.Key{} // one of the objects
	for _, e := range edits {
		path := l.path(e.Key)
		var modified int64
		if kv := t.read[path]; kv != nil {
			modified = kv.ModRevision
		}
		if modified != n.modified[e.Key] {
			return fmt.Errorf("%s %w", describe(e.Key), ErrChanged)
		}
		if err := n.checkSurroundings(ctx, t, e, edits); err != nil {
			return err
		}
		if e.After == nil {
			t.delete(path)
		} else {
			t.put(path, e.After.Value())
		}
		if book := n.bookPath(e.Key); book != "" {
			if counted[book] = e.Key; more[book] == nil {
				more[book] = map[uint32]int{}
			}
			if before := n.Entities[e.Key]; before != nil {
				more[book][idOf(before)]--
			}
			if e.After != nil {
				more[book][idOf(e.After)]++
			}
		}
	}
	for path, key := range counted {
		if err := n.account(ctx, t, key, more[path]); err != nil {
			return err
		}
	}
	for _, e := range edits {
		if e.After == nil && e.Key.Kind.Parent() == 0 {
			t.books[l.book(e.Key)] = roaring.New() // it goes with its switch or router
		}
	}
	return nil
}

// checkSurroundings sees to it that what an object hangs on is there, and that
// nothing is left of what hangs on a switch or router that goes.
func (n *Snapshot) checkSurroundings(ctx context.Context, t *txn, e Edit, edits []Edit) error {
	l := n.store.layout
	if parent := l.path(e.Key.ParentKey()); e.Key.Kind.Parent() != 0 && e.After != nil {
		if _, ok := t.get(parent); !ok && !t.writes(parent) {
			return fmt.Errorf("%s %w", describe(e.Key.ParentKey()), ErrChanged)
		}
	}
	if e.Key.Kind.Parent() != 0 || e.After != nil {
		return nil
	}
	children := l.children(e.Key)
	resp, err := n.store.client.Get(ctx, children, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return n.store.failed("looking for what hangs on "+describe(e.Key), err)
	}
	for _, kv := range resp.Kvs {
		if key, ok := l.key(string(kv.Key)); !ok || !slices.Contains(edits, Edit{Key: key}) {
			return fmt.Errorf("%s %w, %s hangs on it", describe(e.Key), ErrChanged, kv.Key)
		}
	}
	t.guards = append(t.guards, clientv3.Compare(clientv3.ModRevision(children), "<", resp.Header.Revision+1).WithPrefix())
	return nil
}

// account enters in a book how many more objects have each id. key is of one of
// them.
func (n *Snapshot) account(ctx context.Context, t *txn, key topology.Key, more map[uint32]int) error {
	path := n.bookPath(key)
	known := n.book(path)
	maps.DeleteFunc(more, func(_ uint32, more int) bool { return more == 0 })
	isTaken := slices.ContainsFunc(slices.Collect(maps.Values(more)), func(more int) bool { return more > 0 })
	if len(more) == 0 || t.read[path] == nil && !isTaken {
		return nil // one that is not there is made from what there is when it is needed
	}
	bits, err := n.store.bookOf(ctx, t, key)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(key), err)
	}
	for id, more := range more {
		switch had := known.holders[id]; {
		case had+more <= 0:
			bits.Remove(id)
		case more < 0: // others have it, too
		case had == 0 && bits.Contains(id) && !known.listed.Contains(id):
			return fmt.Errorf("id %d in %s %w", id, path, ErrChanged)
		default:
			bits.Add(id)
		}
	}
	return nil
}
