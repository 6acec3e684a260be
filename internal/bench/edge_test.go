package bench

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// BenchmarkEdgeDeath kills ovs-vswitchd of one of two edges under traffic, in
// turn, and measures for how long a destination behind it gets nothing.
func BenchmarkEdgeDeath(b *testing.B) {
	edgeDeath(b, "by default", nil, "1 s", time.Second)
	// Three packets that do not come in 50 ms each are a detection interval.
	const detection = 3 * 50 * time.Millisecond
	edgeDeath(b, "with BFD_INTERVAL=50", map[string]string{"BFD_INTERVAL": "50"}, "3 detection intervals, 450 ms", 3*detection)
}

func edgeDeath(b *testing.B, setting string, env map[string]string, bound string, within time.Duration) {
	b.Run(strings.ReplaceAll(setting, " ", "-"), func(b *testing.B) {
		spec, err := lab.Edges(2)
		if err != nil {
			b.Fatal(err)
		}
		for i := range spec.Hosts {
			spec.Hosts[i].Env = maps.Clone(env)
		}
		n := newNetwork(b, spec)
		n.addDestinations()
		const runs = 8
		var outages []time.Duration
		for run := range runs {
			edge := fmt.Sprint("host-edge", run%2+1)
			outages = append(outages, n.death(edge))
			if err := n.Start(b.Context(), edge, lab.Vswitchd); err != nil {
				b.Fatal(err)
			}
			n.ready()
		}
		middle := median(outages) // it sorts
		worst := outages[len(outages)-1]
		b.ReportMetric(micro(worst)/1e3, "ms/outage")
		report(b, "traffic moved after an edge's death, "+setting,
			fmt.Sprintf("median %d ms, worst of %d %d ms", middle.Milliseconds(), runs, worst.Milliseconds()), bound, worst < within)
	})
}

// death kills an edge under traffic and returns the longest outage.
func (n *network) death(edge string) time.Duration {
	n.b.Helper()
	for _, e := range []string{"host-edge1", "host-edge2"} {
		n.eventually(e+" does not forward", func() bool { return n.forwards("host-alice", e) })
	}
	all := n.traffic("lsp-alice", 2500*time.Millisecond, func() {
		if err := n.Kill(n.b.Context(), edge, lab.Vswitchd); err != nil {
			n.b.Fatal(err)
		}
	})
	var longest time.Duration
	hit := 0
	for i, s := range all {
		if len(s.answered) == 0 || s.answered[len(s.answered)-1].seq < s.sent {
			n.b.Fatalf("%s did not answer again", destination(i))
		}
		if s.lost() > 0 {
			hit++
		}
		longest = max(longest, s.outage())
	}
	for i, s := range all {
		n.b.Logf("DEBUG %s sent %d lost %d outage %s", destination(i), s.sent, s.lost(), s.outage())
	}
	if hit == 0 || hit == destinations {
		n.b.Fatalf("the death of %s hit %d of %d destinations: the traffic was not spread", edge, hit, destinations)
	}
	return longest
}

// forwards reports whether a host's Open vSwitch says that an edge can be used.
func (n *network) forwards(host, edge string) bool {
	n.b.Helper()
	out := n.must(host, "ovs-vsctl", "--bare", "--columns=bfd_status", "find", "Interface", "external_ids:chassis-id="+edge)
	return strings.Contains(out, "forwarding=true")
}

// addDestinations gives the web server more addresses.
func (n *network) addDestinations() {
	n.b.Helper()
	n.must("web", "ip", "route", "add", "local", "172.16.1.128/25", "dev", "lo")
	n.eventually("no ping comes back", func() bool {
		_, err := n.Exec(n.b.Context(), "lsp-alice", "ping", "-c", "1", "-W", "1", destination(0))
		return err == nil
	})
}

// One host with a workload, and two that are to become edges. The physical
// network sends what is for the virtual one to the first edge, which stays.
const beforeEdges = `
hosts:
- {name: host-alice}
- {name: host-edge1, kind: gateway}
- {name: host-edge2, kind: gateway}
outside:
- {name: web, address: 172.16.1.10/24}
routes:
- {to: 10.20.0.0/16, via: 192.168.1.20}
switches:
- name: LS-A
  ports: [{name: lsp-alice, address: 10.20.1.10}]
routers:
- name: LR-central
  links: [{switch: LS-A, address: 10.20.1.1/24}]
workloads:
- {port: lsp-alice, host: host-alice}
`

// BenchmarkEdgeChange counts packets that are lost while edges come and go on
// purpose, and while the agents of edges do.
func BenchmarkEdgeChange(b *testing.B) {
	spec, err := lab.Parse([]byte(beforeEdges))
	if err != nil {
		b.Fatal(err)
	}
	n := newNetwork(b, spec)
	n.must("host-edge1", "tpctl", "edge", "init", "--vip", "192.168.1.20/24", "--phy-br", "br-phy",
		"--virt", "10.20.0.0/16", "--ext-gw", "192.168.1.1", "--yes")
	n.addDestinations()
	add := func() { n.must("host-edge2", "tpctl", "edge", "add", "--vip", "192.168.1.21/24", "--yes") }
	remove := func() { n.must("host-edge2", "tpctl", "edge", "remove", "--vip", "192.168.1.21/24", "--yes") }

	changed := n.traffic("lsp-alice", 15*time.Second, func() {
		add()
		n.eventually("the second edge gets no traffic", n.usesSecond)
		remove()
	})
	reportLost(b, "packets lost while an edge is added, drained and removed", changed)

	add()
	n.eventually("the second edge gets no traffic", func() bool {
		n.must("lsp-alice", "sh", "-c", "for i in $(seq 130 149); do ping -q -c 1 -W 1 172.16.1.$i; done")
		return n.usesSecond()
	})
	restarted := n.traffic("lsp-alice", 8*time.Second, func() {
		for _, edge := range []string{"host-edge1", "host-edge2"} {
			if err := n.Kill(b.Context(), edge, lab.Agent); err != nil {
				b.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := n.Start(b.Context(), edge, lab.Agent); err != nil {
				b.Fatal(err)
			}
			n.ready()
		}
	})
	reportLost(b, "packets lost when an edge's agent is killed and restarted", restarted)
}

// usesSecond reports whether the second edge has packets to forward.
func (n *network) usesSecond() bool {
	n.b.Helper()
	return strings.Contains(n.must("host-edge2", "ovs-appctl", "dpctl/dump-flows"), "src=10.20.1.10")
}

func reportLost(b *testing.B, what string, all []series) {
	b.Helper()
	sent, lost := 0, 0
	for _, s := range all {
		sent, lost = sent+s.sent, lost+s.lost()
	}
	b.ReportMetric(float64(lost), "lost")
	report(b, what, fmt.Sprintf("%d of %d", lost, sent), "0", lost == 0)
}
