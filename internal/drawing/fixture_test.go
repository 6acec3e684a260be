package drawing

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/internal/topology"
)

// network collects what a store holds.
type network []topology.Change

func (n *network) add(entities ...topology.Entity) {
	for _, e := range entities {
		*n = append(*n, topology.Change{Key: e.Key(), Entity: e, Created: int64(len(*n) + 1)})
	}
}

// link joins a router to a switch as tpctl lr link does.
func (n *network) link(router, sw, cidr string) {
	net := netip.MustParsePrefix(cidr)
	mac := topology.MACFromIP(net.Addr())
	n.add(topology.SwitchPort{Switch: sw, Name: sw + "_to_" + router, IP: net.Addr(), MAC: mac, Peer: router + "_to_" + sw},
		topology.RouterPort{Router: router, Name: router + "_to_" + sw, Net: net, MAC: mac, Peer: sw + "_to_" + router})
}

func (n *network) port(sw, name, ip, chassis string) {
	a := netip.MustParseAddr(ip)
	n.add(topology.SwitchPort{Switch: sw, Name: name, IP: a, MAC: topology.MACFromIP(a), Chassis: chassis})
}

func (n *network) outer(sw, name, chassis, bridge string) {
	n.add(topology.SwitchPort{Switch: sw, Name: name, IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: chassis, Peer: bridge})
}

func (n *network) route(router, name, cidr, hop, port string) {
	n.add(topology.StaticRoute{Router: router, Name: name, Net: netip.MustParsePrefix(cidr), NextHop: netip.MustParseAddr(hop), OutPort: port})
}

func (n *network) nat(router, name, cidr string, kind topology.NATType, ip string) {
	n.add(topology.NAT{Router: router, Name: name, Net: netip.MustParsePrefix(cidr), Type: kind, XlateIP: netip.MustParseAddr(ip)})
}

func (n *network) chassis(name, ip string) {
	n.add(topology.Chassis{Name: name, IP: netip.MustParseAddr(ip), Tick: 1524118021, MTU: 1438})
}

func (n *network) up(name, ip string) {
	n.chassis(name, ip)
	n.add(topology.Presence{Chassis: name, IP: netip.MustParseAddr(ip)})
}

// tutorial is what the tutorial builds in its sections 1 to 3, on four hosts
// one of which is down.
func tutorial() network {
	var n network
	n.add(topology.Switch{Name: "LS-A", ID: 1}, topology.Switch{Name: "LS-B", ID: 2}, topology.Router{Name: "LR-central", ID: 3})
	n.up("Host-Alice", "192.168.1.10")
	n.chassis("Host-Bob", "192.168.1.11")
	n.add(topology.Absence{Chassis: "Host-Bob", Since: 1795269785})
	n.port("LS-A", "lsp-alice", "10.20.1.10", "Host-Alice")
	n.port("LS-B", "lsp-bob", "10.20.2.10", "Host-Bob")
	n.link("LR-central", "LS-A", "10.20.1.1/24")
	n.link("LR-central", "LS-B", "10.20.2.1/24")
	for i, inner := range []string{"100.10.10.1", "100.10.10.3"} {
		e := i + 1
		edge, m, outside := fmt.Sprint("LR-edge", e), fmt.Sprint("m", e), fmt.Sprint("outside", e)
		host := fmt.Sprintf("edge%d-node", e)
		n.up(host, fmt.Sprint("192.168.1.1", 1+e))
		n.add(topology.Router{Name: edge, ID: uint32(1 + 3*e), Chassis: host},
			topology.Switch{Name: m, ID: uint32(2 + 3*e)}, topology.Switch{Name: outside, ID: uint32(3 + 3*e)})
		n.link("LR-central", m, inner+"/24")
		n.link(edge, m, "100.10.10.2/24")
		n.link(edge, outside, fmt.Sprintf("192.168.1.%d/24", 19+e))
		n.route("LR-central", fmt.Sprint("to_outside", e), "0.0.0.0/0", "100.10.10.2", "LR-central_to_"+m)
		n.route(edge, fmt.Sprint("to_virt", e), "10.20.0.0/16", inner, edge+"_to_"+m)
		n.route(edge, fmt.Sprint("to_ext_world", e), "0.0.0.0/0", "192.168.1.1", edge+"_to_"+outside)
		n.outer(outside, "patchport-"+outside, host, "br0")
		n.nat(edge, fmt.Sprint("snat_rule", e), "10.20.0.0/16", topology.SNAT, fmt.Sprint("192.168.1.", 29+e))
	}
	return n
}

// large has 20,000 ports in 100 switches and on 2,000 chassis, and 20 edges.
func large() network {
	var n network
	n.add(topology.Router{Name: "LR", ID: 1})
	for i := range 2000 {
		n.up(fmt.Sprint("hv-", i), fmt.Sprintf("172.16.%d.%d", i/200, 1+i%200))
	}
	id := uint32(2)
	for i := range 100 {
		sw := fmt.Sprintf("LS-%03d", i+1)
		n.add(topology.Switch{Name: sw, ID: id})
		id++
		n.link("LR", sw, fmt.Sprintf("10.1.%d.1/24", i))
		for p := range 200 {
			n.port(sw, fmt.Sprintf("port-%d-%d", i, p), fmt.Sprintf("10.1.%d.%d", i, 2+p), fmt.Sprint("hv-", (200*i+p)%2000))
		}
	}
	for i := range 20 {
		edge, m, outside := fmt.Sprint("edge-", i), fmt.Sprint("m-", i), fmt.Sprint("outside-", i)
		n.up(fmt.Sprint("gw-", i), fmt.Sprint("172.17.0.", 1+i))
		n.add(topology.Router{Name: edge, ID: id, Chassis: fmt.Sprint("gw-", i)}, topology.Switch{Name: m, ID: id + 1}, topology.Switch{Name: outside, ID: id + 2})
		id += 3
		n.link("LR", m, fmt.Sprintf("100.64.2%02d.1/24", i))
		n.link(edge, m, fmt.Sprintf("100.64.2%02d.2/24", i))
		n.link(edge, outside, fmt.Sprintf("192.168.1.%d/24", 20+i))
		n.outer(outside, "patchport-"+outside, fmt.Sprint("gw-", i), "br0")
		n.route("LR", fmt.Sprint("out-", i), "0.0.0.0/0", fmt.Sprintf("100.64.2%02d.2", i), "LR_to_"+m)
		for r := range 100 {
			n.nat(edge, fmt.Sprint("nat-", r), fmt.Sprintf("10.1.%d.%d/32", i, 2+r), topology.SNAT, fmt.Sprintf("192.168.2.%d", r))
		}
	}
	return n
}

// dangling has one of each thing that is marked.
func dangling() network {
	n := tutorial()
	n.add(topology.Switch{Name: "LS-same-id", ID: 1})
	n.link("LR-central", "LS-gone", "10.20.9.1/24")
	n.port("LS-A", "lsp-twice", "10.20.1.10", "")
	n.port("LS-A", "lsp-lost", "10.20.1.11", "hv-gone")
	n.outer("LS-B", "patchport-lost", "", "")
	n.outer("LS-B", "patchport-elsewhere", "hv-gone", "br1")
	n.route("LR-central", "to_nowhere", "10.30.0.0/16", "10.20.1.99", "LR-central_to_nowhere")
	n.nat("LR-edge1", "float_out", "10.20.1.10/32", topology.SNAT, "192.168.1.40")
	n.nat("LR-edge1", "float_in", "10.20.1.10/32", topology.DNAT, "192.168.1.40")
	n.nat("LR-edge1", "web", "10.20.2.10/32", topology.DNAT, "192.168.1.41")
	n.add(
		topology.SwitchPort{Switch: "LS-B", Name: "half", IP: netip.MustParseAddr("10.20.2.7"), MAC: topology.MAC{2}, Peer: "no-such-port"},
		topology.SwitchPort{Switch: "LS-B", Name: "one-way", IP: netip.MustParseAddr("10.20.2.8"), MAC: topology.MAC{3}, Peer: "LR-central_to_LS-B"},
		topology.RouterPort{Router: "LR-central", Name: "loose", Net: netip.MustParsePrefix("10.20.7.1/24"), MAC: topology.MAC{4}},
		topology.RouterPort{Router: "LR-central", Name: "half", Net: netip.MustParsePrefix("10.20.7.2/24"), MAC: topology.MAC{5}, Peer: "no-such-port"},
		topology.RouterPort{Router: "LR-central", Name: "one-way", Net: netip.MustParsePrefix("10.20.7.3/24"), MAC: topology.MAC{6}, Peer: "LS-B_to_LR-central"},
		topology.Router{Name: "LR-lost", ID: 50, Chassis: "hv-gone"},
		topology.Contender{Chassis: "Host-Alice", IP: netip.MustParseAddr("192.168.1.66")},
		topology.Presence{Chassis: "no-record", IP: netip.MustParseAddr("192.168.1.67"), Stopped: true},
	)
	n = append(n,
		topology.Change{Key: topology.Key{Kind: topology.KindSwitch, Name: "LS-bad"}, Created: 900, Err: errors.New("id is missing")},
		topology.Change{Key: topology.Key{Kind: topology.KindNAT, Parent: "LR-edge1", Name: "bad"}, Created: 901, Err: errors.New("xlate_ip is missing")})
	return n
}

// pods has a virtual machine that holds containers, with a pool of ports for more,
// and a container of a host.
func pods() network {
	var n network
	n.up("hv1", "172.16.0.1")
	n.add(topology.Switch{Name: "hosts", ID: 1}, topology.Switch{Name: "pods", ID: 2}, topology.Router{Name: "LR", ID: 3})
	n.link("LR", "hosts", "10.40.0.1/24")
	n.link("LR", "pods", "10.40.1.1/24")
	n.port("hosts", "vm1", "10.40.0.11", "hv1")
	child := func(i int, parent string) topology.SwitchPort {
		a := netip.AddrFrom4([4]byte{10, 40, 1, byte(i)})
		return topology.SwitchPort{Switch: "pods", Name: "pods-" + a.String(), IP: a, MAC: topology.MACFromIP(a), Parent: parent, Tag: uint16(i), Pool: parent}
	}
	for i := range 20 {
		n.add(child(2+i, "vm1"))
	}
	used, kept, lost := child(30, "vm1"), child(31, "vm1"), child(32, "vm2")
	used.Owner, used.Chassis = "cni:k8s/1/eth0", "hv1"
	kept.Pool = ""
	n.add(used, kept, lost)
	a := netip.MustParseAddr("10.40.0.12")
	n.add(topology.SwitchPort{Switch: "hosts", Name: "lsp-eth0-7", IP: a, MAC: topology.MACFromIP(a), Chassis: "hv1", Owner: "cni:k8s/7/eth0"})
	return n
}

// docker has two networks of Docker, each with a container: one with a switch of its
// own, the other, which has two names, on a switch that was there before; a third
// switch is one of the original's.
func docker() *Graph {
	id, old, endpoint := strings.Repeat("3f2a91b0", 8), strings.Repeat("aa", 32), strings.Repeat("0123456789abcdef", 4)
	var n network
	n.up("hv1", "172.16.0.1")
	n.add(topology.Switch{Name: id, ID: 1}, topology.Switch{Name: "LS-A", ID: 2}, topology.Router{Name: "LR", ID: 3}, topology.Switch{Name: old, ID: 4})
	n.link("LR", id, "10.20.3.1/24")
	n.link("LR", "LS-A", "10.20.1.1/24")
	n.link("LR", old, "10.20.9.1/24")
	n.route("LR", "out", "0.0.0.0/0", "10.20.3.9", "LR_to_"+id)
	n.port(id, endpoint, "10.20.3.2", "hv1")
	n.port("LS-A", strings.Repeat("f", 64), "10.20.1.2", "hv1")
	g := New(n)
	g.NameNetworks(map[string][]string{id: {"tp-docker-net1"}, "LS-A": {"web", "db", "web"}, "LR": {"no switch"}})
	return g
}

// netOf is the address of a host in the i-th network.
func netOf(i, host int) string { return fmt.Sprintf("10.0.%d.%d/24", i, host) }
