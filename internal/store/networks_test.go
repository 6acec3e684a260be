package store

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// network is one with a switch and a link of its own.
func network(id string) Network {
	return Network{ID: id, Switch: id, Made: true, Router: "R", Subnet: netip.MustParsePrefix("10.20.3.0/24"),
		Gateway: netip.MustParseAddr("10.20.3.1"), Scope: ScopeLocal, Chassis: "hv1"}
}

func mustCreateNetwork(t *testing.T, s *Store, n Network) {
	t.Helper()
	if err := s.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestCreateNetwork(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"})
	reserved, err := s.ReserveSubnet(t.Context(), []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24")}, 24, "hv1")
	if err != nil || reserved.String() != "10.20.3.0/24" {
		t.Fatalf("got %s, %v", reserved, err)
	}
	mustCreateNetwork(t, s, network("n1"))
	want := map[string]string{
		"globals/version":            "1",
		"globals/device_ids":         "",
		"entity_view/LR/R":           "id=1",
		"entity_view/LR/R/lrp/to_n1": "ip=10.20.3.1,prefix=24,mac=f2:01:0a:14:03:01,peer=to_R",
		"entity_view/LS/n1":          "id=2",
		"entity_view/LS/n1/lsp/to_R": "ip=10.20.3.1,mac=f2:01:0a:14:03:01,peer=to_n1",
		"ip_book/LR/R":               "",
		"ip_book/LS/n1":              "",
		"cnm/network/n1":             `{"switch":"n1","made":true,"router":"R","subnet":"10.20.3.0/24","gateway":"10.20.3.1","scope":"local","chassis":"hv1"}`,
	}
	for key, value := range dump(t, s) {
		if text, ok := want[key]; !ok || text != "" && text != value {
			t.Errorf("%s = %s, want %q", key, value, text)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", slices.Sorted(maps.Keys(want)))
	}
	if n, err := s.Network(t.Context(), "n1"); err != nil || n != network("n1") {
		t.Errorf("got %+v, %v", n, err)
	}

	// The next one's port has another name, as ports are found by their names.
	second := network("n2")
	second.Subnet, second.Gateway = netip.MustParsePrefix("10.20.4.0/24"), netip.MustParseAddr("10.20.4.1")
	mustCreateNetwork(t, s, second)
	if e, err := s.Get(t.Context(), topology.SwitchPort{Switch: "n2", Name: "n2_to_R"}.Key()); err != nil || e.(topology.SwitchPort).Peer != "to_n2" {
		t.Errorf("got %v, %v", e, err)
	}
	// One on a switch that is there makes nothing but its record.
	third := Network{ID: "n3", Switch: "n1", Subnet: second.Subnet, Scope: ScopeGlobal, Chassis: "hv2"}
	before := len(dump(t, s))
	mustCreateNetwork(t, s, third)
	if after := len(dump(t, s)); after != before+1 {
		t.Errorf("%d keys were made, want 1", after-before)
	}
	if all, err := s.Networks(t.Context()); err != nil || len(all) != 3 || all[0].ID != "n1" || all[1] != second || all[2] != third {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestCreateNetworkRefuses(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"}, topology.Router{Name: "full"}, routerPort("full", "to_n1", "10.9.0.1/24", ""), topology.Switch{Name: "taken"})
	mustCreateNetwork(t, s, network("there"))
	before := dump(t, s)
	for _, tt := range []struct {
		name string
		edit func(*Network)
		kind error
		says string
	}{
		{"a record that is there", func(n *Network) { n.ID, n.Switch = "there", "there" }, ErrExists, "network there already exists"},
		{"a switch that is there", func(n *Network) { n.ID, n.Switch = "taken", "taken" }, ErrExists, "switch taken already exists"},
		{"a switch that was made for nothing", func(n *Network) { n.Switch = "taken" }, nil, "switch taken has another name"},
		{"a subnet that is too wide", func(n *Network) { n.Subnet = netip.MustParsePrefix("10.0.0.0/8") }, nil, "invalid subnet 10.0.0.0/8"},
		{"a name that cannot be shown", func(n *Network) { n.Name = "a\x1b[2J" }, nil, "invalid name"},
		{"a switch that is not there", func(n *Network) { n.Made, n.Switch = false, "nowhere" }, ErrNotFound, "switch nowhere not found"},
		{"a router that is not there", func(n *Network) { n.Router = "nowhere" }, ErrNotFound, "router nowhere not found"},
		{"a router's port that is there", func(n *Network) { n.Router = "full" }, ErrExists, "port to_n1 already exists"},
		{"an id that is no name", func(n *Network) { n.ID = "a/b" }, nil, `"/" is not allowed`},
		{"no switch", func(n *Network) { n.Switch = "" }, nil, "invalid name"},
		{"IPv6", func(n *Network) { n.Subnet = netip.MustParsePrefix("fd00::/64") }, nil, "invalid subnet"},
		{"host bits", func(n *Network) { n.Subnet = netip.MustParsePrefix("10.20.3.1/24") }, nil, "invalid subnet"},
		{"a gateway elsewhere", func(n *Network) { n.Gateway = netip.MustParseAddr("10.20.4.1") }, nil, "gateway 10.20.4.1 is not in the subnet"},
	} {
		n := network("n1")
		tt.edit(&n)
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, s.CreateNetwork(t.Context(), n), tt.kind, tt.says)
			if after := dump(t, s); !maps.Equal(before, after) {
				t.Errorf("something was written: %v", after)
			}
		})
	}
}

// All make a network at the router at once: each link has ports that nobody else has.
func TestCreateNetworksTogether(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	mustCreate(t, s, topology.Router{Name: "R"})
	var all sync.WaitGroup
	for i := range 8 {
		other := open(t, server)
		all.Go(func() {
			n := network(fmt.Sprint("n", i))
			n.Subnet, n.Gateway = netip.MustParsePrefix(fmt.Sprintf("10.20.%d.0/24", i)), netip.MustParseAddr(fmt.Sprintf("10.20.%d.1", i))
			if err := other.CreateNetwork(t.Context(), n); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ports, _, err := s.List(t.Context(), topology.KindSwitchPort, "")
	if err != nil || len(ports) != 8 {
		t.Fatalf("there are %d ports, %v", len(ports), err)
	}
	names := map[string]bool{}
	for _, port := range ports {
		if names[port.Key().Name] {
			t.Errorf("there are two ports %s", port.Key().Name)
		}
		names[port.Key().Name] = true
	}
}

func TestDeleteNetwork(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"})
	before := dump(t, s)
	mustCreateNetwork(t, s, network("n1"))
	onIt := Network{ID: "n2", Name: "web", Switch: "n1", Subnet: network("n1").Subnet, Scope: ScopeLocal, Chassis: "hv2"}
	mustCreateNetwork(t, s, onIt)

	wantError(t, s.DeleteNetwork(t.Context(), "n1"), ErrNotEmpty, "network web of host hv2 is on it, too")
	if err := s.DeleteNetwork(t.Context(), "n2"); err != nil {
		t.Error(err)
	}
	wantError(t, s.DeleteNetwork(t.Context(), "n2"), ErrNotFound, "network n2")

	endpoint := port("n1", "e1", "10.20.3.2")
	endpoint.Chassis = "hv1"
	mustCreate(t, s, endpoint)
	wantError(t, s.DeleteNetwork(t.Context(), "n1"), ErrNotEmpty, "switch n1", "1 ports, such as e1 (10.20.3.2 on host hv1)", "tpctl lsp show n1")
	mustDelete(t, s, endpoint.Key(), false)

	if err := s.DeleteNetwork(t.Context(), "n1"); err != nil {
		t.Error(err)
	}
	if after := dump(t, s); !maps.Equal(before, after) {
		t.Errorf("left: %v", after)
	}

	// Whatever others have taken away before, the rest goes.
	for _, key := range []topology.Key{topology.RouterPort{Router: "R", Name: "to_n1"}.Key(), topology.SwitchPort{Switch: "n1", Name: "to_R"}.Key(),
		{Kind: topology.KindSwitch, Name: "n1"}} {
		mustCreateNetwork(t, s, network("n1"))
		mustDelete(t, s, key, key.Kind == topology.KindSwitch)
		if err := s.DeleteNetwork(t.Context(), "n1"); err != nil {
			t.Errorf("without %s: %v", key, err)
		}
		if after := dump(t, s); !maps.Equal(before, after) {
			t.Errorf("without %s: left: %v", key, after)
		}
	}
}

// A network is deleted while others put networks and endpoints on its switch:
// whoever comes first, nothing is on a switch that is gone.
func TestDeleteNetworkAgainstOthers(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	first, second, third := open(t, server), open(t, server), open(t, server)
	mustCreate(t, first, topology.Router{Name: "R"})
	for range 20 {
		mustCreateNetwork(t, first, network("n1"))
		var all sync.WaitGroup
		all.Go(func() {
			if err := first.DeleteNetwork(t.Context(), "n1"); err != nil && !errors.Is(err, ErrNotEmpty) {
				t.Error(err)
			}
		})
		all.Go(func() {
			n := Network{ID: "n2", Switch: "n1", Subnet: network("n1").Subnet, Scope: ScopeLocal, Chassis: "hv2"}
			if err := second.CreateNetwork(t.Context(), n); err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := third.Create(t.Context(), port("n1", "e1", "10.20.3.2")); err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
		all.Wait()
		keys := dump(t, first)
		_, there := keys["entity_view/LS/n1"]
		for _, key := range []string{"cnm/network/n1", "cnm/network/n2", "entity_view/LS/n1/lsp/e1", "entity_view/LR/R/lrp/to_n1"} {
			if _, ok := keys[key]; ok && !there {
				t.Fatalf("there is %s, but not its switch: %v", key, keys)
			}
		}
		for key := range keys { // for the next round
			if key != "globals/version" && !strings.HasPrefix(key, "entity_view/LR/R") {
				if _, err := first.client.Delete(t.Context(), string(first.layout)+key); err != nil {
					t.Fatal(err)
				}
			}
		}
		mustDelete(t, first, topology.Key{Kind: topology.KindRouter, Name: "R"}, true)
		mustCreate(t, first, topology.Router{Name: "R"})
	}
}

func TestChangeNetwork(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"})
	mustCreateNetwork(t, s, network("n1"))
	rename := func(n *Network) { n.Name = "tp-docker-net1" }
	for range 2 {
		if err := s.ChangeNetwork(t.Context(), "n1", rename); err != nil {
			t.Error(err)
		}
	}
	want := network("n1")
	want.Name = "tp-docker-net1"
	if n, err := s.Network(t.Context(), "n1"); err != nil || n != want || n.String() != "tp-docker-net1" {
		t.Errorf("got %+v, %v", n, err)
	}
	wantError(t, s.ChangeNetwork(t.Context(), "n2", rename), ErrNotFound, "network n2")
	wantError(t, s.ChangeNetwork(t.Context(), "n1", func(n *Network) { n.Gateway = netip.MustParseAddr("1.2.3.4") }), nil, "gateway 1.2.3.4")
}

// What others wrote is told by who asks for it, and does not hide the rest.
func TestInvalidNetworks(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"})
	mustCreateNetwork(t, s, network("good"))
	for id, text := range map[string]string{
		"a": ``, "b": `[]`, "c": `{"switch":"x","subnet":"10.0.0.0"}`, "d": `{"switch":"x/y","subnet":"10.0.0.0/16"}`, "e": `{"subnet":"10.0.0.0/16"}`,
		"f": `{"switch":"x","subnet":"10.0.0.0/16","gateway":"nobody"}`, "g": `{"switch":"x","subnet":"10.0.0.0/16","chassis":"a/b"}`,
		"h": `{"switch":"x","subnet":"0.0.0.0/0"}`, "i": `{"switch":"x","made":true,"subnet":"10.0.0.0/16"}`, "j": `{"name":"a\u001b[2J","switch":"x","subnet":"10.0.0.0/16"}`,
	} {
		put(t, s, "cnm/network/"+id, text)
		_, err := s.Network(t.Context(), id)
		wantError(t, err, nil, "network "+id)
	}
	put(t, s, "cnm/network/a/b", `{"switch":"x","subnet":"10.0.0.0/16"}`)
	_, err := s.Network(t.Context(), "a/b")
	wantError(t, err, nil, `"/" is not allowed`)
	if all, err := s.Networks(t.Context()); err != nil || len(all) != 1 || all[0].ID != "good" {
		t.Errorf("got %v, %v", all, err)
	}
}
