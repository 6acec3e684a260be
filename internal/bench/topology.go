package bench

import (
	"fmt"
	"net/netip"

	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// Self is the system-id of the node that the benchmarks compile for.
const Self = "hv-self"

// Size says how large a topology is. Ports are spread evenly over the
// switches, which one router joins, and over the chassis.
type Size struct {
	Chassis  int
	Switches int
	Ports    int
	Local    int // of the ports, how many are on the node itself
	Edges    int // ways out: an edge router each, the first on the node itself
	Routes   int // static routes of the router, spread over the edges
	NATs     int // NAT rules, spread over the edges: floating IPs, half of one each
	OnDemand bool
	Demands  int // ports that traffic goes to, if OnDemand: in as many switches and on as many chassis as possible
}

// The sizes that the promises name.
var (
	Large = Size{Chassis: 2000, Switches: 100, Ports: 20000, Local: 20}
	Small = Size{Chassis: 20, Switches: 4, Ports: 200, Local: 20}
	Edged = Size{Chassis: 2000, Switches: 100, Ports: 20000, Local: 20, Edges: 50, Routes: 2000, NATs: 5000}
	Plain = Size{Chassis: 2000, Switches: 100, Ports: 20000, Local: 20, OnDemand: true, Demands: 40}
)

// Stored returns what the store holds of a topology, parents first.
func (s Size) Stored() []topology.Stored {
	out := []topology.Stored{topology.Router{Name: "LR", ID: 1}}
	for i := range s.Chassis {
		out = append(out, topology.Chassis{Name: chassisName(i), IP: chassisAddr(i), Tick: int64(i + 1)})
	}
	for i := range s.Switches {
		sw := switchName(i)
		out = append(out, topology.Switch{Name: sw, ID: uint32(2 + i)})
		out = append(out, link("LR", sw, netip.PrefixFrom(portAddr(i, -1), 23))...)
	}
	for i := range s.Ports {
		out = append(out, s.Port(i))
	}
	for i := range s.Edges {
		out = append(out, s.edge(i)...)
	}
	for i := range s.Routes {
		e := i % s.Edges
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
		out = append(out, topology.StaticRoute{Router: "LR", Name: fmt.Sprint("route-", i), Net: net,
			NextHop: innerAddr(e, true), OutPort: "LR_to_" + edgeName("m", e)})
	}
	for i := range s.NATs {
		e, n := i/2%s.Edges, i/2
		rule := topology.NAT{Router: edgeName("edge", e), Name: fmt.Sprint("nat-", i), Type: topology.SNAT,
			Net:     netip.PrefixFrom(s.Port(n).IP, 32),
			XlateIP: netip.AddrFrom4([4]byte{192, 168, byte(e), byte(2 + n/s.Edges)})}
		if i%2 == 1 {
			rule.Type = topology.DNAT
		}
		out = append(out, rule)
	}
	return out
}

// edge returns a way out: a switch inside, an edge router, a switch outside with
// its outer port, and the routes there and back.
func (s Size) edge(i int) []topology.Stored {
	chassis := chassisName(i)
	if i == 0 {
		chassis = Self
	}
	inside, router, outside := edgeName("m", i), edgeName("edge", i), edgeName("outside", i)
	own := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 254}), 24)
	gateway := netip.AddrFrom4([4]byte{192, 168, byte(i), 1})
	id := uint32(10000 + 3*i)
	out := []topology.Stored{
		topology.Switch{Name: inside, ID: id}, topology.Router{Name: router, ID: id + 1, Chassis: chassis}, topology.Switch{Name: outside, ID: id + 2},
		topology.SwitchPort{Switch: outside, Name: outside + "-patch", IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: chassis},
	}
	out = append(out, link("LR", inside, netip.PrefixFrom(innerAddr(i, false), 16))...)
	out = append(out, link(router, inside, netip.PrefixFrom(innerAddr(i, true), 16))...)
	out = append(out, link(router, outside, own)...)
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	return append(out,
		topology.StaticRoute{Router: router, Name: "out", Net: all, NextHop: gateway, OutPort: router + "_to_" + outside},
		topology.StaticRoute{Router: router, Name: "back", Net: netip.MustParsePrefix("10.0.0.0/16"), NextHop: innerAddr(i, false), OutPort: router + "_to_" + inside},
		topology.StaticRoute{Router: "LR", Name: fmt.Sprint("out-", i), Net: all, NextHop: innerAddr(i, true), OutPort: "LR_to_" + inside})
}

// link joins a router to a switch, as tpctl lr link does.
func link(router, sw string, net netip.Prefix) []topology.Stored {
	mac := topology.MACFromIP(net.Addr())
	return []topology.Stored{
		topology.SwitchPort{Switch: sw, Name: sw + "_to_" + router, IP: net.Addr(), MAC: mac, Peer: router + "_to_" + sw},
		topology.RouterPort{Router: router, Name: router + "_to_" + sw, Net: net, MAC: mac, Peer: sw + "_to_" + router},
	}
}

func edgeName(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }

// innerAddr returns the address of the edge router, or of LR, in the switch
// inside of an edge: none that portAddr gives to a router.
func innerAddr(i int, edge bool) netip.Addr {
	host := 60000 + i
	if edge {
		host += 1000
	}
	return netip.AddrFrom4([4]byte{100, 64, byte(host >> 8), byte(host)})
}

// Port returns the i-th port. i may be beyond Ports: a port to be added.
func (s Size) Port(i int) topology.SwitchPort {
	sw := i % s.Switches
	ip := portAddr(sw, i/s.Switches)
	p := topology.SwitchPort{Switch: switchName(sw), Name: fmt.Sprintf("port-%d", i), IP: ip, MAC: topology.MACFromIP(ip), Chassis: chassisName(i % s.Chassis)}
	if i < s.Local {
		p.Chassis = Self
	}
	return p
}

// Demand returns the i-th port that traffic goes to.
func (s Size) Demand(i int) topology.Demand {
	p := s.Port(s.Local + i)
	return topology.Demand{Switch: p.Switch, Port: p.Name}
}

// Facts returns what the node knows of itself: an interface for each local
// port and a tunnel to each chassis, or to those that traffic goes to.
func (s Size) Facts() []topology.Entity {
	out := []topology.Entity{topology.Node{Chassis: Self, IP: netip.MustParseAddr("172.16.0.1"), MTU: 1500, OnDemand: s.OnDemand, Redirect: true}}
	wanted := map[string]bool{}
	for i := range s.Demands {
		out = append(out, s.Demand(i))
		wanted[s.Port(s.Local+i).Chassis] = true
	}
	if s.OnDemand {
		out = append(out, topology.Tunnel{Chassis: ovs.FlowBased, OFPort: 999})
	}
	for i := range s.Chassis {
		if !s.OnDemand || wanted[chassisName(i)] {
			out = append(out, topology.Tunnel{Chassis: chassisName(i), OFPort: uint32(1000 + i), Watched: i < s.Edges})
		}
	}
	if s.Edges > 0 {
		out = append(out, topology.Interface{Port: edgeName("outside", 0) + "-patch", OFPort: 900})
	}
	for i := range s.Local {
		out = append(out, topology.Interface{Port: s.Port(i).Name, OFPort: uint32(1 + i)})
	}
	return out
}

// Changes returns the whole topology as a model takes it.
func (s Size) Changes() []topology.Change {
	var out []topology.Change
	for i, e := range s.Stored() {
		out = append(out, topology.Change{Key: e.Key(), Entity: e, Created: int64(i + 1)})
	}
	for _, e := range s.Facts() {
		out = append(out, topology.Change{Key: e.Key(), Entity: e})
	}
	return out
}

func switchName(i int) string  { return fmt.Sprintf("LS-%d", i) }
func chassisName(i int) string { return fmt.Sprintf("hv-%d", i) }

func chassisAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{172, byte(16 + i>>16), byte(i >> 8), byte(i)})
}

// portAddr returns the address of the n-th port of a switch; -1 is its router.
// Switches are /23 networks of one /16, as a router's ports must differ in the
// low half of their addresses.
func portAddr(sw, n int) netip.Addr {
	host := sw<<9 + n + 2
	return netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)})
}
