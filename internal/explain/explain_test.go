package explain

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// network is two switches on a router, with a port plugged in here that has a
// child, one on another host, and names for the ports of the bridge.
func network(t *testing.T) ([]flows.CookieFlow, Names) {
	t.Helper()
	port := func(sw, name, ip, peer, chassis string) topology.SwitchPort {
		addr := netip.MustParseAddr(ip)
		return topology.SwitchPort{Switch: sw, Name: name, IP: addr, MAC: topology.MACFromIP(addr), Peer: peer, Chassis: chassis}
	}
	routerPort := func(name, network, peer string) topology.RouterPort {
		p := netip.MustParsePrefix(network)
		return topology.RouterPort{Router: "R", Name: name, Net: p, MAC: topology.MACFromIP(p.Addr()), Peer: peer}
	}
	pod := port("B", "pod", "10.0.1.5", "", "hv1")
	pod.Parent, pod.Tag, pod.Secured = "a1", 5, true
	m := topology.NewModel()
	var changes []topology.Change
	for i, e := range []topology.Entity{
		topology.Node{Chassis: "hv1", IP: netip.MustParseAddr("192.168.0.1"), MTU: 1400},
		topology.Chassis{Name: "hv2", IP: netip.MustParseAddr("192.168.0.2")},
		topology.Switch{Name: "A", ID: 1}, topology.Switch{Name: "B", ID: 2}, topology.Router{Name: "R", ID: 3},
		port("A", "a1", "10.0.0.1", "", "hv1"), port("A", "A_to_R", "10.0.0.254", "R_to_A", ""),
		port("B", "b1", "10.0.1.1", "", "hv2"), port("B", "B_to_R", "10.0.1.254", "R_to_B", ""),
		routerPort("R_to_A", "10.0.0.254/24", "A_to_R"), routerPort("R_to_B", "10.0.1.254/24", "B_to_R"),
		pod, topology.Interface{Port: "a1", OFPort: 7}, topology.Interface{Port: "pod", OFPort: 7, Tag: 5},
		topology.Tunnel{Chassis: "hv2", OFPort: 8},
	} {
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e, Created: int64(i + 1)})
	}
	m.Apply(changes)
	compiled, mistakes := flows.Compile(m)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return compiled, Names{Model: m, Ports: map[uint32]string{7: "a1 (veth1)", 8: "tunnel to hv2"}}
}

func TestWords(t *testing.T) {
	compiled, names := network(t)
	var lines []string
	for _, f := range compiled {
		lines = append(lines, f.Flow.Table.String()+": "+names.Match(f.Flow)+" -> "+names.Actions(f.Flow))
	}
	for _, want := range []string{
		"classify: in a1 (veth1) -> enter switch A, from a1, go to switch-arp",
		"classify: in a1 (veth1), VLAN tag 5 -> VLAN tag off, may return, enter switch B, from pod, go to switch-security",
		"classify: in a1 (veth1), a VLAN tag -> drop",
		"classify: in a1 (veth1), two VLAN tags -> drop",
		"switch-security: switch B, from pod, from MAC f2:01:0a:00:01:05 (pod), ip, src 10.0.1.5 -> go to switch-arp",
		"switch-security: switch B, from pod, from MAC f2:01:0a:00:01:05 (pod), arp, sender 10.0.1.5, sender MAC f2:01:0a:00:01:05 (pod) -> go to switch-arp",
		"switch-security: ipv6 -> drop",
		"switch-deliver: switch B, to pod -> may return, VLAN tag 5 on, output a1 (veth1)",
		"switch-deliver: switch B, to pod, a VLAN tag -> drop",
		"classify: tunnelled to 192.168.0.1, tunnelled from 192.168.0.2 -> datapath := VNI, option := Geneve option, go to arrival",
		"classify: out of no tunnel -> drop",
		"classify: any -> drop",
		"switch-target: switch A, from a1, arp, request, target 10.0.0.1 -> drop",
		"switch-lookup: switch B, to MAC f2:01:0a:00:01:01 (b1) -> to b1, via tunnel to hv2, go to switch-output",
		"switch-lookup: to many -> drop",
		"switch-lookup: to no MAC -> drop",
		"switch-output: ip -> too large := more than 1414 bytes, go to tunnel",
		"switch-loopback: switch A, not loopback, from a1, to a1 -> drop",
		"switch-deliver: switch A, to a1 -> output a1 (veth1)",
		"switch-deliver: switch A, to A_to_R -> enter router R, from R_to_A, routed by router R, came by R_to_A, not translated, go to router-admit",
		"router-route: router R, ip, dst 10.0.1.0/24 -> to R_to_B, go to router-connected",
		"router-route: ip, ttl 1 -> at most 200/s, tell the agent: ttl_exceeded, drop",
		"router-forward: router R, to R_to_B -> source MAC f2:01:0a:00:01:fe, enter switch B, from B_to_R, may return, go to neighbour",
		"neighbour: switch B, next hop 10.0.1.1 -> destination MAC f2:01:0a:00:01:01 (b1), go to neighbour-done",
		"foreign: any -> ignore",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no flow says %q", want)
		}
	}
	if all := strings.Join(lines, "\n"); t.Failed() {
		t.Log(all)
	}
}

// TestNameless holds flows of which nothing is known to their numbers.
func TestNameless(t *testing.T) {
	f := &flows.Flow{
		Match: []flows.Match{flows.Exact(flows.InPort, 7), flows.Exact(flows.RegDatapath, 9), flows.Masked(flows.RegPorts, 5<<16|4, 0xffffffff),
			flows.Masked(flows.CTState, 1<<3, 1<<3|1<<4)},
		Actions: []flows.Action{flows.Load{Dst: flows.All(flows.RegTunnel), Value: 8}, flows.Output{Port: flows.NoPort},
			flows.Track{Zone: 3, Commit: true, Table: flows.TableRouterOutside,
				NAT: flows.Translation{Type: topology.SNAT, Addr: netip.MustParseAddr("192.0.2.1")}}},
	}
	var nobody Names
	if got, want := nobody.Match(f), "in OpenFlow port 7, datapath 9, from port 4, to port 5, connection reply not invalid"; got != want {
		t.Errorf("match: %s, want %s", got, want)
	}
	if got, want := nobody.Actions(f), "via OpenFlow port 8, output none, connect in zone 3 with src 192.0.2.1, go to router-outside"; got != want {
		t.Errorf("actions: %s, want %s", got, want)
	}
}

// TestDrop holds every flow that leads to the table drop to a reason.
func TestDrop(t *testing.T) {
	compiled, names := network(t)
	reasons := map[trace.Reason]bool{}
	for _, f := range compiled {
		reason, drops := Drop(f.Flow)
		if said := strings.HasSuffix(names.Actions(f.Flow), "drop") && f.Flow.Table != flows.TableDrop; drops != said {
			t.Errorf("%s: %s -> %s: drops %v", f.Flow.Table, names.Match(f.Flow), names.Actions(f.Flow), drops)
		}
		if drops && reason == trace.LostOnTheWay {
			t.Errorf("%s: %s: nobody knows why it drops", f.Flow.Table, names.Match(f.Flow))
		}
		reasons[reason] = true
	}
	for _, want := range []trace.Reason{trace.NoDestination, trace.NotBound, trace.NoRoute, trace.TTL, trace.BFD, trace.Hairpin, trace.NotRouted, trace.RouterGone, trace.Spoofed, trace.WrongTag, trace.NoChassis} {
		if !reasons[want] {
			t.Errorf("no flow drops for %s", want)
		}
	}
	if _, drops := Drop(nil); drops {
		t.Error("a flow that nobody knows drops")
	}
}

func TestIsFor(t *testing.T) {
	of := func(key topology.Key) *Flow { return &Flow{Origin: Own, Object: key} }
	port := of(topology.Key{Kind: topology.KindSwitchPort, Parent: "A", Name: "a1"})
	route := of(topology.Key{Kind: topology.KindStaticRoute, Parent: "R", Name: "default"})
	node := of(topology.Key{Kind: topology.KindNode})
	foreign := &Flow{Origin: Foreign}
	for _, c := range []struct {
		f      *Flow
		object string
		want   bool
	}{
		{port, "a1", true}, {port, "A", true}, {port, "B", false}, {port, "lsp/a1", true}, {port, "ls/A", true},
		{port, "lr/A", false}, {port, "lrp/a1", false},
		{of(topology.Interface{Port: "a1"}.Key()), "lsp/a1", true},
		{of(topology.Demand{Switch: "A", Port: "a1"}.Key()), "a1", true},
		{of(topology.Tunnel{Chassis: "hv2"}.Key()), "ch/hv2", true},
		{route, "default", true}, {route, "R", true}, {route, "lr/R", true}, {route, "lsr/default", true}, {route, "ls/R", false},
		{node, "", false}, {node, "host/hv1", true}, {foreign, "", false}, {foreign, "a1", false},
	} {
		if got := c.f.IsFor(c.object); got != c.want {
			t.Errorf("a flow of %q is for %q: %v", c.f.For(), c.object, got)
		}
	}
}

func TestFind(t *testing.T) {
	_, names := network(t)
	for object, want := range map[string]bool{
		"a1": true, "lsp/a1": true, "A": true, "ls/A": true, "lr/R": true, "R_to_A": true, "hv2": true, "ch/hv2": true, "host/hv1": true,
		"a2": false, "lr/A": false, "lsp/A": false,
	} {
		if found, _ := names.Find(object); found != want {
			t.Errorf("%q is found: %v", object, found)
		}
	}
	_, known := names.Find("nobody")
	if want := []string{"A", "A_to_R", "B", "B_to_R", "R", "R_to_A", "R_to_B", "a1", "b1", "hv2", "pod"}; !slices.Equal(known, want) {
		t.Errorf("the names are %q, want %q", known, want)
	}
	_, known = names.Find("ls/nobody")
	if want := []string{"A", "B"}; !slices.Equal(known, want) {
		t.Errorf("the names of switches are %q, want %q", known, want)
	}
}
