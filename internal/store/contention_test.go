package store

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

const (
	writers        = 20
	portsPerWriter = 100
)

// together runs work once a writer, each with a store of its own.
func together(t *testing.T, stores []*Store, work func(s *Store, writer int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			if err := work(s, i); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// Twenty writers fill one switch and make switches meanwhile; then they take
// everything away. No id and no address is given out twice, none is lost.
func TestContention(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	stores := make([]*Store, writers)
	for i := range stores {
		stores[i] = open(t, server)
	}
	s := stores[0]
	ctx := t.Context()
	subnet := netip.MustParsePrefix("10.1.0.0/16")
	mustCreate(t, s, topology.Switch{Name: "S"})

	together(t, stores, func(s *Store, writer int) error {
		for i := range portsPerWriter {
			name := fmt.Sprintf("p-%d-%d", writer, i)
			err := ErrConflict
			if i%10 == 0 { // an address that others may have got already
				_, err = s.Create(ctx, port("S", name, fmt.Sprintf("10.1.%d.%d", i/10, writer+1)))
			}
			if errors.Is(err, ErrConflict) {
				_, err = s.AllocatePort(ctx, topology.SwitchPort{Switch: "S", Name: name}, subnet, nil)
			}
			if err != nil {
				return err
			}
			if i%20 == 0 {
				if _, err := s.Create(ctx, topology.Switch{Name: "S-" + name}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	wantBooksMatch(t, s, writers*portsPerWriter, 1+writers*portsPerWriter/20)

	// All want the same name, one gets it.
	won := make([]bool, writers)
	together(t, stores, func(s *Store, writer int) error {
		_, err := s.Create(ctx, topology.Router{Name: "R"})
		won[writer] = err == nil
		if errors.Is(err, ErrExists) {
			return nil
		}
		return err
	})
	count := 0
	for _, w := range won {
		if w {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d writers made the router, want 1", count)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindRouter, Name: "R"}, false)

	together(t, stores, func(s *Store, writer int) error {
		for i := range portsPerWriter {
			name := fmt.Sprintf("p-%d-%d", writer, i)
			if err := s.Delete(ctx, topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: name}, false); err != nil {
				return err
			}
			if i%20 == 0 {
				if err := s.Delete(ctx, topology.Key{Kind: topology.KindSwitch, Name: "S-" + name}, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S"}, false)
	wantOnlyGlobals(t, s)
}

// wantBooksMatch compares the books with the objects.
func wantBooksMatch(t *testing.T, s *Store, ports, switches int) {
	t.Helper()
	used := func(kind topology.Kind, want int) *roaring.Bitmap {
		entities, bad, err := s.List(t.Context(), kind, "")
		if err != nil || len(bad) > 0 || len(entities) != want {
			t.Fatalf("there are %d of %s, want %d (%v, %v)", len(entities), kind, want, bad, err)
		}
		bits := roaring.New()
		for _, e := range entities {
			if !bits.CheckedAdd(idOf(e)) {
				t.Errorf("%v has the id of another", e)
			}
		}
		return bits
	}
	all := dump(t, s)
	for path, want := range map[string]*roaring.Bitmap{
		"globals/device_ids": used(topology.KindSwitch, switches),
		"ip_book/LS/S":       used(topology.KindSwitchPort, ports),
	} {
		if got, err := decodeBitmap(all[path]); err != nil || !got.Equals(want) {
			t.Errorf("%s has %d members, want %d (%v)", path, got.GetCardinality(), want.GetCardinality(), err)
		}
	}
}

// Ports are made while their switch is deleted: whatever comes first, nothing
// is left behind.
func TestDeleteAgainstCreate(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	stores := []*Store{open(t, server), open(t, server), open(t, server)}
	ctx := t.Context()
	for round := range 20 {
		name := fmt.Sprint("S", round)
		mustCreate(t, stores[0], topology.Switch{Name: name})
		together(t, stores, func(s *Store, writer int) error {
			if writer == 0 {
				for {
					err := s.Delete(ctx, topology.Key{Kind: topology.KindSwitch, Name: name}, round%2 == 0)
					if !errors.Is(err, ErrNotEmpty) {
						return err
					}
					for i := range 3 {
						for w := range 3 {
							s.Delete(ctx, topology.Key{Kind: topology.KindSwitchPort, Parent: name, Name: fmt.Sprint(w, i)}, false)
						}
					}
				}
			}
			for i := range 3 {
				_, err := s.AllocatePort(ctx, topology.SwitchPort{Switch: name, Name: fmt.Sprint(writer, i)}, netip.MustParsePrefix("10.0.0.0/24"), nil)
				if err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
			return nil
		})
	}
	wantOnlyGlobals(t, stores[0])
}
