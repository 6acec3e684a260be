package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

func TestEverything(t *testing.T) {
	s := start(t)
	if _, err := s.Create(t.Context(), topology.Switch{Name: "A"}); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"entity_view/LS/bad": "x", "entity_view/LS/A/lsp/": "x", "entity_view/other/x": "x", "entity_view/LS/A/foo/x": "x",
		"ip_book/LS/A": "OjAAAAEAAAAAAAEAEAAAAAEABwA=", "ip_book/LR/R": "nonsense", "ip_book/LS/A/x": "x",
		"communicate/push/hv1/cmd/1": "x", "contact/hv1": "172.16.0.1", "foo": "x",
	} {
		put(t, s, key, value)
	}
	items, err := s.Everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range items {
		got = append(got, fmt.Sprintf("%s role=%d %s used=%v wrong=%v", i.Path[len(s.layout):], i.Role, i.Key, i.Used, i.Err != nil))
		if i.Created == 0 || i.Modified == 0 || i.Leased {
			t.Errorf("%s: created %d, modified %d, leased %v", i.Path, i.Created, i.Modified, i.Leased)
		}
	}
	want := []string{
		"communicate/push/hv1/cmd/1 role=5 kind(0)  used=[] wrong=false",
		"contact/hv1 role=1 presence of chassis hv1 used=[] wrong=false",
		"entity_view/LS/A role=1 switch A used=[] wrong=false",
		"entity_view/LS/A/foo/x role=0 kind(0)  used=[] wrong=false",
		"entity_view/LS/A/lsp/ role=0 kind(0)  used=[] wrong=false",
		"entity_view/LS/bad role=1 switch bad used=[] wrong=true",
		"entity_view/other/x role=0 kind(0)  used=[] wrong=false",
		"foo role=0 kind(0)  used=[] wrong=false",
		"globals/device_ids role=2 kind(0)  used=[1] wrong=false",
		"globals/version role=4 kind(0)  used=[] wrong=false",
		"ip_book/LR/R role=3 router R used=[] wrong=true",
		"ip_book/LS/A role=3 switch A used=[1 7] wrong=false",
		"ip_book/LS/A/x role=0 kind(0)  used=[] wrong=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the store reads otherwise (-want +got):\n%s", diff)
	}
}

// A key that was written again, or whose companion was, stays.
func TestRemove(t *testing.T) {
	s := start(t)
	read := func(path string) *Item {
		items, err := s.Everything(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(items, func(i Item) bool { return i.Path == string(s.layout)+path })
		if i < 0 {
			t.Fatalf("%s is gone", path)
		}
		return &items[i]
	}
	put(t, s, "down/hv1", "since=1")
	put(t, s, "contact/hv1", "172.16.0.1")
	down, contact := read("down/hv1"), read("contact/hv1")
	put(t, s, "contact/hv1", "172.16.0.2")
	if gone, err := s.Remove(t.Context(), *down, contact); err != nil || gone {
		t.Errorf("removed %v, %v though its companion has changed", gone, err)
	}
	contact = read("contact/hv1")
	put(t, s, "down/hv1", "since=2")
	if gone, err := s.Remove(t.Context(), *down, contact); err != nil || gone {
		t.Errorf("removed %v, %v though it has changed", gone, err)
	}
	down = read("down/hv1")
	if gone, err := s.Remove(t.Context(), *down, contact); err != nil || !gone {
		t.Errorf("not removed: %v, %v", gone, err)
	}
	if gone, err := s.Remove(t.Context(), *down, nil); err != nil || gone {
		t.Errorf("removed %v, %v a second time", gone, err)
	}
}

// Several repair the same at the same time: each twin gets one id of its own.
func TestRenumber(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	put(t, s, "entity_view/LS/first", "id=1,color=blue")
	put(t, s, "entity_view/LS/twin", "id=1,color=red")
	put(t, s, "entity_view/LR/twin", "id=1,chassis=hv1")
	put(t, s, "entity_view/LS/other", "id=2")
	stores := make([]*Store, 4)
	for i := range stores {
		stores[i] = open(t, server)
	}
	together(t, stores, func(s *Store, _ int) error {
		_, a := s.Renumber(t.Context(), topology.Switch{Name: "twin"}.Key())
		_, b := s.Renumber(t.Context(), topology.Router{Name: "twin"}.Key())
		return errors.Join(a, b)
	})
	all := dump(t, s)
	ids := []string{all["entity_view/LS/twin"], all["entity_view/LR/twin"]}
	if !slices.Equal(ids, []string{"id=3,color=red", "id=4,chassis=hv1"}) && !slices.Equal(ids, []string{"id=4,color=red", "id=3,chassis=hv1"}) {
		t.Errorf("the twins are %q", ids)
	}
	if got := all["entity_view/LS/first"]; got != "id=1,color=blue" {
		t.Errorf("the first has become %q", got)
	}
	if got, err := DecodeIDs(all["globals/device_ids"]); err != nil || !slices.Equal(got, []uint32{1, 2, 3, 4}) {
		t.Errorf("the book holds %v, %v", got, err)
	}
	if _, err := s.Renumber(t.Context(), topology.Switch{Name: "nobody"}.Key()); !errors.Is(err, ErrNotFound) {
		t.Errorf("renumbering nobody: %v", err)
	}
}

// More ports than fit into one transaction are released, and none of a chassis
// that has come back.
func TestReleasePorts(t *testing.T) {
	s := start(t)
	const ports = 150
	for i := range ports {
		put(t, s, fmt.Sprintf("entity_view/LS/A/lsp/p%03d", i), fmt.Sprintf("ip=10.0.%d.%d,mac=f2:01:00:00:00:01,chassis=hv1", i/100, i%100))
	}
	put(t, s, "entity_view/LS/A/lsp/patch", "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1")
	put(t, s, "contact/hv1", "172.16.0.1")
	if released, err := s.ReleasePorts(t.Context(), "hv1"); err != nil || len(released) > 0 {
		t.Errorf("released %v, %v of a chassis that is alive", released, err)
	}
	put(t, s, "contact/hv1", "172.16.0.1,stopped")
	released, err := s.ReleasePorts(t.Context(), "hv1")
	if err != nil || len(released) != ports || !slices.IsSortedFunc(released, topology.Key.Compare) {
		t.Errorf("released %d ports, %v", len(released), err)
	}
	all := dump(t, s)
	if got := all["entity_view/LS/A/lsp/p000"]; got != "ip=10.0.0.0,mac=f2:01:00:00:00:01" {
		t.Errorf("a port is %q", got)
	}
	if got := all["entity_view/LS/A/lsp/patch"]; got != "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1" {
		t.Errorf("the patch port is %q", got)
	}
}
