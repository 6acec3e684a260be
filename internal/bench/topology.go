package bench

import (
	"fmt"
	"net/netip"

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
}

// The sizes that the promises name.
var (
	Large = Size{Chassis: 2000, Switches: 100, Ports: 20000, Local: 20}
	Small = Size{Chassis: 20, Switches: 4, Ports: 200, Local: 20}
)

// Stored returns what the store holds of a topology, parents first.
func (s Size) Stored() []topology.Stored {
	out := []topology.Stored{topology.Router{Name: "LR", ID: 1}}
	for i := range s.Chassis {
		out = append(out, topology.Chassis{Name: chassisName(i), IP: chassisAddr(i), Tick: int64(i + 1)})
	}
	for i := range s.Switches {
		sw := switchName(i)
		gw := netip.PrefixFrom(portAddr(i, -1), 23)
		mac := topology.MACFromIP(gw.Addr())
		out = append(out,
			topology.Switch{Name: sw, ID: uint32(2 + i)},
			topology.SwitchPort{Switch: sw, Name: sw + "_to_LR", IP: gw.Addr(), MAC: mac, Peer: "LR_to_" + sw},
			topology.RouterPort{Router: "LR", Name: "LR_to_" + sw, Net: gw, MAC: mac, Peer: sw + "_to_LR"})
	}
	for i := range s.Ports {
		out = append(out, s.Port(i))
	}
	return out
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

// Facts returns what the node knows of itself: a tunnel to each chassis and an
// interface for each local port.
func (s Size) Facts() []topology.Entity {
	out := []topology.Entity{topology.Node{Chassis: Self}}
	for i := range s.Chassis {
		out = append(out, topology.Tunnel{Chassis: chassisName(i), OFPort: uint32(1000 + i)})
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
