package lab

import (
	"strings"
	"testing"
)

// TestOutside shows the physical network: machines between the hosts and behind
// the router reach each other and the hosts, an edge's second NIC in a bridge of
// its own reaches the network too, and paths are as wide as they are said to be.
func TestOutside(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	spec, err := Parse([]byte(`
hosts: [{name: edge, kind: gateway, nics: 2, mtu: 1500}]
outside:
- {name: client, address: 192.168.1.100}
- {name: web, address: 172.16.1.10/24, mtu: 1400}
routes: [{to: 10.20.0.0/16, via: 192.168.1.20}]
switches:
- {name: S, ports: [{name: p, address: 10.20.1.10}]}
workloads: [{port: p, host: edge}]
`))
	if err != nil {
		t.Fatal(err)
	}
	l := up(t, spec)
	run := func(where string, line string) string {
		t.Helper()
		out, err := l.Exec(ctx, where, strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, pair := range [][2]string{
		{"client", "web"}, {"web", "client"}, {"client", "phy"}, {"web", "phy"}, {"phy", "web"},
		{"client", "edge"}, {"edge", "client"}, {"edge", "web"}, {"web", "edge"},
	} {
		checkPing(t, l, pair[0], pair[1], true)
	}

	// The network behind the router is as narrow as its machine's cable, and
	// the router says so.
	run("edge", "ping -c 1 -W 2 -M do -s 1372 172.16.1.10")
	_, err = l.Exec(ctx, "client", "ping", "-c", "1", "-W", "2", "-M", "do", "-s", "1373", "172.16.1.10")
	if err == nil {
		t.Error("a packet of 1401 bytes crossed a network with an MTU of 1400")
	}
	if out := run("client", "ip route get 172.16.1.10"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("the client did not learn the path's MTU: %s", out)
	}
	if out := run("p", "ip link show eth0"); !strings.Contains(out, "mtu 1400 ") {
		t.Errorf("a workload behind a cable of 1500 bytes has %s", out)
	}
	if out := run("phy", "ip route show 10.20.0.0/16"); !strings.HasPrefix(out, "10.20.0.0/16 via 192.168.1.20 dev br0") {
		t.Errorf("the physical switch has the route %q", out)
	}

	// The tutorial's edge with two NICs. Both bridges are there again after
	// ovs-vswitchd died; then the workload goes into the new one.
	run("edge", "ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev -- add-port br0 eth1")
	if err := l.Kill(ctx, "edge", Vswitchd); err != nil {
		t.Fatal(err)
	}
	checkPing(t, l, "client", "edge", false)
	if err := l.WaitReady(ctx); err != nil {
		t.Errorf("waiting for what nobody started: %v", err)
	}
	if err := l.Start(ctx, "edge", Vswitchd); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	checkPing(t, l, "client", "edge", true)
	run("edge", "ovs-vsctl del-port br-int p -- add-port br0 p")
	run("p", "ip addr add 192.168.1.20/24 dev eth0")
	run("client", "ping -c 1 -W 2 192.168.1.20")

	// Either cable can be cut alone.
	for _, c := range []struct{ nic, behind, other string }{
		{"eth0", "192.168.1.10", "192.168.1.20"},
		{"eth1", "192.168.1.20", "192.168.1.10"},
	} {
		if err := l.CutLink(ctx, "edge", c.nic); err != nil {
			t.Fatal(err)
		}
		if carrier := run("edge", "cat /sys/class/net/"+c.nic+"/carrier"); carrier != "0\n" {
			t.Errorf("%s is cut, and its carrier is %q", c.nic, carrier)
		}
		checkPing(t, l, "client", c.other, true)
		checkPing(t, l, "client", c.behind, false)
		if err := l.JoinLink(ctx, "edge", c.nic); err != nil {
			t.Fatal(err)
		}
		// Open vSwitch and both ends' neighbour tables take a moment.
		run("client", "ping -c 1 -w 10 "+c.behind)
	}
	if err := l.CutLink(ctx, "web", ""); err != nil {
		t.Fatal(err)
	}
	checkPing(t, l, "client", "web", false)
	for _, c := range []struct{ machine, nic, want string }{
		{"edge", "eth2", `edge has no NIC "eth2" (it has eth0, eth1)`},
		{"web", "eth1", `web has no NIC "eth1" (it has eth0)`},
		{"edgy", "", `no host is named "edgy"; did you mean "edge"?`},
	} {
		if err := l.CutLink(ctx, c.machine, c.nic); err == nil || err.Error() != c.want {
			t.Errorf("cut %s %s: %v, want %s", c.machine, c.nic, err, c.want)
		}
	}

	status, err := l.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := (OutsideStatus{"web", "172.16.1.10/24", 1400, l.Name + "-web"}); len(status.Outside) != 2 || status.Outside[1] != want {
		t.Errorf("the status of the machines outside is %+v", status.Outside)
	}
	if err := l.AddWorkload(ctx, "web", "edge"); err == nil || !strings.Contains(err.Error(), "something else of that name") {
		t.Errorf("a workload with the name of an outside machine: %v", err)
	}
}
