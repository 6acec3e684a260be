package store

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

func bulkPort(sw, name string, last byte) topology.SwitchPort {
	ip := netip.AddrFrom4([4]byte{10, 0, 0, last})
	return topology.SwitchPort{Switch: sw, Name: name, IP: ip, MAC: topology.MACFromIP(ip)}
}

func edit(e topology.Stored) Edit { return Edit{e.Key(), e} }

func snapshot(t *testing.T, s *Store) *Snapshot {
	t.Helper()
	n, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// mustWrite writes edits as one batch.
func (n *Snapshot) mustWrite(t *testing.T, edits ...Edit) {
	t.Helper()
	if err := n.Write(t.Context(), edits); err != nil {
		t.Fatal(err)
	}
}

// What others write between the snapshot and the transaction is not overwritten,
// and nothing of the transaction is written.
func TestBulkChangedMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name   string
		edits  []Edit
		others func(t *testing.T, s *Store)
	}{
		{"a new object is there", []Edit{edit(bulkPort("S", "new", 9)), edit(bulkPort("S", "x", 8))},
			func(t *testing.T, s *Store) {
				put(t, s, "entity_view/LS/S/lsp/x", "ip=10.0.0.77,mac=f2:01:0a:00:00:4d")
			}},
		{"a port was bound", []Edit{edit(bulkPort("S", "new", 9)), edit(bulkPort("S", "old", 2))},
			func(t *testing.T, s *Store) {
				if err := s.Bind(t.Context(), bulkPort("S", "old", 1).Key(), "hv1"); err != nil {
					t.Fatal(err)
				}
			}},
		{"an address was taken", []Edit{edit(bulkPort("S", "new", 9)), edit(bulkPort("S", "x", 8))},
			func(t *testing.T, s *Store) { mustCreate(t, s, bulkPort("S", "y", 8)) }},
		{"an id was taken", []Edit{edit(topology.Switch{Name: "N", ID: 2})},
			func(t *testing.T, s *Store) { mustCreate(t, s, topology.Router{Name: "R"}) }},
		{"the parent went", []Edit{edit(bulkPort("S", "new", 9))},
			func(t *testing.T, s *Store) {
				if err := s.Delete(t.Context(), topology.Switch{Name: "S"}.Key(), true); err != nil {
					t.Fatal(err)
				}
			}},
		{"a child came", []Edit{{Key: bulkPort("S", "old", 1).Key()}, {Key: topology.Switch{Name: "S"}.Key()}},
			func(t *testing.T, s *Store) { mustCreate(t, s, bulkPort("S", "y", 8)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			mustCreate(t, s, topology.Switch{Name: "S"}, bulkPort("S", "old", 1))
			n := snapshot(t, s)
			test.others(t, s)
			before := dump(t, s)
			if err := n.Write(t.Context(), test.edits); !errors.Is(err, ErrChanged) {
				t.Errorf("got %v, want ErrChanged", err)
			}
			if diff := cmp.Diff(before, dump(t, s)); diff != "" {
				t.Errorf("it wrote something: %s", diff)
			}
		})
	}
}

// Addresses and ids that change hands within one transaction, or over several,
// are in the books exactly once for as long as somebody has them.
func TestBulkBooks(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"}, topology.Switch{Name: "T"}, bulkPort("S", "a", 1), bulkPort("S", "b", 2), bulkPort("T", "c", 3))
	check := func(when string) {
		t.Helper()
		before := dump(t, s)
		if err := s.SyncDeviceIDs(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.RebuildIPBooks(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dump(t, s), before); diff != "" {
			t.Errorf("%s: the books are not what the objects say: %s", when, diff)
		}
	}
	n := snapshot(t, s)
	n.mustWrite(t, edit(bulkPort("S", "a", 2)), edit(bulkPort("S", "b", 1)))
	check("swapped at once")
	n = snapshot(t, s)
	n.mustWrite(t, edit(bulkPort("S", "a", 1)))
	check("two have one address")
	n.mustWrite(t, edit(bulkPort("S", "b", 2)))
	check("swapped one after the other")
	n = snapshot(t, s)
	n.mustWrite(t, edit(topology.Switch{Name: "S", ID: 2}), edit(topology.Switch{Name: "T", ID: 1}))
	check("ids swapped")
	n = snapshot(t, s)
	n.mustWrite(t, Edit{Key: bulkPort("T", "c", 3).Key()}, Edit{Key: topology.Switch{Name: "T"}.Key()})
	check("deleted")
	if _, ok := dump(t, s)["ip_book/LS/T"]; ok {
		t.Error("the book of a switch that is gone is there")
	}
	// Written by others without the books; the book of S is missing altogether.
	put(t, s, "entity_view/LS/T", "id=9")
	put(t, s, "entity_view/LS/S/lsp/d", "ip=10.0.0.4,mac=f2:01:0a:00:00:04")
	if _, err := s.client.Delete(t.Context(), s.layout.book(topology.Switch{Name: "S"}.Key())); err != nil {
		t.Fatal(err)
	}
	n = snapshot(t, s)
	if !n.IDTaken(9) || !n.IDTaken(2) || n.IDTaken(1) {
		t.Error("ids in use are not 2 and 9")
	}
	n.mustWrite(t, edit(bulkPort("S", "e", 5)), edit(topology.Switch{Name: "U", ID: 4}))
	if err := s.SyncDeviceIDs(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("rebuilt")
	// An address that is in the book and that nobody has is nobody's.
	n = snapshot(t, s)
	n.mustWrite(t, Edit{Key: bulkPort("S", "e", 5).Key()})
	leaked := snapshot(t, s).book(s.layout.book(topology.Switch{Name: "S"}.Key())).listed
	leaked.Add(5)
	put(t, s, "ip_book/LS/S", encodeBitmap(leaked))
	n = snapshot(t, s)
	n.mustWrite(t, edit(bulkPort("S", "f", 5)))
	check("taken though leaked")
}

// A batch never has more keys than etcd takes, units stay whole, and what fits is
// not divided.
func TestBatches(t *testing.T) {
	s := start(t)
	n := snapshot(t, s)
	var groups []Group
	for i := range 200 { // small groups, several in a batch
		name := fmt.Sprint("small-", i)
		groups = append(groups, Group{Unit{edit(topology.Switch{Name: name, ID: uint32(i + 1)})}, Unit{edit(bulkPort(name, "a"+name, 1)), edit(bulkPort(name, "b"+name, 2))}})
	}
	large := Group{Unit{edit(topology.Switch{Name: "large", ID: 1000})}}
	for i := range 250 {
		large = append(large, Unit{edit(bulkPort("large", fmt.Sprint("p", i), byte(i+1)))})
	}
	groups = append(groups, large)
	batches, err := n.Batches(groups)
	if err != nil {
		t.Fatal(err)
	}
	inBatch := map[topology.Key]int{}
	for i, batch := range batches {
		if err := n.Write(t.Context(), batch); err != nil {
			t.Fatalf("batch %d of %d edits: %v", i, len(batch), err)
		}
		for _, e := range batch {
			inBatch[e.Key] = i
		}
	}
	if len(inBatch) != 200*3+251 || len(batches) > 12 {
		t.Errorf("%d objects in %d batches", len(inBatch), len(batches))
	}
	for _, group := range groups[:200] {
		for _, e := range slices.Concat(group...) {
			if inBatch[e.Key] != inBatch[group[0][0].Key] {
				t.Errorf("%s is divided", group[0][0].Key)
			}
		}
	}
	// And back.
	n = snapshot(t, s)
	groups = nil
	for i := range 200 {
		name := fmt.Sprint("small-", i)
		groups = append(groups, Group{Unit{{Key: bulkPort(name, "a"+name, 1).Key()}, {Key: bulkPort(name, "b"+name, 2).Key()}}, Unit{{Key: topology.Switch{Name: name}.Key()}}})
	}
	if batches, err = n.Batches(groups); err != nil {
		t.Fatal(err)
	}
	for i, batch := range batches {
		if err := n.Write(t.Context(), batch); err != nil {
			t.Fatalf("batch %d of %d edits: %v", i, len(batch), err)
		}
	}
	if n = snapshot(t, s); len(n.Entities) != 251 {
		t.Errorf("%d objects are left, want 251", len(n.Entities))
	}
}

// What others have left under a switch does not go with it unasked; what nobody
// could make may go.
func TestBatchesOddKeys(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"})
	put(t, s, "entity_view/LS/S/lsp/ ", "nonsense")
	put(t, s, "entity_view/LS/S/notes/x", "mine")
	goes := []Group{{{{Key: topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: " "}}}, {{Key: topology.Switch{Name: "S"}.Key()}}}}
	if _, err := snapshot(t, s).Batches(goes); err == nil || !strings.Contains(err.Error(), "entity_view/LS/S/notes/x, which is nothing of TupleNet's, hangs on it") {
		t.Errorf("got %v", err)
	}
	if _, err := s.client.Delete(t.Context(), string(s.layout)+"entity_view/LS/S/notes/x"); err != nil {
		t.Fatal(err)
	}
	n := snapshot(t, s)
	batches, err := n.Batches(goes)
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		n.mustWrite(t, batch...)
	}
	if left := snapshot(t, s); len(left.Entities)+len(left.Broken) > 0 {
		t.Errorf("there are still %v and %v", left.Entities, left.Broken)
	}
}

// What cannot be written whatever others do is told before anything is written.
func TestBatchesRefused(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"})
	put(t, s, "ip_book/LS/S", "nonsense")
	for want, e := range map[string]topology.Stored{
		`"tpctl toolbox rebuild-ip-book" makes it anew`: bulkPort("S", "a", 1),
		`"/" is not allowed`:                            topology.Switch{Name: "a/b", ID: 7},
		"cannot contain commas":                         topology.Router{Name: "R", ID: 7, Chassis: "a,b=c"},
	} {
		if _, err := snapshot(t, s).Batches([]Group{{{edit(e)}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
