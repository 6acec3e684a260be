package topology

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func put(created int64, e Entity) Change { return Change{Key: e.Key(), Entity: e, Created: created} }

func port(sw, name, ip string) SwitchPort {
	a := netip.MustParseAddr(ip)
	return SwitchPort{Switch: sw, Name: name, IP: a, MAC: MACFromIP(a)}
}

func chassis(name, ip string, tick int64) Chassis {
	return Chassis{Name: name, IP: netip.MustParseAddr(ip), Tick: tick}
}

func TestModelFirstStays(t *testing.T) {
	m := NewModel()
	a, b := port("S", "a", "10.0.0.1"), port("S", "b", "10.0.0.1")
	// b arrives first, but a was created first.
	m.Apply([]Change{put(20, b)})
	r := m.Apply([]Change{put(10, a)})
	if m.Get(a.Key()) != a || m.Get(b.Key()) != nil {
		t.Fatalf("a = %v, b = %v; want a alone", m.Get(a.Key()), m.Get(b.Key()))
	}
	if len(r.Conflicts) != 1 || r.Conflicts[0].Ignored != b.Key() || !strings.Contains(r.Conflicts[0].String(), "address 10.0.0.1") {
		t.Errorf("conflicts: %v", r.Conflicts)
	}
	wantTouched := []Key{a.Key(), b.Key(), {KindPortName, "", "a"}, {KindPortName, "", "b"}, PortAt("S", 1), BlockOf(a)}
	slices.SortFunc(r.Touched, Key.Compare)
	if !slices.Equal(r.Touched, wantTouched) {
		t.Errorf("touched %v, want %v", r.Touched, wantTouched)
	}
	// Deleting the ignored one harms nothing; deleting the other brings it back.
	if r := m.Apply([]Change{{Key: b.Key()}}); len(r.Touched) != 0 {
		t.Errorf("deleting the ignored port touched %v", r.Touched)
	}
	m.Apply([]Change{put(30, b)})
	if r := m.Apply([]Change{{Key: a.Key()}}); m.Get(b.Key()) != b || !slices.Equal(r.Resolved, []Key{b.Key()}) {
		t.Errorf("b did not return: %v, resolved %v", m.Get(b.Key()), r.Resolved)
	}
}

func TestModelWideSwitch(t *testing.T) {
	m := NewModel()
	r := m.Apply([]Change{put(1, port("S", "a", "10.0.0.1")), put(2, port("S", "b", "10.1.0.1"))})
	if len(r.Conflicts) != 1 || !strings.Contains(r.Conflicts[0].What, "wider than /16") {
		t.Errorf("conflicts: %v", r.Conflicts)
	}
	// In another switch the same address is nobody's business.
	if r := m.Apply([]Change{put(3, port("T", "c", "10.0.0.1"))}); len(r.Conflicts) != 0 {
		t.Errorf("conflicts across switches: %v", r.Conflicts)
	}
}

func TestModelChassisWithOneAddress(t *testing.T) {
	m := NewModel()
	old, young := chassis("old", "192.168.1.1", 100), chassis("young", "192.168.1.1", 200)
	m.Apply([]Change{put(1, old), put(2, young)})
	if m.Get(old.Key()) != nil || m.Get(young.Key()) != young {
		t.Fatal("the larger tick must own the address")
	}
	// The old one registers anew and takes it back.
	old.Tick = 300
	m.Apply([]Change{put(1, old)})
	if m.Get(old.Key()) != old || m.Get(young.Key()) != nil {
		t.Fatal("a larger tick must take the address over")
	}
	m.Apply([]Change{{Key: old.Key()}})
	if m.Get(young.Key()) != young {
		t.Fatal("the next one must take over when the owner goes")
	}
}

func TestModelKeepsLastValidState(t *testing.T) {
	m := NewModel()
	a := port("S", "a", "10.0.0.1")
	m.Apply([]Change{put(1, a)})
	m.Apply([]Change{{Key: a.Key(), Err: fmt.Errorf("bad")}})
	m.Replace([]Change{{Key: a.Key(), Err: fmt.Errorf("bad")}})
	if m.Get(a.Key()) != a {
		t.Error("an invalid value displaced the last valid one")
	}
	node := Tunnel{Chassis: "hv2", OFPort: 3}
	m.Apply([]Change{put(0, node)})
	r := m.Replace(nil)
	if m.Get(a.Key()) != nil || m.Get(node.Key()) != node {
		t.Error("Replace must drop what the store no longer has, and nothing else")
	}
	if !slices.Contains(r.Touched, a.Key()) {
		t.Errorf("touched %v", r.Touched)
	}
}

func TestModelIndexes(t *testing.T) {
	m := NewModel()
	rp := RouterPort{Router: "R", Name: "R_to_S", Net: netip.MustParsePrefix("10.0.0.1/24"), MAC: MAC{2}, Peer: "S_to_R"}
	sp := port("S", "S_to_R", "10.0.0.1")
	m.Apply([]Change{put(1, rp), put(1, sp)})
	if m.Get(Key{KindRouterPortName, "", "R_to_S"}) != rp || m.Get(Key{KindPortName, "", "S_to_R"}) != sp {
		t.Error("ports are not found by their bare names")
	}
	// The same name in another switch: the first stays.
	r := m.Apply([]Change{put(2, port("T", "S_to_R", "10.9.0.1"))})
	if len(r.Conflicts) != 1 || m.Get(Key{KindPortName, "", "S_to_R"}) != sp {
		t.Errorf("conflicts %v", r.Conflicts)
	}
}

// child returns a port whose packets pass through another's interface.
func child(sw, name, ip, parent string, tag uint16) SwitchPort {
	p := port(sw, name, ip)
	p.Parent, p.Tag = parent, tag
	return p
}

// The children of a port are told apart by their tags, in whichever switches they
// are.
func TestModelTags(t *testing.T) {
	m := NewModel()
	a, b, other := child("S", "a", "10.0.0.1", "vm", 5), child("T", "b", "10.1.0.1", "vm", 5), child("S", "c", "10.0.0.2", "vm2", 5)
	r := m.Apply([]Change{put(1, a), put(2, b), put(3, other)})
	if len(r.Conflicts) != 1 || r.Conflicts[0].Ignored != b.Key() || r.Conflicts[0].What != "tag 5 at parent vm" {
		t.Fatalf("conflicts %v, want that of b alone", r.Conflicts)
	}
	if m.Get(a.Key()) != a || m.Get(b.Key()) != nil || m.Get(other.Key()) != other {
		t.Error("the first child with a tag counts, and that of another parent")
	}
	b.Tag = 6
	if r := m.Apply([]Change{put(2, b)}); m.Get(b.Key()) != b || !slices.Equal(r.Resolved, []Key{b.Key()}) {
		t.Errorf("with another tag b counts: %v, resolved %v", m.Get(b.Key()), r.Resolved)
	}
}

// A port's children are found by its bare name, whether it is there or not, and
// who reads them is told of each that comes, moves and goes.
func TestModelChildren(t *testing.T) {
	m := NewModel()
	of := func(parent string) []Entity { return m.List(Key{Kind: KindChildren, Name: parent}) }
	touches := func(r Result, parent string) bool {
		return slices.Contains(r.Touched, Key{Kind: KindChildren, Name: parent})
	}
	a, b := child("S", "a", "10.0.0.1", "vm", 1), child("T", "b", "10.1.0.1", "vm", 2)
	if r := m.Apply([]Change{put(1, a), put(2, b), put(3, port("S", "c", "10.0.0.3"))}); !touches(r, "vm") || !slices.Equal(of("vm"), []Entity{a, b}) {
		t.Errorf("children %v, touched %v", of("vm"), r.Touched)
	}
	m.Apply([]Change{put(4, port("U", "vm", "10.2.0.1"))})
	if !slices.Equal(of("vm"), []Entity{a, b}) {
		t.Errorf("children of a port that came later: %v", of("vm"))
	}
	b.Parent = "vm2"
	if r := m.Apply([]Change{put(2, b)}); !touches(r, "vm") || !touches(r, "vm2") || !slices.Equal(of("vm"), []Entity{a}) || !slices.Equal(of("vm2"), []Entity{b}) {
		t.Errorf("children after a move %v and %v, touched %v", of("vm"), of("vm2"), r.Touched)
	}
	if r := m.Apply([]Change{{Key: a.Key()}}); !touches(r, "vm") || len(of("vm")) != 0 {
		t.Errorf("children %v after the last has gone, touched %v", of("vm"), r.Touched)
	}
}

// Whatever the order and the batches in which a set of entities arrives, and
// whatever was there in between, the model ends in the same state.
func TestModelOrderMeansNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() Change {
		n := rng.IntN(6)
		var e Entity
		switch rng.IntN(4) {
		case 0:
			e = Switch{Name: fmt.Sprint("s", n), ID: uint32(1 + rng.IntN(4))}
		case 1:
			e = Router{Name: fmt.Sprint("r", n), ID: uint32(1 + rng.IntN(4))}
		case 2:
			p := port(fmt.Sprint("s", rng.IntN(2)), fmt.Sprint("p", n), fmt.Sprintf("10.%d.0.%d", rng.IntN(2), 1+rng.IntN(3)))
			p.MAC = MAC{2, 0, 0, 0, 0, byte(rng.IntN(4))}
			if parent := rng.IntN(3); parent > 0 {
				p.Parent, p.Tag = fmt.Sprint("vm", parent), uint16(1+rng.IntN(2))
			}
			e = p
		default:
			e = chassis(fmt.Sprint("c", n), fmt.Sprintf("192.168.0.%d", 1+rng.IntN(3)), int64(rng.IntN(4)))
		}
		return put(0, e)
	}
	for round := range 300 {
		m, want := NewModel(), map[Key]Change{}
		for created := range int64(40) {
			var changes []Change
			for range 1 + rng.IntN(3) {
				c := random()
				if rng.IntN(3) == 0 {
					c.Entity = nil
					delete(want, c.Key)
				} else {
					if old, ok := want[c.Key]; ok {
						c.Created = old.Created
					} else {
						c.Created = created + 1
					}
					want[c.Key] = c
				}
				changes = append(changes, c)
			}
			m.Apply(changes)
		}
		fresh := NewModel()
		fresh.Apply(slices.Collect(maps.Values(want)))
		got, expect := counting(m), counting(fresh)
		if !maps.Equal(got, expect) {
			t.Fatalf("round %d: incremental %v, fresh %v", round, got, expect)
		}
		count := map[Kind]Count{}
		for _, r := range m.records {
			n := count[r.key.Kind]
			n.All++
			if !r.counts {
				n.Ignored++
			}
			count[r.key.Kind] = n
		}
		for kind := Kind(0); kind < KindPortName; kind++ {
			if got := m.Count(kind); got != count[kind] {
				t.Fatalf("round %d: of kind %s there are %+v, and %+v by their count", round, kind, count[kind], got)
			}
		}
	}
}

func counting(m *Model) map[Key]Entity {
	all := map[Key]Entity{}
	for e := range m.All() {
		all[e.Key()] = e
	}
	return all
}
