package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

// TestCarriers shows which chassis routes lead to, in a topology of two edges
// like that of Edges.
func TestCarriers(t *testing.T) {
	t.Parallel()
	v := &view{ports: map[string]topology.SwitchPort{}, routerPorts: map[string]topology.RouterPort{}}
	link := func(router, sw, address string) {
		out, in := router+"_to_"+sw, sw+"_to_"+router
		v.ports[in] = topology.SwitchPort{Switch: sw, Name: in, Peer: out}
		v.routerPorts[out] = topology.RouterPort{Router: router, Name: out, Net: netip.MustParsePrefix(address), Peer: in}
	}
	route := func(router, via, port string) {
		v.routes = append(v.routes, topology.StaticRoute{Router: router, NextHop: netip.MustParseAddr(via), OutPort: port})
	}
	for _, r := range [][2]string{{"central", ""}, {"edge1", "h1"}, {"edge2", "h2"}} {
		v.routers = append(v.routers, topology.Router{Name: r[0], Chassis: r[1]})
	}
	// Both inner networks have the same addresses; the switch tells them apart.
	link("central", "m1", "100.10.10.1/24")
	link("central", "m2", "100.10.10.3/24")
	link("edge1", "m1", "100.10.10.2/24")
	link("edge2", "m2", "100.10.10.2/24")
	link("edge1", "outside1", "192.168.1.20/24")
	route("edge1", "100.10.10.1", "edge1_to_m1")       // to a router that is everywhere
	route("edge1", "192.168.1.1", "edge1_to_outside1") // to one that is no logical router
	route("central", "100.10.10.2", "no_such_port")
	check := func(host string, want ...string) {
		t.Helper()
		if got := v.carriers(host); !slices.Equal(got, want) {
			t.Errorf("from %s routes lead to %q, want %q", host, got, want)
		}
	}
	check("alice")
	route("central", "100.10.10.2", "central_to_m1")
	check("alice", "h1")
	check("h1")
	route("central", "100.10.10.2", "central_to_m2")
	check("alice", "h1", "h2")
	check("h1", "h2")

	// A pinned router's routes matter where it lives.
	link("edge1", "between", "10.9.9.1/24")
	link("edge3", "between", "10.9.9.3/24")
	v.routers = append(v.routers, topology.Router{Name: "edge3", Chassis: "h3"})
	route("edge1", "10.9.9.3", "edge1_to_between")
	check("alice", "h1", "h2")
	check("h1", "h2", "h3")
}

// TestEdgesReady shows that a lab with edges is ready when it says so: no packet
// to the physical network is lost, also not after an edge was away, and nobody
// waits for an edge that is.
func TestEdgesReady(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	spec, err := Edges(2)
	if err != nil {
		t.Fatal(err)
	}
	l := up(t, spec)
	wait := func() {
		t.Helper()
		if err := l.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		checkPing(t, l, "lsp-alice", "lsp-bob", true)
	}
	reach := func() {
		t.Helper()
		for _, from := range []string{"lsp-alice", "lsp-bob"} {
			checkPing(t, l, from, "client", true)
			checkPing(t, l, from, "web", true)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	reach()
	// Later on, an edge that BFD has not missed yet could take the first packet.
	checkPing(t, l, "lsp-alice", "lsp-bob", true)
	path, err := l.Exec(ctx, "phy", "tpctl", "trace", "lsp-alice", "--to", "172.16.1.10")
	do(err)
	if !strings.Contains(path, "\nsent to the physical network by patchport-outside") {
		t.Errorf("the path to the web server is\n%s", path)
	}

	do(l.Kill(ctx, "host-edge1", Vswitchd))
	wait()
	do(l.Start(ctx, "host-edge1", Vswitchd))
	wait()
	reach()

	do(l.CutLink(ctx, "host-edge2", "eth0"))
	wait()
	do(l.JoinLink(ctx, "host-edge2", "eth0"))
	wait()
	reach()
}
