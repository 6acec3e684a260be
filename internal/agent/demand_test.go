package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// demandAgent is an agent of a small topology, without Open vSwitch: a switch
// LS (10.0.0.0/24) with remote ports, a router R in it and in LS2 (10.0.1.0/24).
func demandAgent(t *testing.T) *agent {
	t.Helper()
	a := newAgent(Config{Log: logTo(t), RunDir: t.TempDir(), Settings: Settings{IdleTimeout: time.Minute, OnDemand: true}})
	a.physical = newPhysical(a)
	a.demands = newDemands(a)
	t.Cleanup(func() { a.physical.close(); a.demands.close() })
	port := func(sw, name, ip, peer string) topology.SwitchPort {
		addr := netip.MustParseAddr(ip)
		return topology.SwitchPort{Switch: sw, Name: name, IP: addr, MAC: topology.MACFromIP(addr), Peer: peer, Chassis: "hv-b"}
	}
	link := func(name, net, peer string) topology.RouterPort {
		p := netip.MustParsePrefix(net)
		return topology.RouterPort{Router: "R", Name: name, Net: p, MAC: topology.MACFromIP(p.Addr()), Peer: peer}
	}
	for _, e := range []topology.Entity{
		topology.Node{Chassis: "hv-a", OnDemand: true},
		topology.Switch{Name: "LS", ID: 1}, topology.Switch{Name: "LS2", ID: 2}, topology.Router{Name: "R", ID: 3},
		port("LS", "one", "10.0.0.1", ""), port("LS2", "two", "10.0.1.2", ""),
		port("LS", "LS_to_R", "10.0.0.254", "R_to_LS"), link("R_to_LS", "10.0.0.254/24", "LS_to_R"),
		port("LS2", "LS2_to_R", "10.0.1.254", "R_to_LS2"), link("R_to_LS2", "10.0.1.254/24", "LS2_to_R"),
		port("LS", "local", "10.0.0.9", ""), topology.Interface{Port: "local", OFPort: 5}, topology.Tunnel{Chassis: "hv-b", OFPort: 7},
	} {
		a.change(topology.Change{Entity: e})
	}
	return a
}

// routed is a frame to an address, without the MAC of anybody.
func routed(ip string) []byte {
	frame := make([]byte, 64)
	frame[12], frame[13], frame[14] = 0x08, 0x00, 0x45
	copy(frame[30:34], netip.MustParseAddr(ip).AsSlice())
	return frame
}

// arpFor is an ARP request of 10.0.0.9 for an address.
func arpFor(ip string) []byte {
	frame := slices.Concat(slices.Repeat([]byte{0xff}, 6), []byte{2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9},
		make([]byte, 6), netip.MustParseAddr(ip).AsSlice())
	return append(frame, make([]byte, 18)...)
}

// to is a frame to the MAC that is made from an address.
func to(ip string) []byte {
	mac := topology.MACFromIP(netip.MustParseAddr(ip))
	return append(mac[:], make([]byte, 58)...)
}

func TestWanted(t *testing.T) {
	a := demandAgent(t)
	const toLS2 = 0x01fe << 16 // destination port: R_to_LS2
	for _, c := range []struct {
		name     string
		datapath uint32
		ports    uint32
		frame    []byte
		want     string
		at       flows.Table
	}{
		{"routed", 3, toLS2, routed("10.0.1.2"), "LS2/two", flows.TableRouterConnected},
		{"routed to nobody", 3, toLS2, routed("10.0.1.3"), "", 0},
		{"routed to another network", 3, toLS2, routed("10.9.1.2"), "", 0}, // has the id of port two
		{"routed by no port", 3, 0, routed("10.0.1.2"), "", 0},
		{"routed, cut short", 3, toLS2, routed("10.0.1.2")[:20], "", 0},
		{"empty", 3, toLS2, nil, "", 0},
		{"ARP", 1, 9, arpFor("10.0.0.1"), "LS/one", flows.TableSwitchTarget},
		{"ARP for nobody", 1, 9, arpFor("10.0.0.2"), "", 0},
		{"ARP for a router", 1, 9, arpFor("10.0.0.254"), "", 0},
		{"switched", 1, 9, to("10.0.0.1"), "LS/one", flows.TableSwitchLookup},
		{"switched to nobody", 1, 9, to("10.0.0.2"), "", 0},
		{"switched, cut short", 1, 9, to("10.0.0.1")[:5], "", 0},
		{"nowhere", 99, 9, to("10.0.0.1"), "", 0},
	} {
		d, at, ok := a.demands.wanted(ovs.Packet{Why: flows.Wanted, Datapath: c.datapath, Ports: c.ports, Data: c.frame})
		got := ""
		if ok {
			got = d.Switch + "/" + d.Port
		}
		if got != c.want || ok && at != c.at {
			t.Errorf("%s: wants %q at %v, want %q at %v", c.name, got, at, c.want, c.at)
		}
	}
}

// Packets that no edge took wait, a bounded number of them, and not for ever.
func TestHoldIsBounded(t *testing.T) {
	a := demandAgent(t)
	p := ovs.Packet{Why: flows.Wanted, Datapath: 1, Ports: 9, Data: to("10.0.0.1")}
	for range 3 * holdPerPort {
		a.demands.packet(p)
	}
	if n := a.demands.holding; n != holdPerPort {
		t.Errorf("%d packets are held for one port, want %d", n, holdPerPort)
	}
	taken := p
	taken.Tunnel = 4
	a.demands.held, a.demands.holding = map[topology.Demand][]heldPacket{}, 0
	a.demands.packet(taken)
	if a.demands.holding != 0 {
		t.Error("a packet that an edge has is held, too")
	}
	a.demands.packet(p)
	for _, packets := range a.demands.held {
		packets[0].until = time.Now().Add(-time.Second)
	}
	a.demands.flushed(true) // no flows were compiled, so that none lead to the port
	if a.demands.holding != 0 || len(a.demands.held) != 0 {
		t.Error("a packet is held for longer than it may")
	}
}

// What counts no packets any more is given up; what was given up is not in the
// file, and what is in the file is wanted again after a restart.
func TestIdle(t *testing.T) {
	a := demandAgent(t)
	a.engine.Update(flows.Everything(a.model))
	one, two := topology.Demand{Switch: "LS", Port: "one"}, topology.Demand{Switch: "LS2", Port: "two"}
	a.demands.add(one)
	a.demands.add(two)
	a.engine.Update(a.touched)
	cookies := a.engine.Cookies(one.Key(), flows.TableSwitchLookup)
	if len(cookies) != 1 {
		t.Fatalf("port one has %d flows in table switch-lookup", len(cookies))
	}
	long := time.Now().Add(-2 * a.IdleTimeout)
	a.demands.ports[one].at, a.demands.ports[two].at = long, long
	a.demands.age(nil) // Open vSwitch did not answer
	if len(a.demands.ports) != 2 {
		t.Error("ports were given up without a reading")
	}
	a.demands.age(map[uint64]uint64{cookies[0]: 12})
	if a.demands.ports[one] == nil || a.demands.ports[two] != nil {
		t.Errorf("left are %v, want port one", a.demands.ports)
	}
	if a.model.Get(two.Key()) != nil {
		t.Error("port two is wanted still")
	}
	a.demands.save()
	file := filepath.Join(a.RunDir, demandFile)
	eventually(t, "the file is written", func() bool {
		content, _ := os.ReadFile(file)
		return strings.HasSuffix(string(content), "\nLS/one\n")
	})
	again := demandAgent(t)
	again.RunDir = a.RunDir
	again.demands.load()
	if len(again.demands.ports) != 1 || again.model.Get(one.Key()) == nil {
		t.Errorf("after a restart %v are wanted", again.demands.ports)
	}
}

func TestReadDemands(t *testing.T) {
	dir := t.TempDir()
	if all, err := ReadDemands(dir); err != nil || all != nil {
		t.Errorf("without a file: %v, %v", all, err)
	}
	content := demandHeader + "LS/a b\nnothing\n\nLS/half"
	if err := os.WriteFile(filepath.Join(dir, demandFile), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := ReadDemands(dir)
	want := []topology.Demand{{Switch: "LS", Port: "a b"}, {Switch: "LS", Port: "half"}}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("read %v, %v, want %v", all, err, want)
	}
}

// Who takes over a bridge whose tunnels lead to all chassis has them for an idle
// time, under their numbers, and afterwards those that packets go through.
func TestInheritedTunnels(t *testing.T) {
	s := newSite(t)
	s.create(topology.Switch{Name: "LS"}, topology.Chassis{Name: "hv-b", IP: netip.MustParseAddr("192.168.1.2"), Tick: 1})
	h := s.newHost("hv-a", "192.168.1.1")
	h.initial = Settings{OnDemand: true, IdleTimeout: 3 * time.Second}
	const tunnel = "tupleNet-3232235778"
	h.Vsctl("add-port", "br-int", tunnel, "--", "set", "Interface", tunnel, "type=geneve", "options:remote_ip=192.168.1.2", "options:key=flow",
		"options:csum=true", "external_ids:chassis-id=hv-b", "ofport_request=77")
	h.start()
	eventually(t, "the agent has its own tunnel", func() bool { return strings.Contains(h.Vsctl("list-ports", "br-int"), "tupleNet-flowbased") })
	if got := strings.TrimSpace(h.Vsctl("get", "Interface", tunnel, "ofport")); got != "77" {
		t.Errorf("the tunnel has become port %s", got)
	}
	eventually(t, "the tunnel that nobody uses is gone", func() bool { return !strings.Contains(h.Vsctl("list-ports", "br-int"), tunnel) })
}
