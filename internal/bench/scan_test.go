package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/flows"
	"tuplenet/internal/lab"
	"tuplenet/internal/topology"
)

// A scan, as the promise has it.
const (
	scanRate  = 10000 // packets a second
	scanLasts = 20 * time.Second
)

// BenchmarkScan scans networks from a workload, while another one on its host
// pings a third one, and looks at what that costs: a /16 behind the router and
// the workload's own, in which next to nobody is, and one where every packet
// goes to somebody else.
func BenchmarkScan(b *testing.B) {
	n := demandLab(b, true, 0)
	udp := n.udp("alice")
	probe := func(ip netip.Addr) error {
		_, err := udp.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9)))
		return err
	}
	n.must("carol", "ping", "-c", "3", "-i", "0.2", "10.30.0.10") // is no first one later
	n.scan("a /16 behind the router", addresses("10.50.0.0", 1<<16), probe)
	n.scan("the workload's own /16, by ARP", addresses("10.20.0.0", 1<<16), n.arp("alice", "10.20.0.10"))

	all := addresses("10.30.1.0", 20000)
	populate(b, n.store(), "far", n.deadEnd(), all)
	n.ready()
	n.scan("20,000 addresses that are there", all, probe)
}

// deadEnd makes a chassis that nobody is on, so that the packets to it cost no
// Open vSwitch anything. Its name is returned.
func (n *network) deadEnd() string {
	n.b.Helper()
	c := topology.Chassis{Name: "dead-end", IP: netip.MustParseAddr("192.168.1.99"), Tick: 1}
	n.must("phy", "ip", "addr", "add", c.IP.String()+"/24", "dev", "br0") // which has a MAC that can be asked for
	if err := n.store().PutChassis(n.b.Context(), c); err != nil {
		n.b.Fatal(err)
	}
	return c.Name
}

// scan sends to one address after the other, and reports what it costs.
func (n *network) scan(what string, to []netip.Addr, send func(netip.Addr) error) {
	n.b.Helper()
	agent, vswitchd, edge := n.pid("h1", lab.Agent), n.pid("h1", lab.Vswitchd), n.pid("edge1", lab.Vswitchd)
	used := func() []time.Duration {
		return []time.Duration{cpu(n.b, agent), cpu(n.b, vswitchd), cpu(n.b, edge)}
	}
	const interval = 10 * time.Millisecond
	ping := n.command("carol", "ping", "-n", "-D", "-W", "2", "-i", fmt.Sprint(interval.Seconds()), "-c", fmt.Sprint(int(scanLasts/interval)), "10.30.0.10")
	var out bytes.Buffer
	ping.Stdout = &out
	if err := ping.Start(); err != nil {
		n.b.Fatal(err)
	}
	before, punted := used(), n.metered()
	start, sent := time.Now(), 0
	var megaflows, atEdge int
	for elapsed := time.Duration(0); elapsed < scanLasts; elapsed = time.Since(start) {
		for ; sent < int(elapsed.Seconds()*scanRate); sent++ {
			if err := send(to[sent%len(to)]); err != nil {
				n.b.Fatalf("send to %s: %v", to[sent%len(to)], err)
			}
		}
		if megaflows == 0 && elapsed > scanLasts/2 {
			megaflows, atEdge = n.megaflows("h1"), n.megaflows("edge1")
		}
		time.Sleep(time.Millisecond)
	}
	after := used()
	share := func(i int) float64 { return (after[i] - before[i]).Seconds() / scanLasts.Seconds() * 100 }
	ping.Wait() // its status tells of losses, which are counted here
	pings, err := parsePings(out.String())
	if err != nil {
		n.b.Fatal(err)
	}
	report(n.b, fmt.Sprintf("scan of %s, %d packets a second for %s", what, scanRate, scanLasts),
		fmt.Sprintf("agent %.1f%% of a core, %d packets came to it; ovs-vswitchd %.0f%%, %d megaflows; on the edge %.0f%%, %d megaflows; %d of %d pings lost",
			share(0), n.metered()-punted, share(1), megaflows, share(2), atEdge, pings.lost(), pings.sent),
		"agent 20% of a core, no ping lost", share(0) < 20 && pings.lost() == 0)
}

func (n *network) megaflows(host string) int {
	n.b.Helper()
	return strings.Count(n.must(host, "ovs-appctl", "dpctl/dump-flows"), "actions:")
}

var meterCounts = regexp.MustCompile(`packet_in_count:(\d+)[^\n]*\n0: packet_count:(\d+)`)

// metered returns how many packets to unknown destinations the meter of h1 has
// let through.
func (n *network) metered() int {
	n.b.Helper()
	out := n.must("h1", "ovs-ofctl", "-OOpenFlow14", "meter-stats", "br-int", fmt.Sprint("meter=", flows.MeterWanted.ID()))
	m := meterCounts.FindStringSubmatch(out)
	if m == nil {
		n.b.Fatalf("no counts of a meter: %s", out)
	}
	came, _ := strconv.Atoi(m[1]) // digits, by the expression
	dropped, _ := strconv.Atoi(m[2])
	return came - dropped
}

// arp returns a function that asks for the MAC of an address by eth0 of a
// workload.
func (n *network) arp(workload, own string) func(netip.Addr) error {
	n.b.Helper()
	var socket int
	var nic *net.Interface
	err := n.in(workload, func() (err error) {
		if nic, err = net.InterfaceByName("eth0"); err == nil {
			socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // receives nothing
		}
		return err
	})
	if err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() { unix.Close(socket) })
	ip := netip.MustParseAddr(own).As4()
	frame := bytes.Repeat([]byte{0xff}, 6) // to everybody
	frame = append(frame, nic.HardwareAddr...)
	frame = append(frame, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1) // a request for an IPv4 address, RFC 826
	frame = append(append(append(frame, nic.HardwareAddr...), ip[:]...), make([]byte, 10)...)
	to := &unix.SockaddrLinklayer{Ifindex: nic.Index, Halen: 6}
	return func(target netip.Addr) error {
		ip := target.As4()
		copy(frame[len(frame)-4:], ip[:])
		return unix.Sendto(socket, frame, 0, to)
	}
}
