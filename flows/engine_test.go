package flows

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"tuplenet/internal/topology"
)

// world is a small space of random topologies: names, ids and addresses are
// few, so that entities meet, conflict, and miss each other.
type world struct {
	*rand.Rand
	created int64
}

func (w *world) name(kind string, n int) string { return fmt.Sprint(kind, w.IntN(n)) }

func (w *world) entity() topology.Entity {
	addr := netip.AddrFrom4([4]byte{10, byte(w.IntN(2)), 0, byte(1 + w.IntN(6))})
	switch w.IntN(21) {
	case 0:
		return topology.Switch{Name: w.name("ls", 4), ID: uint32(1 + w.IntN(8)), Secured: w.IntN(4) == 0}
	case 1:
		r := topology.Router{Name: w.name("lr", 3), ID: uint32(1 + w.IntN(8))}
		if w.IntN(2) == 0 {
			r.Chassis = w.name("hv", 3)
		}
		return r
	case 2, 3:
		return topology.RouterPort{Router: w.name("lr", 3), Name: w.name("rp", 5),
			Net: netip.PrefixFrom(addr, 16+8*w.IntN(2)), MAC: topology.MACFromIP(addr), Peer: w.name("p", 8)}
	case 4:
		return topology.Chassis{Name: w.name("hv", 3), IP: addr, Tick: int64(w.IntN(5))}
	case 5:
		n := w.IntN(3)
		return topology.Tunnel{Chassis: fmt.Sprint("hv", n), OFPort: uint32(100 + n), Watched: w.IntN(2) == 0}
	case 6, 7:
		n := w.IntN(8)
		i := topology.Interface{Port: fmt.Sprint("p", n), OFPort: uint32(200 + n)}
		if w.IntN(3) == 0 { // by that of its parent
			i.OFPort, i.Tag = uint32(200+w.IntN(8)), uint16(1+n)
		}
		return i
	case 8:
		return topology.Node{Chassis: w.name("hv", 2), IP: addr, MTU: 1400 * w.IntN(2), OnDemand: w.IntN(2) == 0, Redirect: w.IntN(2) == 0}
	case 9, 10:
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(w.IntN(2)), 0, 0}), 16)
		return topology.StaticRoute{Router: w.name("lr", 3), Name: w.name("sr", 5), Net: net, NextHop: addr, OutPort: w.name("rp", 5)}
	case 11, 12:
		n := topology.NAT{Router: w.name("lr", 3), Name: w.name("nat", 5), XlateIP: addr, Type: topology.SNAT,
			Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, 0, 0, byte(w.IntN(2))}), 32)}
		if w.IntN(2) == 0 {
			n.Type = topology.DNAT
		}
		return n
	case 13:
		return topology.Neighbour{Switch: w.name("ls", 4), IP: addr, MAC: topology.MACFromIP(addr)}
	case 14:
		return topology.HostStack{OFPort: 300, MAC: topology.MACFromIP(addr)}
	case 15:
		return topology.Demand{Switch: w.name("ls", 4), Port: w.name("p", 8)}
	case 16:
		return topology.Absence{Chassis: w.name("hv", 3)}
	case 17: // one end of a link
		n := w.IntN(5)
		return topology.RouterPort{Router: fmt.Sprint("lr", n%3), Name: fmt.Sprint("linked", n),
			Net: netip.PrefixFrom(addr, []int{16, 24, 29, 32}[w.IntN(4)]), MAC: topology.MACFromIP(addr), Peer: fmt.Sprint("link", n)}
	}
	number := w.IntN(8)
	p := topology.SwitchPort{Switch: w.name("ls", 4), Name: fmt.Sprint("p", number), IP: addr, MAC: topology.MACFromIP(addr), Secured: w.IntN(4) == 0}
	switch w.IntN(7) {
	case 0:
		p.Peer = w.name("rp", 5)
	case 1:
		p.Chassis = w.name("hv", 3)
	case 2:
		p.IP, p.MAC = topology.OuterIP, topology.OuterMAC
	case 3: // the other end of a link
		n := w.IntN(5)
		p.Name, p.Peer, p.Switch = fmt.Sprint("link", n), fmt.Sprint("linked", n), fmt.Sprint("ls", n%4)
	case 4, 5: // each child has a tag of its own
		p.Parent, p.Tag = w.name("p", 8), uint16(1+number)
	}
	return p
}

func (w *world) changes() []topology.Change {
	var out []topology.Change
	for range 1 + w.IntN(4) {
		w.created++
		e := w.entity()
		c := topology.Change{Key: e.Key(), Entity: e, Created: w.created}
		if w.IntN(3) == 0 {
			c.Entity = nil
		}
		out = append(out, c)
	}
	return out
}

func set(all []CookieFlow) map[uint64]bool {
	out := map[uint64]bool{}
	for _, f := range all {
		out[f.Cookie] = true
	}
	return out
}

// After any sequence of changes the engine holds the flows that a compile from
// scratch makes, and the differences that it handed over add up to them.
func TestIncrementalEqualsScratch(t *testing.T) {
	for seed := range uint64(60) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 7))}
		model := topology.NewModel()
		engine := NewEngine(model)
		bridge := map[uint64]uint64{} // identity to cookie, as a bridge keeps flows
		notes := map[Note]bool{}
		for step := range 120 {
			delta := engine.Update(model.Apply(w.changes()).Touched)
			for _, f := range delta.Put {
				identity, cookie, _ := f.Flow.Hash(nil)
				bridge[identity] = cookie
			}
			for _, c := range delta.Gone {
				maps.DeleteFunc(bridge, func(_, cookie uint64) bool { return cookie == c })
			}
			for _, n := range delta.Begun {
				notes[n] = true
			}
			for _, n := range delta.Ended {
				delete(notes, n)
			}
			held := map[uint64]bool{}
			for cookie := range engine.All() {
				held[cookie] = true
			}
			checkHeld(t, engine)
			scratch := NewEngine(model).Update(Everything(model))
			want, wantNotes := set(scratch.Put), map[Note]bool{}
			for _, n := range scratch.Begun {
				wantNotes[n] = true
			}
			if !maps.Equal(notes, wantNotes) {
				t.Fatalf("seed %d step %d: the rules say %v, from scratch %v", seed, step, notes, wantNotes)
			}
			for _, c := range scratch.Conflicts {
				t.Errorf("seed %d step %d: %s", seed, step, c)
			}
			if !maps.Equal(held, want) {
				t.Fatalf("seed %d step %d: incremental has %d flows, scratch %d", seed, step, len(held), len(want))
			}
			got := map[uint64]bool{}
			for _, cookie := range bridge {
				got[cookie] = true
			}
			if !maps.Equal(got, want) {
				t.Fatalf("seed %d step %d: the differences add up to %d flows, want %d", seed, step, len(got), len(want))
			}
		}
		// When everything goes, nothing is left behind.
		var gone []topology.Change
		for e := range model.All() {
			gone = append(gone, topology.Change{Key: e.Key()})
		}
		for len(gone) > 0 { // what was ignored counts once its rival is gone
			engine.Update(model.Apply(gone).Touched)
			gone = nil
			for e := range model.All() {
				gone = append(gone, topology.Change{Key: e.Key()})
			}
		}
		checkHeld(t, engine)
		if engine.Len() != 0 || len(engine.nodes) != 0 || len(engine.notes) != 0 {
			t.Fatalf("seed %d: %d flows and %d nodes left of an empty topology", seed, engine.Len(), len(engine.nodes))
		}
	}
}

// checkHeld compares what the engine knows of its flows at large with a count.
func checkHeld(t *testing.T, e *Engine) {
	t.Helper()
	tables, drops := [256]int{}, map[uint64]*Flow{}
	for cookie, f := range e.All() {
		tables[f.Table]++
		if slices.Contains(f.Actions, Action(Goto{TableDrop})) {
			drops[cookie] = f
		}
	}
	for table, n := range tables {
		if got := e.Held(Table(table)); got != n {
			t.Fatalf("table %s has %d flows, and %d by its count", Table(table), n, got)
		}
	}
	if got := maps.Collect(e.Drops()); !maps.Equal(got, drops) {
		t.Fatalf("%d flows drop, and %d are known to", len(drops), len(got))
	}
}

// An update that changes nothing that rules read runs none of them.
func TestNoChangeNoRuns(t *testing.T) {
	model := grid(10, 5)
	engine := NewEngine(model)
	engine.Update(Everything(model))
	before := engine.Runs()
	delta := engine.Update([]topology.Key{{Kind: topology.KindSwitchPort, Parent: "nowhere", Name: "nothing"}})
	if len(delta.Put)+len(delta.Gone) != 0 || engine.Runs() != before {
		t.Errorf("delta %v after %d runs", delta, engine.Runs()-before)
	}
}

// The work for a change does not grow with the topology.
func TestRunsDoNotGrow(t *testing.T) {
	changes := map[string]topology.Entity{
		"remote port": remotePort("ls0", 250),
		"demand":      topology.Demand{Switch: "ls0", Port: "ls0-p3"},
		"interface":   topology.Interface{Port: "nobody", OFPort: 9999},
		"chassis":     topology.Chassis{Name: "new", IP: netip.MustParseAddr("172.16.0.2")},
	}
	for name, e := range changes {
		var runs []int
		for _, size := range []int{10, 100} {
			model := grid(size, 20)
			engine := NewEngine(model)
			engine.Update(Everything(model))
			delta := engine.Update(model.Apply([]topology.Change{{Key: e.Key(), Entity: e, Created: 1e9}}).Touched)
			runs = append(runs, delta.Runs)
		}
		if runs[0] != runs[1] || runs[0] == 0 {
			t.Errorf("%s: %d runs in the small topology, %d in the large one", name, runs[0], runs[1])
		}
	}
}

// Rules that contradict each other are reported, and the result is the same
// whichever ran first.
func TestContradictionIsReported(t *testing.T) {
	saved := rules
	defer func() { rules = saved }()
	clash := func(r *Reader, s topology.Switch) []Flow {
		return []Flow{{Table: TableSwitchHook, Priority: 7, Actions: []Action{Output{s.ID}}}}
	}
	rules = []rule{flowsOn("clash", clash)}
	a, b := topology.Switch{Name: "a", ID: 1}, topology.Switch{Name: "b", ID: 2}
	var cookies []uint64
	for _, order := range [][]topology.Entity{{a, b}, {b, a}} {
		model := topology.NewModel()
		engine := NewEngine(model)
		var last Delta
		for _, e := range order {
			last = engine.Update(model.Apply([]topology.Change{{Key: e.Key(), Entity: e}}).Touched)
		}
		if len(last.Conflicts) != 1 || engine.Len() != 1 {
			t.Fatalf("conflicts %q, %d flows", last.Conflicts, engine.Len())
		}
		for cookie := range engine.All() {
			cookies = append(cookies, cookie)
		}
		// When one goes the other's flow stands.
		engine.Update(model.Apply([]topology.Change{{Key: a.Key()}}).Touched)
		for _, f := range engine.All() {
			if got := f.Actions[0].(Output).Port; got != b.ID {
				t.Errorf("output to %d is left, want %d", got, b.ID)
			}
		}
	}
	if cookies[0] != cookies[1] {
		t.Errorf("the order of arrival decided: %#x, %#x", cookies[0], cookies[1])
	}
}

func TestOwner(t *testing.T) {
	model := grid(1, 2)
	engine := NewEngine(model)
	engine.Update(Everything(model))
	for cookie, f := range engine.All() {
		if f.Table != TableNeighbour || f.Priority == prioMiss || f.Priority == prioTrace {
			continue
		}
		rule, key, ok := engine.Owner(cookie)
		if !ok || rule != "switch-port" && rule != "interface" || key.Kind != topology.KindSwitchPort && key.Kind != topology.KindInterface {
			t.Errorf("cookie %#x leads to rule %q on %v", cookie, rule, key)
		}
	}
	if _, _, ok := engine.Owner(1); ok {
		t.Error("a foreign cookie has an owner")
	}
}

// Every table that a packet can be sent to is declared, in order, and has an
// answer for a packet that nothing matches.
func TestTables(t *testing.T) {
	model := grid(1, 1)
	all, problems := Compile(model)
	if len(problems) > 0 {
		t.Error(problems)
	}
	declared, missed := map[Table]bool{}, map[Table]bool{}
	for i, info := range Tables {
		if i > 0 && info.Table <= Tables[i-1].Table {
			t.Errorf("table %s is out of order", info.Name)
		}
		declared[info.Table] = true
	}
	drops := 0
	for _, f := range all {
		if len(f.Flow.Match) == 0 {
			missed[f.Flow.Table] = true
		}
		if len(f.Flow.Actions) == 0 {
			drops++
		}
		for _, a := range f.Flow.Actions {
			switch a := a.(type) {
			case Goto:
				if !declared[a.Table] {
					t.Errorf("goto to undeclared table %d", a.Table)
				}
			case Resubmit:
				if !declared[a.Table] {
					t.Errorf("resubmit to undeclared table %d", a.Table)
				}
			}
		}
	}
	for table := range declared {
		if !missed[table] {
			t.Errorf("table %s drops silently what nothing matches", table)
		}
	}
	if drops != 1 {
		t.Errorf("%d flows drop, want the one of table drop", drops)
	}
}

func remotePort(sw string, n int) topology.SwitchPort {
	var s int
	fmt.Sscanf(sw, "ls%d", &s)
	ip := netip.AddrFrom4([4]byte{10, byte(s), byte(n / 250), byte(2 + n%250)})
	return topology.SwitchPort{Switch: sw, Name: fmt.Sprintf("%s-p%d", sw, n), IP: ip, MAC: topology.MACFromIP(ip), Chassis: fmt.Sprint("hv", n%8)}
}

// grid makes switches of ports each, joined by one router, the first port of
// each switch local.
func grid(switches, ports int) *topology.Model {
	m := topology.NewModel()
	var c []topology.Change
	add := func(e topology.Entity) {
		c = append(c, topology.Change{Key: e.Key(), Entity: e, Created: int64(len(c) + 1)})
	}
	add(topology.Node{Chassis: "self", IP: netip.MustParseAddr("172.16.0.1")})
	add(topology.Router{Name: "lr", ID: 1})
	for h := range 8 {
		add(topology.Tunnel{Chassis: fmt.Sprint("hv", h), OFPort: uint32(100 + h)})
	}
	for s := range switches {
		sw := fmt.Sprint("ls", s)
		add(topology.Switch{Name: sw, ID: uint32(2 + s)})
		gw := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 1}), 16)
		add(topology.SwitchPort{Switch: sw, Name: sw + "_to_lr", IP: gw.Addr(), MAC: topology.MACFromIP(gw.Addr()), Peer: "lr_to_" + sw})
		add(topology.RouterPort{Router: "lr", Name: "lr_to_" + sw, Net: gw, MAC: topology.MACFromIP(gw.Addr()), Peer: sw + "_to_lr"})
		for p := range ports {
			port := remotePort(sw, p)
			if p == 0 {
				port.Chassis = "self"
				add(topology.Interface{Port: port.Name, OFPort: uint32(200 + s)})
			}
			add(port)
		}
	}
	m.Apply(c)
	return m
}
