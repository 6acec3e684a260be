package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// BenchmarkEdgeDeath kills ovs-vswitchd of one of two edges under traffic, in
// turn, and measures for how long a destination behind it gets nothing.
func BenchmarkEdgeDeath(b *testing.B) {
	edgeDeath(b, "default BFD intervals", 200*time.Millisecond, nil, "1 s", time.Second)
	const tuned = 50 * time.Millisecond
	const detection = 3 * tuned // three packets that do not come
	edgeDeath(b, "BFD_INTERVAL=50", tuned, map[string]string{"BFD_INTERVAL": "50"}, "3 detection intervals, 450 ms", 3*detection)
}

func edgeDeath(b *testing.B, setting string, interval time.Duration, env map[string]string, bound string, within time.Duration) {
	b.Run(strings.ReplaceAll(setting, " ", "-"), func(b *testing.B) {
		spec, err := lab.Edges(2)
		if err != nil {
			b.Fatal(err)
		}
		for i := range spec.Hosts {
			spec.Hosts[i].Env = env
		}
		n := newNetwork(b, spec)
		n.addDestinations()
		const runs = 6
		var outages []time.Duration
		for run := range runs {
			edge := fmt.Sprint("host-edge", run%2+1)
			n.settled(interval)
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

// death kills an edge under traffic and returns the longest outage of a
// destination.
func (n *network) death(edge string) time.Duration {
	n.b.Helper()
	var dead time.Time
	all := n.traffic("lsp-alice", 2500*time.Millisecond, func() {
		if err := n.Kill(n.b.Context(), edge, lab.Vswitchd); err != nil {
			n.b.Fatal(err)
		}
		dead = time.Now()
	})
	var longest time.Duration
	for i, s := range all {
		if !s.goesOn(dead) {
			n.b.Fatalf("%s did not answer again after the death of %s", destination(i), edge)
		}
		longest = max(longest, s.outage(dead))
	}
	if longest == 0 {
		n.b.Fatalf("nobody noticed the death of %s: it had no traffic", edge)
	}
	return longest
}

// settled waits until the workload's host has had sessions at full rate with
// both edges for a while. A session begins with a packet a second whatever the
// settings (RFC 5880, 6.8.3), and says so to the other end, which then waits for
// three of those.
func (n *network) settled(interval time.Duration) {
	n.b.Helper()
	const while = 2 * time.Second
	rate := fmt.Sprintf("Remote Minimum TX Interval: %dms", interval.Milliseconds())
	since := time.Now()
	n.eventually("the BFD sessions do not settle", func() bool {
		sessions := n.must("host-alice", "ovs-appctl", "bfd/show")
		if strings.Count(sessions, "Forwarding: true") != 2 || strings.Count(sessions, rate) != 2 {
			since = time.Now()
		}
		return time.Since(since) > while
	})
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
		n.eventually("the second edge gets no traffic", n.secondForwards)
		remove()
	})
	lost := reportLost(b, "packets lost while an edge is added, drained and removed", changed)

	add()
	restarted := n.traffic("lsp-alice", 10*time.Second, func() {
		n.eventually("the second edge gets no traffic", n.secondForwards)
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
	lost += reportLost(b, "packets lost when an edge's agent is killed and restarted", restarted)
	b.ReportMetric(float64(lost), "lost")
}

// secondForwards reports whether pings leave by the second edge.
func (n *network) secondForwards() bool {
	n.b.Helper()
	flows := n.must("host-edge2", "ovs-appctl", "dpctl/dump-flows")
	return strings.Contains(flows, "tunnel(") && strings.Contains(flows, "ipv4(dst=172.16.1.")
}

func reportLost(b *testing.B, what string, all []series) (lost int) {
	b.Helper()
	sent := 0
	for _, s := range all {
		sent, lost = sent+s.sent, lost+s.lost()
	}
	report(b, what, fmt.Sprintf("%d of %d", lost, sent), "0", lost == 0)
	return lost
}
