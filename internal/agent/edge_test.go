package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

// join links a router to a switch, as tpctl lr link does.
func (s *site) join(router, sw, net string) {
	s.t.Helper()
	p := netip.MustParsePrefix(net)
	mac := topology.MACFromIP(p.Addr())
	s.create(
		topology.SwitchPort{Switch: sw, Name: sw + "_to_" + router, IP: p.Addr(), MAC: mac, Peer: router + "_to_" + sw},
		topology.RouterPort{Router: router, Name: router + "_to_" + sw, Net: p, MAC: mac, Peer: sw + "_to_" + router})
}

func (s *site) route(router, name, net, via, port string) topology.Key {
	s.t.Helper()
	r := topology.StaticRoute{Router: router, Name: name, Net: netip.MustParsePrefix(net), NextHop: netip.MustParseAddr(via), OutPort: port}
	s.create(r)
	return r.Key()
}

func (s *site) delete(key topology.Key) {
	s.t.Helper()
	if err := s.store.Delete(s.t.Context(), key, false); err != nil {
		s.t.Fatal(err)
	}
}

// edges makes LR with a way to a router on hv-e by the switch m.
func (s *site) edges() {
	s.create(topology.Router{Name: "LR"}, topology.Router{Name: "edge", Chassis: "hv-e"}, topology.Switch{Name: "m"}, topology.Switch{Name: "out"})
	s.join("LR", "m", "100.64.0.1/24")
	s.join("edge", "m", "100.64.0.2/24")
	s.join("edge", "out", "192.168.9.20/24")
}

// bfd returns the BFD column of the tunnel to an address of 192.168.1.0/24.
func (h *host) bfd(last int) string {
	name := fmt.Sprintf("tupleNet-%d", 192<<24|168<<16|1<<8|last)
	return strings.TrimSpace(h.Vsctl("--if-exists", "get", "Interface", name, "bfd"))
}

// BFD watches the ways that routes take to edges, and no others; it ends with
// the routes, and with the record of the host.
func TestBFDFollowsRoutes(t *testing.T) {
	s := newSite(t)
	a, b, e := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2"), s.host("hv-e", "192.168.1.5")
	s.edges()
	on, off := `{enable="true"}`, `{enable="false"}`
	is := func(what string, h *host, last int, want string) {
		t.Helper()
		eventually(t, what, func() bool { return h.bfd(last) == want })
	}
	for _, h := range []*host{a, b} {
		is("there is a tunnel to the edge", h, 5, "{}")
	}
	route := s.route("LR", "out", "0.0.0.0/0", "100.64.0.2", "LR_to_m")
	is("a node watches the edge", a, 5, on)
	is("the edge watches a node", e, 1, on)
	is("the edge watches the other node", e, 2, on)
	is("nodes do not watch each other", a, 2, "{}")

	// An agent's restart leaves all as it is; what an operator switched off
	// stays off until the need changes.
	a.Vsctl("set", "Interface", "tupleNet-3232235781", `bfd:enable="false"`)
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e.start()
	eventually(t, "the edge's agent is back", func() bool { return e.log.said("flows are in") == 2 })
	is("BFD of the edge goes on", e, 1, on)
	is("what the operator did stays", a, 5, off)

	s.delete(route)
	is("without a route nothing is watched", b, 5, off)
	is("nor by the edge", e, 2, off)
	s.route("LR", "out", "0.0.0.0/0", "100.64.0.2", "LR_to_m")
	is("and with it again", a, 5, on)

	// The operator takes the edge out.
	s.delete(topology.Chassis{Name: "hv-e"}.Key())
	is("the edge watches nobody", e, 1, off)
	eventually(t, "nobody has a tunnel to it", func() bool { return a.bfd(5) == "" && b.bfd(5) == "" })
	s.put("entity_view/chassis/hv-e", "ip=192.168.1.5,tick=2000000000")
	is("its record is back", a, 5, on)
	is("and the edge watches again", e, 1, on)
}

// The agent makes the patch ports that `tpctl patchport add` asks for on its
// host, once the bridge is there, mends them, and removes them with the object;
// one that was made by hand stays.
func TestPatchPorts(t *testing.T) {
	s := newSite(t)
	e := s.host("hv-e", "192.168.1.5")
	s.edges()
	outer := topology.SwitchPort{Switch: "out", Name: "patch-out", IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: "hv-e", Peer: "br0"}
	s.create(outer)
	eventually(t, "the missing bridge is reported", func() bool { return e.log.said("br0", "patch-out") == 1 })
	e.Vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy")
	made := func() bool {
		return strings.Contains(e.Vsctl("list-ports", "br-int"), "patch-out") && strings.Contains(e.Vsctl("list-ports", "br0"), "patch-out-peer")
	}
	eventually(t, "both ends are there", made)
	e.Vsctl("del-port", "br0", "patch-out-peer")
	eventually(t, "the end that was deleted is back", made)
	eventually(t, "unknown addresses of the switch lead out", func() bool {
		return strings.Contains(e.flows(lookup), "priority=3,metadata") && strings.Contains(e.flows(classify), "load:0xffff->NXM_NX_REG5[0..15]")
	})

	e.Vsctl("add-port", "br-int", "by-hand", "--", "set", "Interface", "by-hand", "type=patch", "options:peer=by-hand-peer", "external_ids:iface-id=by-hand",
		"--", "add-port", "br0", "by-hand-peer", "--", "set", "Interface", "by-hand-peer", "type=patch", "options:peer=by-hand")
	// The operator moves the port to another host: what is left of it here does
	// not take it back, nor when the agent starts anew.
	s.put("entity_view/LS/out/lsp/patch-out", "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,chassis=hv-x,peer=br0")
	eventually(t, "nothing leads out here", func() bool { return !strings.Contains(e.flows(lookup), "priority=3,metadata") })
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e.start()
	eventually(t, "the agent is back", func() bool { return e.log.said("flows are in") == 2 })
	if got := s.chassisOf(outer.Key()); got != "hv-x" {
		t.Errorf("the port is on %s, want hv-x", got)
	}
	s.put("entity_view/LS/out/lsp/patch-out", "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,chassis=hv-e,peer=br0")
	eventually(t, "it is back", func() bool { return made() && strings.Contains(e.flows(lookup), "priority=3,metadata") })
	s.delete(outer.Key())
	eventually(t, "the pair is gone", func() bool {
		return !strings.Contains(e.Vsctl("list-ports", "br-int")+e.Vsctl("list-ports", "br0"), "patch-out")
	})
	if ports := e.Vsctl("list-ports", "br-int") + e.Vsctl("list-ports", "br0"); strings.Count(ports, "by-hand") != 2 {
		t.Errorf("ports %q, want those made by hand, too", ports)
	}
}

// What cannot work is reported once, by name, and the rest works.
func TestProblemsAreReportedOnce(t *testing.T) {
	s := newSite(t)
	e := s.host("hv-e", "192.168.1.5")
	s.edges()
	s.put("entity_view/LR/edge/lsr/far", "ip=10.1.0.0,prefix=16,next_hop=10.9.9.9,outport=edge_to_m")
	s.put("entity_view/LR/edge/lsr/blind", "ip=10.2.0.0,prefix=16,next_hop=100.64.0.1,outport=edge_to_gone")
	s.put("entity_view/LR/lost", "id=77,chassis=hv-nowhere")
	s.put("entity_view/LR/edge/lrp/loose", "ip=10.3.0.1,prefix=24,mac=f2:01:0a:03:00:01,peer=nothing")
	s.put("entity_view/LR/edge/lnat/fip-out", "ip=10.4.0.1,prefix=32,xlate_ip=192.168.9.50,xlate_type=snat")
	s.put("entity_view/LR/edge/lnat/fip-in", "ip=10.4.0.1,prefix=32,xlate_ip=192.168.9.50,xlate_type=dnat")
	s.put("entity_view/LR/edge/lnat/greedy", "ip=10.4.0.0,prefix=16,xlate_ip=192.168.9.50,xlate_type=snat")
	s.put("entity_view/LR/edge/lnat/twice", "ip=10.4.0.2,prefix=32,xlate_ip=192.168.9.50,xlate_type=dnat")
	s.route("edge", "good", "10.5.0.0/16", "100.64.0.1", "edge_to_m")
	eventually(t, "the good route is in", func() bool { return strings.Contains(e.flows("224"), "nw_dst=10.5.0.0/16") })
	for _, words := range [][]string{
		{"static route edge/far", "outside the network 100.64.0.0/24"},
		{"static route edge/blind", "edge_to_gone is no port of the router"},
		{"router lost", "hv-nowhere", "no record"},
		{"router port edge/loose", "nothing"},
		{"NAT edge/greedy", "floating IP of 10.4.0.1"},
		{"NAT edge/twice", "external address 192.168.9.50"},
	} {
		eventually(t, "it is reported: "+words[0], func() bool { return e.log.said(words...) == 1 })
	}
	s.delete(topology.NAT{Router: "edge", Name: "fip-in"}.Key())
	eventually(t, "a rule counts once its rival is gone", func() bool {
		return e.log.said("counts again", "NAT edge/twice") == 1 && e.log.said("problem is over", "NAT edge/greedy") == 1
	})
	s.route("edge", "later", "10.6.0.0/16", "100.64.0.1", "edge_to_m")
	eventually(t, "later changes work", func() bool { return strings.Contains(e.flows("224"), "nw_dst=10.6.0.0/16") })
	if n := e.log.said("static route edge/far"); n != 1 {
		t.Errorf("reported %d times", n)
	}
	if n := e.log.said("mistake in the flow compiler"); n != 0 {
		t.Errorf("%d mistakes of the compiler", n)
	}
}
