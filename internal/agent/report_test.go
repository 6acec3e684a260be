package agent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/internal/ovs"
	"tuplenet/internal/status"
	"tuplenet/internal/topology"
)

// report asks a chassis for its status.
func (s *site) report(chassis string, detail bool) (status.Report, bool) {
	s.t.Helper()
	reports, err := status.Ask(s.t.Context(), s.store, []string{chassis}, detail, 5*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	r, ok := reports[chassis]
	return r, ok
}

// An agent tells of its node who asks.
func TestReport(t *testing.T) {
	s := newSite(t)
	gateway, lost := netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.9.0.9/24")
	s.create(topology.Switch{Name: "LS"}, topology.Router{Name: "LR"},
		topology.SwitchPort{Switch: "LS", Name: "to-LR", IP: gateway.Addr(), MAC: topology.MACFromIP(gateway.Addr()), Peer: "to-LS"},
		topology.RouterPort{Router: "LR", Name: "to-LS", Net: gateway, MAC: topology.MACFromIP(gateway.Addr()), Peer: "to-LR"},
		topology.RouterPort{Router: "LR", Name: "nowhere", Net: lost, MAC: topology.MACFromIP(lost.Addr()), Peer: "lost"},
		topology.Chassis{Name: "hv-b", IP: netip.MustParseAddr("192.168.1.2"), Tick: 1, MTU: 1438})
	one := s.port("LS", "one", "10.0.0.2")
	h := s.host("hv-a", "192.168.1.1")
	h.plug("one")
	h.plug("unknown")
	eventually(t, "the port is bound", func() bool { return s.chassisOf(one) == "hv-a" })

	var got status.Report
	eventually(t, "the agent tells of its port and its tunnel", func() bool {
		r, ok := s.report("hv-a", true)
		got = r
		return ok && r.Ports == 1 && r.Tunnels == 1 && r.Problems == 1
	})
	if got.Detail == nil {
		t.Fatalf("there are no details: %+v", got)
	}
	d := *got.Detail
	if time.Since(got.Time) > time.Minute || got.Time.Before(got.Synced) || got.Synced.Before(got.Started) || got.Started.IsZero() {
		t.Errorf("at %s it says that it was started at %s and synced at %s", got.Time, got.Started, got.Synced)
	}
	changed, err := s.store.LastChange(t.Context())
	if err != nil || got.Revision < changed || got.Flows < 50 {
		t.Errorf("it has seen revision %d (the last change is %d, %v), and has %d flows", got.Revision, changed, err, got.Flows)
	}
	flows := 0
	for _, table := range d.Tables {
		flows += table.Flows
	}
	if flows != got.Flows {
		t.Errorf("the tables have %d flows together, of %d", flows, got.Flows)
	}
	if len(d.Tables) < 20 || d.Tables[0].Name != "classify" {
		t.Errorf("tables: %v", d.Tables)
	}
	want := status.Report{InSync: true, IP: "192.168.1.1", Tunnels: 1, Wanted: 1, Ports: 1, Problems: 1, Held: &got.Flows,
		Strays: []status.Stray{{Interface: "if-unknown", Port: "unknown"}}, Detail: &status.Detail{
			OpenVSwitch: d.OpenVSwitch, Datapath: "dummy", Settings: status.Settings{Hash: "nw_dst"},
			Interfaces: 2, PortList: []status.Port{
				{Name: "one", Switch: "LS", IP: "10.0.0.2", Interface: "if-one", State: "bound"},
				{Name: "unknown", Interface: "if-unknown", State: "no such port"}},
			TunnelList:  []status.Tunnel{{Chassis: "hv-b", IP: "192.168.1.2", Name: "tupleNet-3232235778"}},
			ProblemList: []string{"router port LR/nowhere: it leads nowhere: no switch has a port lost that leads back to it"},
		}}
	ignored := []cmp.Option{cmpopts.IgnoreFields(status.Report{}, "Time", "Started", "Synced", "Revision", "Flows", "MTU"),
		cmpopts.IgnoreFields(status.Detail{}, "Tables"), cmpopts.IgnoreFields(status.Port{}, "OFPort"), cmpopts.IgnoreFields(status.Tunnel{}, "OFPort")}
	if diff := cmp.Diff(want, got, ignored...); diff != "" || d.OpenVSwitch == "" || d.OpenVSwitch[0] < '2' {
		t.Errorf("of Open vSwitch %q (-want +got)\n%s", d.OpenVSwitch, diff)
	}
	if slices.ContainsFunc(d.PortList, func(p status.Port) bool { return p.OFPort == 0 }) || d.TunnelList[0].OFPort == 0 {
		t.Errorf("an OpenFlow port is missing: %v, %v", d.PortList, d.TunnelList)
	}

	if short, ok := s.report("hv-a", false); !ok || short.Detail != nil || short.Flows != got.Flows {
		t.Errorf("without details it says %v, %+v", ok, short)
	}
	// The problem ends, and the chassis gets a router of its own.
	if err := s.store.Delete(t.Context(), topology.RouterPort{Router: "LR", Name: "nowhere"}.Key(), false); err != nil {
		t.Fatal(err)
	}
	s.create(topology.Router{Name: "LR-edge", Chassis: "hv-a"})
	eventually(t, "it says that it is an edge without problems", func() bool {
		r, ok := s.report("hv-a", false)
		return ok && r.Edge && r.Problems == 0
	})
	// While ovs-vswitchd is away it answers, too.
	h.StopVswitchd()
	eventually(t, "it says that its flows are lost", func() bool {
		r, ok := s.report("hv-a", true)
		return ok && !r.InSync && r.Detail.OpenVSwitch == ""
	})
}

// Who asks how a node is has flows noticed, and made right, that somebody has
// deleted.
func TestReportHeals(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	one := s.port("LS", "one", "10.0.0.2")
	h.plug("one")
	eventually(t, "the port is bound and delivered", func() bool {
		r, ok := s.report("hv-a", false)
		return ok && s.chassisOf(one) == "hv-a" && r.Held != nil && !r.Amiss() && strings.Contains(h.flows(deliver), "output:")
	})
	before := h.bridge()
	h.Ofctl("-O", "OpenFlow14", "del-flows", "br-int", "table="+deliver)
	if r, ok := s.report("hv-a", false); !ok || !r.Amiss() || !r.InSync {
		t.Errorf("without the flows of a table it says %+v", r)
	}
	eventually(t, "the flows are back", func() bool { return h.bridge() == before })
	if r, ok := s.report("hv-a", false); !ok || r.Held == nil || r.Amiss() {
		t.Errorf("with all flows it says %+v", r)
	}
	if h.log.said("the bridge holds other flows") != 1 {
		t.Error("that somebody was at the flows is not said once")
	}
}

// A way out that leads to no NIC is one that nothing must be sent to.
func TestWayOutWithoutNIC(t *testing.T) {
	s := newSite(t)
	s.host("hv-a", "192.168.1.1")
	e := s.host("hv-e", "192.168.1.5")
	e.Vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy", "--", "add-port", "br0", "eth1")
	e.Appctl("netdev-dummy/set-admin-state", "br0", "down") // the host itself does not route
	s.edges()
	s.route("LR", "out", "0.0.0.0/0", "100.64.0.2", "LR_to_m")
	s.create(topology.SwitchPort{Switch: "out", Name: "patch-out", IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: "hv-e", Peer: "br0"})
	eventually(t, "there is a way out, and others may use it", func() bool {
		r, ok := s.report("hv-e", false)
		return ok && r.WaysOut == 1 && len(r.Dark) == 0 && e.bfd(1) == `{enable="true"}`
	})
	e.Vsctl("del-port", "br0", "eth1")
	eventually(t, "others are told not to send here", func() bool {
		r, ok := s.report("hv-e", false)
		return ok && slices.Equal(r.Dark, []string{"patch-out (br0, no NIC)"}) && e.bfd(1) == `{cpath_down="true", enable="true"}`
	})
	e.Vsctl("add-port", "br0", "eth1")
	eventually(t, "others may send here again", func() bool { return e.bfd(1) == `{enable="true"}` })
}

func TestTunnelStatus(t *testing.T) {
	for want, tunnel := range map[string]ovs.Tunnel{"": {Refusing: true}, "up": {Watched: true, Up: true, Heard: true}, "down": {Watched: true, Heard: true},
		"cannot forward": {Watched: true, Heard: true, Refusing: true}} {
		if got := tunnelStatus(tunnel).BFD; got != want {
			t.Errorf("of %+v it says %q, want %q", tunnel, got, want)
		}
	}
}

// A port that has moved away is told with where it is.
func TestStrays(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	s.create(topology.Switch{Name: "LS"})
	key := s.port("LS", "vm", "10.0.0.1")
	a.plug("vm")
	eventually(t, "the port is bound to hv-a", func() bool { return s.chassisOf(key) == "hv-a" })
	b.plug("vm")
	var r status.Report
	eventually(t, "hv-a says where it is", func() bool {
		r, _ = s.report("hv-a", true)
		return slices.Equal(r.Strays, []status.Stray{{Interface: "if-vm", Port: "vm", Chassis: "hv-b"}})
	})
	if r.Detail == nil || len(r.Detail.PortList) != 1 || r.Detail.PortList[0].State != "yielded" {
		t.Errorf("in detail it says %+v", r.Detail)
	}
	a.Vsctl("set", "Interface", "if-vm", `external_ids:tuplenet-owner="cni:n/c/eth0"`)
	eventually(t, "hv-a says whose it is", func() bool {
		r, _ = s.report("hv-a", false)
		return slices.Equal(r.Strays, []status.Stray{{Interface: "if-vm", Port: "vm", Chassis: "hv-b", Owner: "cni:n/c/eth0"}})
	})
	a.Vsctl("remove", "Interface", "if-vm", "external_ids", "tuplenet-owner")
	// The remedy that it comes with.
	a.Vsctl("remove", "Interface", "if-vm", "external_ids", "iface-id")
	eventually(t, "the interface is gone", func() bool { return a.log.said("interface unplugged", "port=vm") == 1 })
	a.Vsctl("set", "Interface", "if-vm", "external_ids:iface-id=vm")
	eventually(t, "the port is here again", func() bool {
		r, ok := s.report("hv-a", false)
		return ok && len(r.Strays) == 0 && s.chassisOf(key) == "hv-a"
	})
}
