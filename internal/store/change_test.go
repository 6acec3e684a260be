package store

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

func TestCreateAndDelete(t *testing.T) {
	s := start(t)
	made := mustCreate(t, s, topology.Switch{Name: "LS-A"}, topology.Router{Name: "LR-1", Chassis: "hv1"})
	if made[0] != (topology.Switch{Name: "LS-A", ID: 1}) || made[1] != (topology.Router{Name: "LR-1", ID: 2, Chassis: "hv1"}) {
		t.Errorf("got %v", made)
	}
	link := port("LS-A", "LS-A_to_LR-1", "10.0.0.1")
	link.Peer = "LR-1_to_LS-A"
	mustCreate(t, s, link, routerPort("LR-1", "LR-1_to_LS-A", "10.0.0.1/24", link.Name))
	route := topology.StaticRoute{Router: "LR-1", Name: "out", Net: netip.MustParsePrefix("0.0.0.0/0"), NextHop: netip.MustParseAddr("10.0.0.9"), OutPort: "p"}
	nat := topology.NAT{Router: "LR-1", Name: "snat", Net: netip.MustParsePrefix("10.0.0.0/8"), XlateIP: netip.MustParseAddr("1.2.3.4"), Type: topology.SNAT}
	mustCreate(t, s, route, nat, topology.Chassis{Name: "hv1", IP: netip.MustParseAddr("192.168.1.1"), Tick: 7})

	want := map[string]string{
		"globals/version":                      "1",
		"globals/device_ids":                   "OjAAAAEAAAAAAAEAEAAAAAEAAgA=",
		"entity_view/LS/LS-A":                  "id=1",
		"entity_view/LS/LS-A/lsp/LS-A_to_LR-1": "ip=10.0.0.1,mac=f2:01:0a:00:00:01,peer=LR-1_to_LS-A",
		"entity_view/LR/LR-1":                  "id=2,chassis=hv1",
		"entity_view/LR/LR-1/lrp/LR-1_to_LS-A": "ip=10.0.0.1,prefix=24,mac=f2:01:0a:00:00:01,peer=LS-A_to_LR-1",
		"entity_view/LR/LR-1/lsr/out":          "ip=0.0.0.0,prefix=0,next_hop=10.0.0.9,outport=p",
		"entity_view/LR/LR-1/lnat/snat":        "ip=10.0.0.0,prefix=8,xlate_ip=1.2.3.4,xlate_type=snat",
		"entity_view/chassis/hv1":              "ip=192.168.1.1,tick=7",
		"ip_book/LS/LS-A":                      "OjAAAAEAAAAAAAAAEAAAAAEA",
		"ip_book/LR/LR-1":                      "OjAAAAEAAAAAAAAAEAAAAAEA",
	}
	got := dump(t, s)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("also stored: %v", got)
	}

	if e, err := s.Get(t.Context(), link.Key()); err != nil || e != link {
		t.Errorf("got %v, %v", e, err)
	}
	for _, key := range []topology.Key{made[0].Key(), made[1].Key()} {
		wantError(t, s.Delete(t.Context(), key, false), ErrNotEmpty, `consider using "-r"?`)
	}
	mustDelete(t, s, link.Key(), false)
	mustDelete(t, s, made[0].Key(), false)
	if e, err := s.Create(t.Context(), topology.Switch{Name: "LS-B"}); err != nil || e[0].(topology.Switch).ID != 1 {
		t.Errorf("got %v, %v, want the id that is free again", e, err)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "LS-B"}, true)
	mustDelete(t, s, made[1].Key(), true)
	mustDelete(t, s, topology.Key{Kind: topology.KindChassis, Name: "hv1"}, false)
	wantOnlyGlobals(t, s)
}

func TestCreateRefuses(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"}, port("S", "a", "10.0.0.1"), topology.Router{Name: "R"}, routerPort("R", "a", "10.0.0.1/8", ""))
	before := dump(t, s)
	for _, tt := range []struct {
		create []topology.Stored
		kind   error
		words  string
	}{
		{[]topology.Stored{topology.Switch{Name: "S"}}, ErrExists, "switch S already exists"},
		{[]topology.Stored{topology.Switch{Name: "new"}, topology.Switch{Name: "new"}}, ErrExists, "switch new already exists"},
		{[]topology.Stored{topology.Switch{Name: "new", ID: 2}}, ErrExists, "id 2 already exists"},
		{[]topology.Stored{topology.Switch{Name: "new", ID: 1 << 24}}, nil, "invalid id"},
		{[]topology.Stored{topology.Switch{Name: "a/b"}}, nil, `"/" is not allowed`},
		{[]topology.Stored{topology.Switch{Name: " "}}, nil, "contains only spaces"},
		{[]topology.Stored{port("", "p", "10.0.0.2")}, nil, "contains only spaces"},
		{[]topology.Stored{port("gone", "p", "10.0.0.2")}, ErrNotFound, "switch gone not found"},
		{[]topology.Stored{routerPort("gone", "p", "10.0.0.2/24", "")}, ErrNotFound, "router gone not found"},
		{[]topology.Stored{port("S", "a", "10.0.0.2")}, ErrExists, "switch S port a already exists"},
		{[]topology.Stored{port("S", "b", "10.0.0.1")}, ErrConflict, "conflict with other IP, port a has it"},
		{[]topology.Stored{port("S", "b", "10.1.0.1")}, ErrConflict, "conflict with other IP, 10.0.0.1 of port a: ports of a switch are told apart by the low 16 bits of their addresses, so a switch cannot be wider than /16"},
		{[]topology.Stored{port("S", "b", "10.0.0.2"), port("S", "c", "10.0.0.2")}, ErrConflict, "conflict with other IP"},
		{[]topology.Stored{routerPort("R", "b", "10.1.0.1/24", "")}, ErrConflict, "conflict with other IP"},
		{[]topology.Stored{topology.SwitchPort{Switch: "S", Name: "b"}}, nil, "invalid IP"},
		{[]topology.Stored{routerPort("R", "b", "10.0.0.2/24", "x,mac=f2:01:00:00:00:01")}, nil, "commas"},
		{slices.Repeat([]topology.Stored{topology.Switch{Name: "many"}}, 2), ErrExists, ""},
	} {
		made, err := s.Create(t.Context(), tt.create...)
		wantError(t, err, tt.kind, tt.words)
		if made != nil {
			t.Errorf("returned %v with an error", made)
		}
	}
	var many []topology.Stored
	for i := range maxOps {
		many = append(many, topology.Switch{Name: fmt.Sprint("s", i)})
	}
	_, err := s.Create(t.Context(), many...)
	wantError(t, err, nil, "too much for one transaction")
	if after := dump(t, s); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("something was written:\n%v\n%v", before, after)
	}
	wantError(t, s.Delete(t.Context(), topology.Key{Kind: topology.KindNAT, Parent: "R", Name: "x"}, false), ErrNotFound, "router R NAT x not found")
	_, err = s.Get(t.Context(), topology.Key{Kind: topology.KindSwitch, Name: "x"})
	wantError(t, err, ErrNotFound, "switch x not found")
}

func TestRecursiveDeleteOfManyPorts(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"}, topology.Switch{Name: "S-2"}, port("S-2", "p", "10.0.0.1"))
	for i := range 300 {
		if _, err := s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: fmt.Sprint("p", i)}, netip.MustParsePrefix("10.0.0.0/16"), nil); err != nil {
			t.Fatal(err)
		}
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S"}, true)
	if left, _, err := s.List(t.Context(), topology.KindSwitchPort, ""); err != nil || len(left) != 1 {
		t.Errorf("%d ports are left, want that of the other switch (%v)", len(left), err)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S-2"}, true)
	wantOnlyGlobals(t, s)
}

// What others wrote without an id in device_ids, or twice.
func TestWhatOthersWrote(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "A"}, port("A", "a", "10.0.0.1"))
	put(t, s, "entity_view/LS/B", "id=1")
	put(t, s, "entity_view/LS/A/lsp/b", "ip=10.0.0.1,mac=f2:01:00:00:00:02")
	put(t, s, "entity_view/LS/A/lsp/bad", "hello")
	put(t, s, "entity_view/LR/plain", "id=9")
	put(t, s, "entity_view/LR/plain/lrp/x", "ip=10.3.0.4,prefix=24,mac=f2:01:00:00:00:09")

	ports, bad, err := s.List(t.Context(), topology.KindSwitchPort, "A")
	if err != nil || len(ports) != 2 || len(bad) != 1 || bad[0].Key.Name != "bad" {
		t.Errorf("got %v, %v, %v", ports, bad, err)
	}
	// The address and the id stay taken as long as one has them.
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitchPort, Parent: "A", Name: "b"}, false)
	_, err = s.Create(t.Context(), port("A", "c", "10.0.0.1"))
	wantError(t, err, ErrConflict, "port a has it")
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "B"}, false)
	if made := mustCreate(t, s, topology.Switch{Name: "C"}); made[0].(topology.Switch).ID != 2 {
		t.Errorf("got %v, want the id 2, as A has 1", made)
	}
	// A missing ip_book is made from the ports.
	_, err = s.Create(t.Context(), routerPort("plain", "y", "10.3.0.4/24", ""))
	wantError(t, err, ErrConflict, "port x has it")
	mustDelete(t, s, topology.Key{Kind: topology.KindRouterPort, Parent: "plain", Name: "x"}, false)
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitchPort, Parent: "A", Name: "bad"}, false)
	for _, key := range []topology.Key{{Kind: topology.KindRouter, Name: "plain"}, {Kind: topology.KindSwitch, Name: "C"}, {Kind: topology.KindSwitch, Name: "A"}} {
		mustDelete(t, s, key, true)
	}
	wantOnlyGlobals(t, s)
}

func TestCorruptBooks(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "A"}, port("A", "a", "10.0.0.1"))
	put(t, s, "ip_book/LS/A", "???")
	_, err := s.Create(t.Context(), port("A", "b", "10.0.0.2"))
	wantError(t, err, nil, "/tuplenet/ip_book/LS/A is corrupt", "tpctl toolbox rebuild-ip-book")
	put(t, s, "globals/device_ids", "OjAAAAEAAAA=")
	_, err = s.Create(t.Context(), topology.Switch{Name: "B"})
	wantError(t, err, nil, "/tuplenet/globals/device_ids is corrupt", "tpctl toolbox sync-device-map")
	// An address that is taken though no port has it.
	put(t, s, "ip_book/LS/A", "OjAAAAEAAAAAAAEAEAAAAAEAAgA=")
	_, err = s.Create(t.Context(), port("A", "b", "10.0.0.2"))
	wantError(t, err, ErrConflict, "no port has", "rebuild-ip-book")

	// The remedies that the errors name.
	put(t, s, "ip_book/LR/gone", "OjAAAAEAAAAAAAEAEAAAAAEAAgA=")
	if err := s.SyncDeviceIDs(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "ip_book/LR/a/b", "no book")
	if n, err := s.RebuildIPBooks(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d books, %v", n, err)
	}
	if dump(t, s)["ip_book/LR/a/b"] != "no book" {
		t.Error("what is no book is gone")
	}
	if _, err := s.client.Delete(t.Context(), string(s.layout)+"ip_book/LR/a/b"); err != nil {
		t.Fatal(err)
	}
	made := mustCreate(t, s, topology.Switch{Name: "B"}, port("A", "b", "10.0.0.2"))
	if id := made[0].(topology.Switch).ID; id != 2 {
		t.Errorf("the new switch has id %d, want the lowest that is free", id)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "A"}, true)
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "B"}, false)
	wantOnlyGlobals(t, s)
}

func TestAllocatePort(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"}, port("S", "taken", "10.0.0.3"))
	subnet, gateway := netip.MustParsePrefix("10.0.0.5/29"), func(ip netip.Addr) bool { return ip == netip.MustParseAddr("10.0.0.1") }
	var got []string
	for i := range 4 {
		p, err := s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: fmt.Sprint("p", i)}, subnet, gateway)
		if err != nil {
			t.Fatal(err)
		}
		if p.MAC != topology.MACFromIP(p.IP) {
			t.Errorf("%v has not the MAC of its address", p)
		}
		got = append(got, p.IP.String())
	}
	if want := "10.0.0.2 10.0.0.4 10.0.0.5 10.0.0.6"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	_, err := s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: "more"}, subnet, gateway)
	wantError(t, err, ErrFull, "switch S port more: no free address in 10.0.0.0/29")
	_, err = s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: "p0"}, netip.MustParsePrefix("10.0.1.0/24"), nil)
	wantError(t, err, ErrExists, "switch S port p0 already exists")
	_, err = s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "T", Name: "p0"}, subnet, nil)
	wantError(t, err, ErrNotFound, "switch T not found")
	for _, none := range []string{"10.9.0.0/31", "10.9.0.0/32"} {
		_, err = s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: "more"}, netip.MustParsePrefix(none), nil)
		wantError(t, err, ErrFull)
	}
}

func TestHosts(t *testing.T) {
	for cidr, want := range map[string]int{"10.0.0.0/24": 254, "10.0.0.0/30": 2, "10.0.0.0/31": 0, "10.0.0.0/32": 0, "10.0.0.0/16": 65534, "0.0.0.0/0": 65536} {
		n := 0
		for range hosts(netip.MustParsePrefix(cidr)) {
			n++
		}
		if n != want {
			t.Errorf("%s has %d hosts, want %d", cidr, n, want)
		}
	}
}

func TestBindKeepsOtherPairs(t *testing.T) {
	s := start(t)
	key := topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: "p"}
	wantError(t, s.Bind(t.Context(), key, "hv1"), ErrNotFound, "switch S port p not found")
	put(t, s, "entity_view/LS/S/lsp/p", "x=1,mac=f2:01:00:00:00:01,ip=10.0.0.1,peer=r,ip6=fd00::1")
	if err := s.Bind(t.Context(), key, "hv1"); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, s)["entity_view/LS/S/lsp/p"], "ip=10.0.0.1,mac=f2:01:00:00:00:01,peer=r,chassis=hv1,ip6=fd00::1,x=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, before, err := s.get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(t.Context(), key, "hv1"); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := s.get(t.Context(), key); after != before {
		t.Error("binding to the same chassis wrote again")
	}
}
