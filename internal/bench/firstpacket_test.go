package bench

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/topology"
)

// BenchmarkFirstPacket measures from the moment that a packet to a destination
// is sent to which none ever was, until the flow that leads there is in the
// bridge: with a tunnel to its chassis that is there, and with one that has to
// be made. 20,000 ports are in etcd.
func BenchmarkFirstPacket(b *testing.B) {
	n := demandLab(b, true, 0)
	st := n.store()
	const chassis, ports = 20, 20000
	populate(b, st, "far", "h2", addresses("10.30.1.0", ports))
	var known, unknown []netip.Addr
	for i := range chassis {
		c := topology.Chassis{Name: fmt.Sprint("far", i), IP: netip.AddrFrom4([4]byte{192, 168, 1, byte(100 + i)}), Tick: 1}
		// Nobody takes packets there, but its MAC can be asked for.
		n.must("phy", "ip", "addr", "add", c.IP.String()+"/24", "dev", "br0")
		if err := st.PutChassis(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		ip := netip.AddrFrom4([4]byte{10, 30, 200, byte(i + 1)})
		populate(b, st, "far", c.Name, []netip.Addr{ip})
		unknown = append(unknown, ip)
	}
	for i := range 100 {
		known = append(known, addresses("10.30.1.0", ports)[i*190])
	}
	n.ready()
	n.must("alice", "ping", "-c", "3", "-i", "0.2", "10.30.0.10") // makes the tunnel to h2

	s := n.sender("alice", "h1")
	measure := func(what, bound string, within time.Duration, to []netip.Addr) {
		var times []time.Duration
		for _, ip := range to {
			times = append(times, s.first(ip))
		}
		middle := median(times) // it sorts
		report(b, "first packet to flow installed, "+what,
			fmt.Sprintf("median %.1f ms, worst of %d %.1f ms", micro(middle)/1e3, len(times), micro(times[len(times)-1])/1e3), bound, middle <= within)
	}
	measure("the tunnel is there", "median 5 ms", 5*time.Millisecond, known)
	measure("the tunnel has to be made", "median 20 ms, ours", 20*time.Millisecond, unknown)
}

// addresses returns some in a row.
func addresses(from string, count int) []netip.Addr {
	all := make([]netip.Addr, count)
	ip := netip.MustParseAddr(from)
	for i := range all {
		all[i], ip = ip, ip.Next()
	}
	return all
}

// sender sends packets from a workload and sees when flows come.
type sender struct {
	n      *network
	bridge *openflow.Conn // of the workload's host
	socket net.PacketConn
}

func (n *network) sender(workload, host string) *sender {
	n.b.Helper()
	s := &sender{n: n, socket: n.udp(workload)}
	var err error
	if s.bridge, err = openflow.Dial(n.b.Context(), filepath.Join(n.Dir, host, "br-int.mgmt")); err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() { s.bridge.Close() })
	return s
}

// udp makes a socket in a workload.
func (n *network) udp(workload string) net.PacketConn {
	n.b.Helper()
	var socket net.PacketConn
	err := n.in(workload, func() (err error) {
		socket, err = net.ListenPacket("udp4", ":0")
		return err
	})
	if err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() { socket.Close() })
	return socket
}

// first sends a packet to an address and returns how long it took until its
// flow had come: the bridge is asked all the time.
func (s *sender) first(ip netip.Addr) time.Duration {
	s.n.b.Helper()
	before := s.known()
	start := time.Now()
	if _, err := s.socket.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9))); err != nil {
		s.n.b.Fatal(err)
	}
	for s.known() == before {
		if time.Since(start) > 5*time.Second {
			s.n.b.Fatalf("no flow leads to %s", ip)
		}
	}
	return time.Since(start)
}

// known returns how many destinations the bridge has flows to.
func (s *sender) known() int {
	s.n.b.Helper()
	count := 0
	for _, err := range s.bridge.DumpTable(s.n.b.Context(), uint8(flows.TableSwitchLookup), flows.CookieTag, flows.CookieMask) {
		if err != nil {
			s.n.b.Fatal(err)
		}
		count++
	}
	return count
}

// BenchmarkFirstPing compares the first ping to a destination, to which no
// packet ever went, with the second one.
func BenchmarkFirstPing(b *testing.B) {
	const count = 20
	for _, edge := range []bool{true, false} {
		how := "without an edge"
		if edge {
			how = "with an edge"
		}
		b.Run(strings.ReplaceAll(how, " ", "-"), func(b *testing.B) {
			n := demandLab(b, edge, count)
			for i, way := range []string{"in a switch", "across the router"} {
				var first, second []time.Duration
				lost, within := 0, true
				for d := range count {
					ip := fmt.Sprintf("10.%d.1.%d", 20+10*i, d+1)
					times := n.pingTimes("alice", ip)
					if len(times) != 2 {
						lost += 2 - len(times)
						continue
					}
					first, second = append(first, times[0]), append(second, times[1])
					within = within && times[0] <= 2*times[1]+20*time.Millisecond
				}
				if len(first) == 0 {
					b.Fatal("no ping came back")
				}
				middle, after := median(first), median(second)
				report(b, fmt.Sprintf("first ping to a destination %s, %s", way, how),
					fmt.Sprintf("%d lost; first median %.1f ms, worst of %d %.1f ms; second median %.1f ms", lost, micro(middle)/1e3, len(first), micro(slices.Max(first))/1e3, micro(after)/1e3),
					"none lost; twice the second one's time and 20 ms", lost == 0 && within)
			}
		})
	}
}

var pingTime = regexp.MustCompile(`icmp_seq=\d+ ttl=\d+ time=([\d.]+) ms`)

// pingTimes sends two pings, and returns how long those took that came back.
func (n *network) pingTimes(from, to string) []time.Duration {
	n.b.Helper()
	out, _ := n.Exec(n.b.Context(), from, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", to) // its status tells of losses
	var times []time.Duration
	for _, m := range pingTime.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			n.b.Fatal(err)
		}
		times = append(times, time.Duration(ms*1e6))
	}
	return times
}
