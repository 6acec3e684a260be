package topology

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

func TestModelBindings(t *testing.T) {
	m := NewModel()
	p := port("S", "a", "10.0.0.1")
	bound := func() string {
		t.Helper()
		e, _ := m.Get(p.Key()).(SwitchPort)
		if byName, _ := m.Get(Key{Kind: KindPortName, Name: "a"}).(SwitchPort); byName != e {
			t.Errorf("by name it is %v, by key %v", byName, e)
		}
		return e.Chassis
	}
	step := func(what, want string, touched bool, changes ...Change) {
		t.Helper()
		r := m.Apply(changes)
		if got := bound(); got != want {
			t.Errorf("%s: bound to %q, want %q", what, got, want)
		}
		was := false
		for _, key := range r.Touched {
			was = was || key == p.Key()
		}
		if was != touched {
			t.Errorf("%s: touched the port: %v, want %v", what, was, touched)
		}
	}
	on := func(chassis string) Binding { return Binding{Chassis: chassis, Switch: "S", Port: "a"} }
	step("before the port", "", false, put(20, on("hv2")))
	step("the port comes", "hv2", true, put(30, p))
	step("the port again", "hv2", false, put(30, p))
	step("a later binding waits", "hv2", false, put(40, on("hv3")))
	step("an earlier one comes first", "hv1", true, put(10, on("hv1")))
	step("one that waits goes", "hv1", false, Change{Key: on("hv3").Key()})
	step("the first goes", "hv2", true, Change{Key: on("hv1").Key()})
	named := p
	named.Chassis = "hv9"
	step("the value comes before all", "hv9", true, put(30, named))
	step("which bindings do not change", "hv9", false, put(50, on("hv0")), Change{Key: on("hv2").Key()})
	step("until it names none", "hv0", true, put(30, p))
	joined := p
	joined.Peer = "R_to_S"
	step("a port that is joined to a router is plugged in there", "", true, put(30, joined))
	step("also with another binding", "", false, put(5, on("hv6")), Change{Key: on("hv6").Key()})
	step("and nowhere once it is not", "hv0", true, put(30, p))
	step("of two of one revision the first name", "hv4", true,
		put(60, on("hv5")), put(60, on("hv4")), Change{Key: on("hv0").Key()})
	step("the port goes", "", true, Change{Key: p.Key()})
	step("and returns", "hv4", true, put(70, p))
	step("the last goes", "", true, Change{Key: on("hv4").Key()}, Change{Key: on("hv5").Key()})
	if m.Len() != 1 {
		t.Errorf("the model has %d entities, want the port alone", m.Len())
	}
}

// Whatever comes in whatever batches: what a model that grew says is what one
// says that was told all at once, and nothing changes untold.
func TestModelBindingsAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		grown, told := NewModel(), map[Key]Change{}
		for revision := int64(1); revision < 40; revision++ {
			var batch []Change
			for range 1 + r.IntN(3) {
				name := string(rune('a' + r.IntN(3)))
				var e Entity = Binding{Chassis: fmt.Sprintf("hv%d", r.IntN(3)), Switch: "S", Port: name}
				if r.IntN(3) == 0 {
					p := port("S", name, "10.0.0."+fmt.Sprint(1+int(name[0]-'a')))
					if r.IntN(4) == 0 {
						p.Chassis = "hv9"
					}
					e = p
				}
				c := Change{Key: e.Key()}
				if r.IntN(3) > 0 {
					c.Entity, c.Created = e, revision
					if before, ok := told[c.Key]; ok {
						c.Created = before.Created
					}
					told[c.Key] = c
				} else {
					delete(told, c.Key)
				}
				batch = append(batch, c)
			}
			before := map[Key]Entity{}
			for e := range grown.All() {
				before[e.Key()] = e
			}
			touched := map[Key]bool{}
			for _, key := range grown.Apply(batch).Touched {
				touched[key] = true
			}
			fresh := NewModel()
			for c := range maps.Values(told) {
				fresh.Apply([]Change{c})
			}
			for key := range told {
				if _, ok := before[key]; !ok {
					before[key] = nil
				}
			}
			for key, was := range before {
				is := grown.Get(key)
				if want := fresh.Get(key); is != want {
					t.Fatalf("seed %d, revision %d: %v is %v, want %v", seed, revision, key, is, want)
				}
				if is != was && !touched[key] {
					t.Fatalf("seed %d, revision %d: %v was %v and is %v, and nobody was told", seed, revision, key, was, is)
				}
			}
		}
	}
}
