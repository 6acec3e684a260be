package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/lab"
)

// throughput measures for two seconds how much TCP gets from a workload to an
// address, where an iperf3 server listens. In bits a second.
func (n *network) throughput(workload, to string) float64 {
	n.b.Helper()
	var result struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	out := n.must(workload, "iperf3", "--client", to, "--time", "2", "--json")
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		n.b.Fatalf("iperf3: %v: %s", err, out)
	}
	return result.End.Received.BitsPerSecond
}

// serve starts an iperf3 server.
func (n *network) serve(where string) {
	n.b.Helper()
	n.start(where, "iperf3", "--server")
	n.eventually("no iperf3 server listens on "+where, func() bool {
		return strings.Contains(n.must(where, "ss", "-Hltn", "sport = :5201"), "5201")
	})
}

// takeTurns calls each measurement once a round and returns what each gave.
func takeTurns(rounds int, measure ...func() float64) [][]float64 {
	results := make([][]float64, len(measure))
	for round := range rounds {
		for i := range measure {
			i = (i + round) % len(measure) // none has always the same one before it
			results[i] = append(results[i], measure[i]())
		}
	}
	return results
}

// middle returns the median of figures and of their ratios, round by round, to
// others.
func middle(figures, others []float64) (figure, ratio float64) {
	ratios := make([]float64, len(figures))
	for i := range figures {
		ratios[i] = figures[i] / others[i]
	}
	sorted := func(f []float64) []float64 { return slices.Sorted(slices.Values(f)) }
	return sorted(figures)[len(figures)/2], sorted(ratios)[len(ratios)/2]
}

const mega = 1e6

// BenchmarkEastWest measures TCP between workloads of two hosts, in one switch
// and across the router, in a lab with edges, routes, NAT and BFD; in turn with
// what two more NICs of the same namespaces get, which are in plain bridges that
// the same kind of tunnel joins.
func BenchmarkEastWest(b *testing.B) {
	spec, err := lab.Edges(2)
	if err != nil {
		b.Fatal(err)
	}
	carol := lab.Port{Name: "lsp-carol", Address: "10.20.1.11"}
	spec.Switches[0].Ports = append(spec.Switches[0].Ports, carol)
	spec.Workloads = append(spec.Workloads, lab.Workload{Port: carol.Name, Host: "host-bob"})
	n := newNetwork(b, spec)
	n.plug("lsp-alice", "host-alice", "10.99.0.1", "192.168.1.11")
	n.plug("lsp-bob", "host-bob", "10.99.0.2", "192.168.1.10")
	n.serve("lsp-bob")
	n.serve("lsp-carol")

	to := func(address string) func() float64 {
		return func() float64 { return n.throughput("lsp-alice", address) }
	}
	const rounds = 5
	got := takeTurns(rounds, to("10.20.1.11"), to("10.20.2.10"), to("10.99.0.2"))
	if out := n.must("host-alice", "ovs-ofctl", "dump-ports", "br-plain", plainTunnel); !regexp.MustCompile(`tx pkts=\d{5,},`).MatchString(out) {
		b.Fatalf("what was measured as plain did not use %s: %s", plainTunnel, out)
	}

	plain, _ := middle(got[2], got[2])
	worst := math.Inf(1)
	for i, way := range []string{"in a switch", "across the router"} {
		rate, ratio := middle(got[i], got[2])
		worst = min(worst, ratio)
		report(b, "east-west throughput "+way+", against a plain bridge with the same tunnel",
			fmt.Sprintf("%.2f: %.0f against %.0f Mbit/s, medians of %d", ratio, rate/mega, plain/mega, rounds), "at least 0.9", ratio >= 0.9)
	}
	b.ReportMetric(worst, "ratio")
}

const plainTunnel = "plain-tunnel"

// plug gives a workload a second NIC, in a plain bridge of its host that a
// tunnel joins to another host. All is as it is with the first NIC, but for the
// agent's bridge.
func (n *network) plug(workload, host, address, remote string) {
	n.b.Helper()
	mtu := strings.TrimSpace(n.must(workload, "cat", "/sys/class/net/eth0/mtu"))
	n.must(host, "ip", "link", "add", "plain", "mtu", mtu, "type", "veth", "peer", "name", "eth1", "mtu", mtu, "netns", n.Name+"-"+workload)
	n.must(host, "ip", "link", "set", "plain", "up")
	n.must(workload, "ethtool", "-K", "eth1", "tx", "off")
	n.must(workload, "ip", "addr", "add", address+"/24", "dev", "eth1")
	n.must(workload, "ip", "link", "set", "eth1", "addrgenmode", "none", "up")
	n.must(host, "ovs-vsctl", "--timeout=20", "add-br", "br-plain", "--", "set", "Bridge", "br-plain", "datapath_type=netdev", "--",
		"add-port", "br-plain", "plain", "--", "add-port", "br-plain", plainTunnel, "--",
		"set", "Interface", plainTunnel, "type=geneve", "options:remote_ip="+remote, "options:key=4242", "options:csum=true")
}

// Two hosts that differ in one setting, an edge, and a way back through it.
const halfUntunnelled = `
hosts:
- {name: host-alice, env: {ENABLE_UNTUNNEL: "1"}}
- {name: host-bob}
- {name: host-edge1, kind: gateway}
outside:
- {name: web, address: 172.16.1.10/24}
routes:
- {to: 10.20.0.0/16, via: 192.168.1.20}
switches:
- name: LS-A
  ports:
  - {name: lsp-alice, address: 10.20.1.10}
  - {name: lsp-bob, address: 10.20.1.11}
- name: m1
- name: outside1
  outer: {port: patchport-outside1, host: host-edge1, bridge: br-phy}
routers:
- name: LR-central
  links:
  - {switch: LS-A, address: 10.20.1.1/24}
  - {switch: m1, address: 100.10.10.1/24}
  routes:
  - {name: to_outside1, to: 0.0.0.0/0, via: 100.10.10.2, port: LR-central_to_m1}
- name: LR-edge1
  chassis: host-edge1
  links:
  - {switch: m1, address: 100.10.10.2/24}
  - {switch: outside1, address: 192.168.1.20/24}
  routes:
  - {name: to_virt1, to: 10.20.0.0/16, via: 100.10.10.1, port: LR-edge1_to_m1}
  - {name: to_ext_world1, to: 0.0.0.0/0, via: 192.168.1.1, port: LR-edge1_to_outside1}
workloads:
- {port: lsp-alice, host: host-alice}
- {port: lsp-bob, host: host-bob}
`

// BenchmarkUntunnel measures TCP to the physical network from a host in
// untunnel mode, and in turn from one that sends through the edge: first with
// nothing but the processors to limit it, then over cables that have a speed.
func BenchmarkUntunnel(b *testing.B) {
	spec, err := lab.Parse([]byte(halfUntunnelled))
	if err != nil {
		b.Fatal(err)
	}
	n := newNetwork(b, spec)
	const web = "172.16.1.10"
	n.serve("web")
	for workload, first := range map[string]string{"lsp-alice": "192.168.1.10", "lsp-bob": "100.10.10.2"} {
		n.eventually(workload+" does not leave by "+first, func() bool {
			return strings.Contains(n.must(workload, "traceroute", "-n", "-q", "1", "-w", "1", web), " "+first+" ")
		})
	}
	compare := func(rounds int, how string) {
		from := func(workload string) func() float64 { return func() float64 { return n.throughput(workload, web) } }
		got := takeTurns(rounds, from("lsp-alice"), from("lsp-bob"))
		rate, ratio := middle(got[0], got[1])
		tunnelled, _ := middle(got[1], got[1])
		report(b, "untunnel against tunnelled throughput to the physical network, "+how,
			fmt.Sprintf("%.2f: %.0f against %.0f Mbit/s, medians of %d", ratio, rate/mega, tunnelled/mega, rounds), "above 1", ratio > 1)
	}
	compare(5, "without a limit")
	const speed = "200mbit"
	for _, host := range []string{"host-alice", "host-bob", "host-edge1"} {
		n.limit(host, "eth0", speed)
		n.limit("phy", host, speed)
	}
	compare(3, "over cables of 200 Mbit/s")
}

// limit gives what a device sends a speed.
func (n *network) limit(where, device, speed string) {
	n.b.Helper()
	n.must(where, "tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", speed, "burst", "64k", "latency", "20ms")
}
