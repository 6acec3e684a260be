package ctl

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/manifest"
	"tuplenet/internal/topology"
)

func cidr(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr   { return netip.MustParseAddr(s) }

// link returns the ports of a link, as "lr link" makes them.
func link(router, sw, network string) []topology.Stored {
	sp, rp := manifest.Link(router, sw, cidr(network))
	return []topology.Stored{sp, rp}
}

// virtual is a network with one router and nothing of an edge.
func virtual() []topology.Stored {
	return append(link("LR-central", "LS-A", "10.20.1.1/24"),
		topology.Router{Name: "LR-central", ID: 1},
		topology.Switch{Name: "LS-A", ID: 2},
		topology.SwitchPort{Switch: "LS-A", Name: "web", IP: addr("10.20.1.10"), MAC: topology.MACFromIP(addr("10.20.1.10"))},
		topology.Chassis{Name: "hv1", IP: addr("172.16.0.1")},
		topology.Chassis{Name: "hv2", IP: addr("172.16.0.2")},
	)
}

func first() initArgs {
	return initArgs{
		wanted:  wanted{vip: cidr("192.168.1.20/24"), inner: cidr("100.64.88.100/24"), chassis: "hv1", bridge: "br0"},
		virt:    cidr("10.20.0.0/16"),
		gateway: addr("192.168.1.1"),
	}
}

// translated is first with a pool of external addresses, one of them the edge's
// own.
func translated() initArgs {
	a := first()
	a.snat = []netip.Addr{addr("192.168.1.30"), addr("192.168.1.20")}
	return a
}

// floatingIPs returns a network with a floating IP on its first edge.
func floatingIPs(n *network) *network {
	rule := topology.NAT{Router: "tp_LR_edge1", Name: "in", Net: cidr("10.20.1.10/32"), XlateIP: addr("192.168.1.50"), Type: topology.DNAT}
	back := rule
	back.Name, back.Type = "out", topology.SNAT
	return newNetwork(append(slices.Clone(n.entities), rule, back))
}

func second() wanted { return wanted{vip: cidr("192.168.1.21/24"), chassis: "hv2"} }

// apply returns what a network is after some steps of a plan.
func apply(t *testing.T, n *network, steps []step) *network {
	t.Helper()
	all := slices.Clone(n.entities)
	for _, st := range steps {
		for _, e := range st.makes {
			if slices.ContainsFunc(all, func(o topology.Stored) bool { return o.Key() == e.Key() }) {
				t.Fatalf("%s: %s exists", st, e.Key())
			}
			all = append(all, e)
		}
		if st.verb != "del" {
			continue
		}
		kinds := map[string]topology.Kind{"ls": topology.KindSwitch, "lsp": topology.KindSwitchPort, "lr": topology.KindRouter,
			"lrp": topology.KindRouterPort, "lsr": topology.KindStaticRoute}
		key := topology.Key{Kind: kinds[st.object], Name: st.args[0]}
		if len(st.args) == 2 {
			key = topology.Key{Kind: kinds[st.object], Parent: st.args[0], Name: st.args[1]}
		}
		if !slices.ContainsFunc(all, func(o topology.Stored) bool { return o.Key() == key }) {
			t.Fatalf("%s: %s not found", st, key)
		}
		all = slices.DeleteFunc(all, func(o topology.Stored) bool {
			return o.Key() == key || key.Kind.Parent() == 0 && o.Key().Kind.Parent() == key.Kind && o.Key().Parent == key.Name
		})
	}
	return newNetwork(all)
}

func (p plan) steps() []step { return slices.Concat(p.first, p.then) }

func (n *network) String() string {
	var b strings.Builder
	for _, e := range n.entities {
		fmt.Fprintln(&b, e.Key(), bare(e).Value())
	}
	return b.String()
}

func wantSame(t *testing.T, got, want *network) {
	t.Helper()
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// However far a run has come, another one finishes the road, and "edge remove"
// takes away what there is; and removing it can be interrupted anywhere, too.
func TestInterruptedRoads(t *testing.T) {
	without := newNetwork(virtual())
	p, err := without.planInit(first())
	if err != nil {
		t.Fatal(err)
	}
	with1 := apply(t, without, p.steps())
	more := second()
	q, err := with1.planAdd(more)
	if err != nil {
		t.Fatal(err)
	}
	with2 := apply(t, with1, q.steps())

	nat, err := without.planInit(translated())
	if err != nil {
		t.Fatal(err)
	}
	natWith1 := apply(t, without, nat.steps())
	copied, moreNAT := floatingIPs(natWith1), second()
	moreNAT.snat = []netip.Addr{addr("192.168.1.31"), addr("192.168.1.32")}
	natAdd, err := copied.planAdd(moreNAT)
	if err != nil {
		t.Fatal(err)
	}
	natWith2 := apply(t, copied, natAdd.steps())

	for _, road := range []struct {
		name         string
		before, full *network
		steps        []step
		vip          netip.Addr
		plan         func(*network) (plan, error)
	}{
		{"init", without, with1, p.steps(), addr("192.168.1.20"), func(n *network) (plan, error) { return n.planInit(first()) }},
		{"add", with1, with2, q.steps(), addr("192.168.1.21"), func(n *network) (plan, error) { return n.planAdd(more) }},
		{"init with NAT", without, natWith1, nat.steps(), addr("192.168.1.20"), func(n *network) (plan, error) { return n.planInit(translated()) }},
		{"add with NAT", copied, natWith2, natAdd.steps(), addr("192.168.1.21"), func(n *network) (plan, error) { return n.planAdd(moreNAT) }},
	} {
		for cut := range len(road.steps) + 1 {
			t.Run(fmt.Sprintf("%s cut after %d", road.name, cut), func(t *testing.T) {
				partial := apply(t, road.before, road.steps[:cut])
				rest, err := road.plan(partial)
				if err != nil {
					t.Fatal(err)
				}
				if len(rest.steps()) != len(road.steps)-cut {
					t.Errorf("%d steps remain after %d of %d", len(rest.steps()), cut, len(road.steps))
				}
				wantSame(t, apply(t, partial, rest.steps()), road.full)
				if cut == 0 {
					return
				}
				removal, err := partial.planRemove(road.vip)
				if err != nil {
					t.Fatal(err)
				}
				for cut := range len(removal.steps()) {
					partial := apply(t, partial, removal.steps()[:cut])
					rest, err := partial.planRemove(road.vip)
					if err != nil {
						t.Fatalf("after %d steps of the removal: %v", cut, err)
					}
					wantSame(t, apply(t, partial, rest.steps()), road.before)
				}
			})
		}
	}
}

// No packet takes half a road: the central router's route comes last and goes
// first.
func TestOrderOfSteps(t *testing.T) {
	n := newNetwork(virtual())
	p, err := n.planInit(first())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.then) != 1 || p.then[0].object != "lsr" || p.then[0].args[0] != "LR-central" {
		t.Errorf("after the wait: %v", p.then)
	}
	n = apply(t, n, p.steps())
	if p, err = n.planRemove(addr("192.168.1.20")); err != nil {
		t.Fatal(err)
	}
	if len(p.first) != 1 || p.first[0].String() != "tpctl lsr del LR-central LR-central_0.0.0.0-0_to_100.64.88.100_LR-central_to_tp_LS_m1" {
		t.Errorf("before the wait: %v", p.first)
	}
}

// A road is copied with all its routes, and nothing else of its switches.
func TestAddCopies(t *testing.T) {
	n := newNetwork(virtual())
	p, err := n.planInit(first())
	if err != nil {
		t.Fatal(err)
	}
	n = apply(t, n, p.steps())
	route := func(router, name, network, nextHop, port string) topology.Stored {
		return topology.StaticRoute{Router: router, Name: name, Net: cidr(network), NextHop: addr(nextHop), OutPort: port}
	}
	n = newNetwork(append(n.entities,
		route("LR-central", "lab", "172.30.0.0/16", "100.64.88.100", "LR-central_to_tp_LS_m1"),
		route("LR-central", "elsewhere", "172.31.0.0/16", "100.64.88.7", "LR-central_to_tp_LS_m1"),
		route("tp_LR_edge1", "lab", "172.30.0.0/16", "192.168.1.2", "tp_LR_edge1_to_tp_LS_outside1"),
		route("tp_LR_edge1", "more", "10.30.0.0/16", "100.64.88.254", "tp_LR_edge1_to_tp_LS_m1"),
	))
	if p, err = n.planAdd(second()); err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, st := range p.steps() {
		if st.object == "lsr" {
			routes = append(routes, strings.Join(append([]string{st.args[0]}, st.args[2:]...), " "))
		}
	}
	want := []string{
		"tp_LR_edge2 0.0.0.0/0 192.168.1.1 tp_LR_edge2_to_tp_LS_outside2",
		"tp_LR_edge2 172.30.0.0/16 192.168.1.2 tp_LR_edge2_to_tp_LS_outside2",
		"tp_LR_edge2 10.30.0.0/16 100.64.88.253 tp_LR_edge2_to_tp_LS_m2",
		"tp_LR_edge2 10.20.0.0/16 100.64.88.253 tp_LR_edge2_to_tp_LS_m2",
		"LR-central 0.0.0.0/0 100.64.88.100 LR-central_to_tp_LS_m2",
		"LR-central 172.30.0.0/16 100.64.88.100 LR-central_to_tp_LS_m2",
	}
	slices.Sort(routes)
	slices.Sort(want)
	if !slices.Equal(routes, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
	if len(p.then) != 2 {
		t.Errorf("%d routes of the central router come last, want 2", len(p.then))
	}
}

// What translates is there before the central router's route: no packet leaves
// untranslated.
func TestTranslationComesFirst(t *testing.T) {
	n := newNetwork(virtual())
	p, err := n.planInit(translated())
	if err != nil {
		t.Fatal(err)
	}
	wantNAT(t, p, "tp_LR_edge1_10.20.0.0-16_snat_192.168.1.30 10.20.0.0/16 snat 192.168.1.30",
		"tp_LR_edge1_10.20.0.0-16_snat_192.168.1.20 10.20.0.0/16 snat 192.168.1.20")
	n = floatingIPs(apply(t, n, p.steps()))

	if _, err := n.planAdd(second()); err == nil || !strings.Contains(err.Error(), "(10.20.0.0/16 to 192.168.1.30)") || strings.Contains(err.Error(), "192.168.1.50") {
		t.Errorf("a road beside one that translates, without a word about NAT: %v", err)
	}
	more := second()
	more.snat = []netip.Addr{addr("192.168.1.31")}
	if p, err = n.planAdd(more); err != nil {
		t.Fatal(err)
	}
	wantNAT(t, p, "tp_LR_edge2_10.20.0.0-16_snat_192.168.1.31 10.20.0.0/16 snat 192.168.1.31",
		"in 10.20.1.10/32 dnat 192.168.1.50", "out 10.20.1.10/32 snat 192.168.1.50")
	more.snat, more.noSNAT = nil, true
	if p, err = n.planAdd(more); err != nil {
		t.Fatal(err)
	}
	wantNAT(t, p, "in 10.20.1.10/32 dnat 192.168.1.50", "out 10.20.1.10/32 snat 192.168.1.50")
}

// wantNAT checks the NAT rules of a plan, without their router, and that all
// of them come before the wait.
func wantNAT(t *testing.T, p plan, want ...string) {
	t.Helper()
	var got []string
	for _, st := range p.first {
		if st.object == "lnat" {
			got = append(got, strings.Join(st.args[1:], " "))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if slices.ContainsFunc(p.then, func(st step) bool { return st.object != "lsr" }) {
		t.Errorf("after the wait: %v", p.then)
	}
}

// A rule that was made by hand counts as the plan's, and networks that lie in
// others need none of their own.
func TestTranslationAsItIs(t *testing.T) {
	n := newNetwork(virtual())
	p, err := n.planInit(first())
	if err != nil {
		t.Fatal(err)
	}
	n = apply(t, n, p.steps())
	n = newNetwork(append(n.entities,
		topology.NAT{Router: "tp_LR_edge1", Name: "mine", Net: cidr("10.20.0.0/16"), XlateIP: addr("192.168.1.30"), Type: topology.SNAT},
		topology.StaticRoute{Router: "tp_LR_edge1", Name: "narrow", Net: cidr("10.20.7.0/24"), NextHop: addr("100.64.88.254"), OutPort: "tp_LR_edge1_to_tp_LS_m1"},
		topology.StaticRoute{Router: "tp_LR_edge1", Name: "other", Net: cidr("10.30.0.0/16"), NextHop: addr("100.64.88.254"), OutPort: "tp_LR_edge1_to_tp_LS_m1"}))
	if p, err = n.planInit(translated()); err != nil {
		t.Fatal(err)
	}
	wantNAT(t, p, "tp_LR_edge1_10.20.0.0-16_snat_192.168.1.20 10.20.0.0/16 snat 192.168.1.20")
	more := second()
	more.snat = []netip.Addr{addr("192.168.1.31")}
	if p, err = n.planAdd(more); err != nil {
		t.Fatal(err)
	}
	wantNAT(t, p, "tp_LR_edge2_10.30.0.0-16_snat_192.168.1.31 10.30.0.0/16 snat 192.168.1.31",
		"tp_LR_edge2_10.20.0.0-16_snat_192.168.1.31 10.20.0.0/16 snat 192.168.1.31")
}

// What is another's stays: the numbers of a road whose switch is taken, and the
// switches that others use.
func TestOthersStay(t *testing.T) {
	n := newNetwork(append(virtual(),
		topology.Switch{Name: "tp_LS_m1", ID: 9},
		topology.SwitchPort{Switch: "tp_LS_m1", Name: "mine", IP: addr("100.64.88.9"), MAC: topology.MACFromIP(addr("100.64.88.9"))}))
	p, err := n.planInit(first())
	if err != nil {
		t.Fatal(err)
	}
	if p.edge != "tp_LR_edge2" {
		t.Errorf("the road is built over %s, want tp_LR_edge2", p.edge)
	}

	// Two edges on one inner switch: the first goes, its switch stays.
	shared := slices.Concat(virtual(), link("LR-central", "m", "100.10.10.1/24"), link("E1", "m", "100.10.10.2/24"), link("E2", "m", "100.10.10.3/24"),
		link("E1", "o1", "192.168.1.20/24"), link("E2", "o2", "192.168.1.21/24"), []topology.Stored{
			topology.Router{Name: "E1", ID: 11, Chassis: "hv1"}, topology.Router{Name: "E2", ID: 12, Chassis: "hv2"},
			topology.Switch{Name: "m", ID: 13}, topology.Switch{Name: "o1", ID: 14}, topology.Switch{Name: "o2", ID: 15},
			patchPort(topology.Key{Parent: "o1", Name: "p1"}, "hv1", "br0"), patchPort(topology.Key{Parent: "o2", Name: "p2"}, "hv2", "br0"),
			topology.StaticRoute{Router: "LR-central", Name: "r1", Net: cidr("0.0.0.0/0"), NextHop: addr("100.10.10.2"), OutPort: "LR-central_to_m"},
			topology.StaticRoute{Router: "LR-central", Name: "r2", Net: cidr("0.0.0.0/0"), NextHop: addr("100.10.10.3"), OutPort: "LR-central_to_m"},
		})
	if p, err = newNetwork(shared).planRemove(addr("192.168.1.20")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range p.steps() {
		got = append(got, st.String())
	}
	want := []string{"tpctl lsr del LR-central r1", "tpctl lsp del m m_to_E1", "tpctl lr del -r E1", "tpctl ls del -r o1"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStepQuotes(t *testing.T) {
	st := step{object: "ls", verb: "del", flag: &recursiveFlag, args: []string{"it's mine"}}
	if got, want := st.String(), `tpctl ls del -r 'it'\''s mine'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whoever interrupts the draining is told how far it got.
func TestCarryOutInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{Env: Env{Out: io.Discard, Err: io.Discard, Flags: map[string]string{yesFlag.Name: "true"}}, ctx: ctx}
	p := plan{then: []step{{object: "ls", verb: "del", args: []string{"m1"}}}}
	err := s.carryOut(p, "", func() error {
		cancel()
		return s.drain(time.Hour)
	})
	if want := "stopped after step 0 of 1; run it again to go on"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
