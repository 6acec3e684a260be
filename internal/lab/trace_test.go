package lab

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

// twoHostsView is the topology that the recorded traces were taken in.
var twoHostsView = &view{
	switches: []topology.Switch{{Name: "LS-A", ID: 1}, {Name: "LS-B", ID: 2}},
	routers:  []topology.Router{{Name: "LR-central", ID: 3}},
}

func readTrace(t *testing.T, name string) *trace {
	t.Helper()
	out, err := os.ReadFile("testdata/" + name + ".trace")
	if err != nil {
		t.Fatal(err)
	}
	return parseTrace(string(out))
}

func lines(hops []Hop) string {
	var b strings.Builder
	for _, h := range hops {
		b.WriteString(h.String() + "\n")
	}
	return b.String()
}

func TestTraceIntoTunnel(t *testing.T) {
	t.Parallel()
	tr := readTrace(t, "userspace")
	want := `hv: bridge br-int: classify
hv: switch LS-A: switch-arp > switch-hook > switch-lookup > switch-loopback > switch-deliver
hv: router LR-central: router-admit > router-route > router-forward
hv: switch LS-B: neighbour > neighbour-done > switch-hook > switch-lookup > switch-output
`
	if diff := cmp.Diff(want, lines(tr.hops("hv", twoHostsView))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(&tunnel{"192.168.1.11", 2, "0x20a0201"}, tr.tunnel, cmp.AllowUnexported(tunnel{})); diff != "" {
		t.Errorf("tunnel (-want +got)\n%s", diff)
	}
	got := tr.received("unused")
	const packet = "in_port=LOCAL,tun_dst=192.168.1.11,tun_id=2,tun_metadata0=0x20a0201,icmp,dl_src=f2:01:0a:14:02:01,dl_dst=f2:01:00:00:00:02," +
		"nw_src=10.20.1.10,nw_dst=10.20.2.10,nw_ttl=63,icmp_type=8,icmp_code=0"
	if got != packet {
		t.Errorf("the packet that is received is\n%s\nwant\n%s", got, packet)
	}
}

func TestTraceEnds(t *testing.T) {
	t.Parallel()
	tr := readTrace(t, "delivered")
	if got, want := lines(tr.hops("hv", twoHostsView)), "hv: bridge br-int: classify\nhv: switch LS-B: switch-loopback > switch-deliver\n"; got != want {
		t.Errorf("delivered: the path is\n%swant\n%s", got, want)
	}
	if tr.out != "lsp-bob" || tr.tunnel != nil {
		t.Errorf("delivered: out %q, tunnel %v", tr.out, tr.tunnel)
	}
	tr = readTrace(t, "dropped")
	if tr.out != "" || tr.tunnel != nil {
		t.Errorf("dropped: out %q, tunnel %v", tr.out, tr.tunnel)
	}
	if got := lines(tr.hops("hv", twoHostsView)); !strings.HasSuffix(got, "router LR-central: router-admit > router-route > drop\n") {
		t.Errorf("dropped: the path is\n%s", got)
	}
}

// TestTraceEdge follows a packet to an edge, where connection tracking gives it
// another address, and what becomes of it there if nobody knows the next hop.
func TestTraceEdge(t *testing.T) {
	t.Parallel()
	v := &view{
		switches: []topology.Switch{{Name: "LS-A", ID: 1}, {Name: "m2", ID: 5}, {Name: "outside2", ID: 6}},
		routers:  []topology.Router{{Name: "LR-central", ID: 7}, {Name: "LR-edge2", ID: 9}},
	}
	// What would happen to a larger packet is no part of the path.
	tr := readTrace(t, "checked")
	want := `hv: bridge br-int: classify
hv: switch LS-A: switch-arp > switch-hook > switch-direct > switch-lookup > switch-loopback > switch-deliver
hv: router LR-central: router-admit > router-route > router-path > router-nat > router-forward
hv: switch m2: neighbour > neighbour-done > switch-hook > switch-direct > switch-lookup > switch-output > tunnel
`
	if diff := cmp.Diff(want, lines(tr.hops("hv", v))); diff != "" {
		t.Errorf("checked (-want +got)\n%s", diff)
	}
	if tr.tunnel == nil || tr.tunnel.dst != "192.168.1.13" || tr.asked {
		t.Errorf("checked: tunnel %v, asked %v", tr.tunnel, tr.asked)
	}
	const edge = `hv: bridge br-int: classify
hv: switch m2: switch-loopback > switch-deliver
hv: router LR-edge2: router-admit > router-route > router-nat > router-outside
hv: switch outside2: neighbour`
	tr = readTrace(t, "translated")
	want = edge + " > neighbour-done > switch-hook > switch-direct > switch-lookup > switch-loopback > switch-deliver\n"
	if diff := cmp.Diff(want, lines(tr.hops("hv", v))); diff != "" {
		t.Errorf("translated (-want +got)\n%s", diff)
	}
	if tr.out != "eth1" || tr.tunnel != nil || tr.asked {
		t.Errorf("translated: out %q, tunnel %v, asked %v", tr.out, tr.tunnel, tr.asked)
	}
	tr = readTrace(t, "asked")
	if diff := cmp.Diff(edge+"\n", lines(tr.hops("hv", v))); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	if tr.out != "" || tr.tunnel != nil || !tr.asked {
		t.Errorf("asked: out %q, tunnel %v, asked %v", tr.out, tr.tunnel, tr.asked)
	}
	// That the agent tells the sender makes it no less of a drop.
	if tr = readTrace(t, "told"); tr.out != "" || tr.tunnel != nil || tr.asked {
		t.Errorf("told: out %q, tunnel %v, asked %v", tr.out, tr.tunnel, tr.asked)
	}
}

// TestTraceHairpin has a packet come back from an edge whose ICMP type
// ofproto/trace has written a translated port over.
func TestTraceHairpin(t *testing.T) {
	t.Parallel()
	tr := readTrace(t, "hairpin")
	if !strings.Contains(tr.final, "icmp_type=1024") || tr.tunnel == nil {
		t.Fatalf("the trace shows nothing: tunnel %v, final flow %s", tr.tunnel, tr.final)
	}
	const want = "in_port=LOCAL,tun_dst=192.168.1.11,tun_id=2,tun_metadata0=0x20a0201,icmp,dl_src=f2:01:0a:14:02:01,dl_dst=f2:01:0a:14:02:0a," +
		"nw_src=192.168.1.30,nw_dst=10.20.2.10,nw_ttl=61,icmp_type=8,icmp_code=0"
	if got := tr.received("unused"); got != want {
		t.Errorf("the packet that is received is\n%s\nwant\n%s", got, want)
	}
}

// TestTraceActions covers what the recorded traces do not show: the kernel's
// datapath, and packets that leave changed or not at all.
func TestTraceActions(t *testing.T) {
	t.Parallel()
	for actions, want := range map[string]trace{
		"set(tunnel(tun_id=0x2,dst=192.168.1.11,ttl=64,tp_dst=6081,geneve({class=0xffee,type=0,len=8,0x20a0201}),flags(df|csum|key))),set(eth(src=f2:01:0a:14:02:01,dst=f2:01:00:00:00:02)),genev_sys_6081": {tunnel: &tunnel{"192.168.1.11", 2, "0x20a0201"}},
		"set(tunnel(tun_id=0x7,src=192.168.1.10,dst=192.168.1.11,ttl=64,tp_dst=6081,flags(df|csum|key))),genev_sys_6081":                                                                                    {tunnel: &tunnel{"192.168.1.11", 7, "0x0"}},
		"set(eth(src=f2:01:0a:14:02:01,dst=f2:01:00:00:00:02)),set(ipv4(ttl=63)),lsp-bob":                                                                                                                   {out: "lsp-bob"},
		"set(ipv4(ttl=63))": {}, // nobody knows the tunnel's next hop yet
		"drop":              {},
		"":                  {},
	} {
		tr := &trace{}
		tr.leave(actions)
		if diff := cmp.Diff(&want, tr, cmp.AllowUnexported(trace{}, tunnel{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", actions, diff)
		}
	}
}
