package underlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cni.tuplenet/attach"
	"github.com/containernetworking/cni/pkg/skel"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netns"

	"tuplenet/embedded"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// node is a node on the logical port vm1, whose bridge br-node leads to a network
// that answers ARP for every address in every VLAN. The switch LS-A has three
// ports for its pods, 10.20.1.11 to 10.20.1.13, with the tags 1 to 3.
type node struct {
	t     *testing.T
	netns string // name of its namespace
	ovs   *ovstest.OVS
	etcd  *embedded.Server
	store *store.Store
}

const answersARP = "priority=9,arp,arp_op=1,actions=move:eth_src->eth_dst,set_field:02:00:00:00:00:99->eth_src," +
	"load:2->arp_op,move:arp_sha->arp_tha,set_field:02:00:00:00:00:99->arp_sha," +
	"push:arp_spa,push:arp_tpa,pop:arp_spa,pop:arp_tpa,in_port"

// startNode starts it all, and moves the test's thread to the node.
func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, ovs: ovstest.Start(t)}
	n.netns = filepath.Base(n.pod())
	n.startEtcd()
	n.startBridges()
	t.Setenv("OVS_RUNDIR", n.ovs.RunDir())
	n.enter()
	return n
}

func (n *node) startEtcd() {
	n.t.Helper()
	t, quiet := n.t, slog.New(slog.DiscardHandler)
	var err error
	if n.etcd, err = embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir(), ClientURLs: []string{"http://127.0.0.1:0"},
		PeerURLs: []string{"http://127.0.0.1:0"}, Fast: true, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.etcd.Stop)
	if n.store, err = store.Open(t.Context(), store.Config{Endpoints: n.etcd.Endpoints(), Log: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.store.Close() })
	ip := netip.MustParseAddr
	entities := []topology.Stored{
		topology.Switch{Name: "LS-A"}, topology.Switch{Name: "LS-B"}, topology.Router{Name: "LR"},
		topology.SwitchPort{Switch: "LS-A", Name: "LS-A_to_LR", IP: ip("10.20.1.1"), MAC: topology.MACFromIP(ip("10.20.1.1")), Peer: "LR_to_LS-A"},
		topology.RouterPort{Router: "LR", Name: "LR_to_LS-A", Net: netip.MustParsePrefix("10.20.1.1/24"), MAC: topology.MACFromIP(ip("10.20.1.1")), Peer: "LS-A_to_LR"},
	}
	for tag, a := range []string{"10.20.1.11", "10.20.1.12", "10.20.1.13"} {
		entities = append(entities, topology.SwitchPort{Switch: "LS-A", Name: "pod" + a, IP: ip(a), MAC: topology.MACFromIP(ip(a)),
			Parent: "vm1", Tag: uint16(tag + 1), Pool: "vm1"})
	}
	if _, err := n.store.Create(t.Context(), entities...); err != nil {
		t.Fatal(err)
	}
}

// startBridges starts an ovs-vswitchd whose devices are real, in the node's
// namespace, in place of that of ovstest.
func (n *node) startBridges() {
	n.t.Helper()
	n.ovs.StopVswitchd()
	n.ovs.Vsctl("add-br", "br-node", "--", "set", "Bridge", "br-node", "datapath_type=netdev", "--",
		"add-br", "br-net", "--", "set", "Bridge", "br-net", "datapath_type=netdev", "--",
		"add-port", "br-node", "up", "--", "set", "Interface", "up", "type=patch", "options:peer=down", "--",
		"add-port", "br-net", "down", "--", "set", "Interface", "down", "type=patch", "options:peer=up")
	vswitchd := exec.Command("ip", "netns", "exec", n.netns, "ovs-vswitchd", "--no-chdir", "-vconsole:off", "-vsyslog:off", "--disable-system", "unix:"+n.ovs.DBSock())
	vswitchd.Env = n.ovs.Env()
	if err := vswitchd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = vswitchd.Process.Kill()
		_ = vswitchd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if out, err := exec.Command("ovs-ofctl", "-OOpenFlow14", "add-flow", n.ovs.Mgmt("br-net"), answersARP).CombinedOutput(); err == nil {
			return
		} else if time.Now().After(deadline) {
			n.t.Fatalf("ovs-vswitchd does not serve br-net: %v\n%s", err, out)
		}
	}
}

// ofctl runs ovs-ofctl on the bridge with the network.
func (n *node) ofctl(args ...string) {
	n.t.Helper()
	run(n.t, "ovs-ofctl", append([]string{"-OOpenFlow14", args[0], n.ovs.Mgmt("br-net")}, args[1:]...)...)
}

// enter moves the test's thread into the node's namespace.
func (n *node) enter() {
	n.t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
		before.Close()
	})
	there, err := netns.GetFromName(n.netns)
	if err == nil {
		err = netns.Set(there)
		there.Close()
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

var pods atomic.Int32

// pod makes a namespace and returns its path.
func (n *node) pod() string {
	n.t.Helper()
	name := fmt.Sprintf("tpunderlay%dn%d", os.Getpid(), pods.Add(1))
	run(n.t, "ip", "netns", "add", name)
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() }) // a test may have done so
	return "/run/netns/" + name
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// args are what a runtime calls the plugin with; more is put into its
// configuration.
func (n *node) args(container, netns string, more map[string]any) *skel.CmdArgs {
	n.t.Helper()
	conf := map[string]any{"cniVersion": "1.1.0", "name": "net", "type": "tpcni", "switchname": "LS-A", "wait": 1,
		"underlay_bridge": "br-node", "node": "vm1", "etcd_cluster": strings.Join(n.etcd.Endpoints(), ",")}
	for key, value := range more {
		conf[key] = value
	}
	text, err := json.Marshal(conf)
	if err != nil {
		n.t.Fatal(err)
	}
	return &skel.CmdArgs{ContainerID: container, Netns: netns, IfName: "eth0", StdinData: text}
}

// add returns the result of an ADD that has to succeed.
func (n *node) add(args *skel.CmdArgs) *types100.Result {
	n.t.Helper()
	var out bytes.Buffer
	if err := add(n.t.Context(), args, &out); err != nil {
		n.t.Fatalf("ADD %s: %v", args.ContainerID, err)
	}
	r, err := types100.NewResult(out.Bytes())
	if err != nil {
		n.t.Fatalf("ADD %s answers %s: %v", args.ContainerID, &out, err)
	}
	return r.(*types100.Result)
}

// owners returns the ports of LS-A that somebody has: their addresses and owners.
func (n *node) owners() (list []string) {
	n.t.Helper()
	ports, _, err := n.store.List(n.t.Context(), topology.KindSwitchPort, "LS-A")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, p := range ports {
		if p := p.(topology.SwitchPort); p.Owner != "" {
			list = append(list, p.IP.String()+" "+p.Owner)
		}
	}
	return list
}

// devices returns the ports of the node's bridge, but that to its network, and
// the veths of the node.
func (n *node) devices() (ports, veths []string) {
	n.t.Helper()
	ports = slices.DeleteFunc(strings.Fields(n.ovs.Vsctl("list-ports", "br-node")), func(p string) bool { return p == "up" })
	for line := range strings.Lines(run(n.t, "ip", "-n", n.netns, "-o", "link", "show", "type", "veth")) {
		veths = append(veths, line)
	}
	return ports, veths
}

// wantNothing: nothing of any attachment is there.
func (n *node) wantNothing() {
	n.t.Helper()
	if owners := n.owners(); len(owners) > 0 {
		n.t.Errorf("in etcd there is %q", owners)
	}
	if ports, veths := n.devices(); len(ports)+len(veths) > 0 {
		n.t.Errorf("on the node there is %q, %q", ports, veths)
	}
}

func wantCode(t *testing.T, err error, code attach.Code, words ...string) {
	t.Helper()
	if err == nil || codeOf(err) != code {
		t.Errorf("got error %v, want code %d", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestAccessPort(t *testing.T) {
	n := startNode(t)
	ctx := t.Context()
	pod := n.pod()
	args := n.args("c1", pod, nil)
	r := n.add(args)
	if len(r.IPs) != 1 || r.IPs[0].Address.String() != "10.20.1.11/24" || r.IPs[0].Gateway.String() != "10.20.1.1" ||
		len(r.Interfaces) != 2 || r.Interfaces[1].Mac != "f2:01:0a:14:01:0b" || r.Interfaces[1].Sandbox != pod {
		t.Errorf("ADD answers %+v", r)
	}
	if got := n.owners(); !slices.Equal(got, []string{"10.20.1.11 cni:net/c1/eth0"}) {
		t.Errorf("in etcd there is %q", got)
	}
	device := attach.ID{Network: "net", Container: "c1", Ifname: "eth0"}.Device()
	if tag := strings.TrimSpace(n.ovs.Vsctl("get", "Port", device, "tag")); tag != "1" {
		t.Errorf("tag %s", tag)
	}
	if routes := run(t, "ip", "-n", filepath.Base(pod), "route"); !strings.Contains(routes, "default via 10.20.1.1 dev eth0") {
		t.Errorf("routes:\n%s", routes)
	}
	// The gateway has answered by then: who sends at once does not wait for it.
	if known := run(t, "ip", "-n", filepath.Base(pod), "neighbour"); !strings.Contains(known, "10.20.1.1 dev eth0 lladdr 02:00:00:00:00:99") {
		t.Errorf("neighbours: %q", known)
	}
	if err := add(ctx, args, &bytes.Buffer{}); err == nil {
		t.Error("ADD succeeds twice")
	} else {
		wantCode(t, err, attach.CodeAttached)
	}
	again := n.args("c1", pod, map[string]any{"prevResult": r})
	if err := check(ctx, again); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	n.ovs.Vsctl("set", "Port", device, "tag=7")
	wantCode(t, check(ctx, again), attach.CodeNotAttached, "tag 7")
	for range 2 {
		if err := del(ctx, args); err != nil {
			t.Errorf("DEL: %v", err)
		}
		n.wantNothing()
	}
	wantCode(t, check(ctx, again), attach.CodeNotAttached, "eth0")

	// A port that somebody else has made stays.
	n.ovs.Vsctl("--no-wait", "add-port", "br-node", device)
	wantCode(t, del(ctx, args), attach.CodeTryLater, "no pod's")
	wantCode(t, add(ctx, args, &bytes.Buffer{}), attach.CodeTryLater, "no pod's")
	if ports, _ := n.devices(); !slices.Equal(ports, []string{device}) {
		t.Errorf("the bridge has %q", ports)
	}
}

func TestDelWithoutNamespace(t *testing.T) {
	n := startNode(t)
	for i, netns := range []func(string) string{
		func(string) string { return "" },
		func(path string) string { run(t, "ip", "netns", "del", filepath.Base(path)); return path },
	} {
		pod := n.pod()
		container := fmt.Sprintf("c%d", i)
		n.add(n.args(container, pod, nil))
		// A configuration that has been spoiled meanwhile is no reason to keep anything.
		if err := del(t.Context(), n.args(container, netns(pod), map[string]any{"mtu": "1400"})); err != nil {
			t.Error(err)
		}
		n.wantNothing()
	}
}

// asks makes a configuration ask for an address.
func asks(ip string) map[string]any {
	return map[string]any{"args": map[string]any{"cni": map[string]any{"ips": []string{ip}}}}
}

// TestAddFails: whatever goes wrong, nothing stays.
func TestAddFails(t *testing.T) {
	n := startNode(t)
	ctx := t.Context()
	for _, tt := range []struct {
		more map[string]any
		code attach.Code
		says string
	}{
		{map[string]any{"underlay_bridge": "br-none"}, attach.CodeConfig, "br-none"},
		{map[string]any{"node": "vm2"}, attach.CodeConfig, "tpctl ls provision LS-A CIDR --node vm2"},
		{map[string]any{"switchname": "LS-B"}, attach.CodeConfig, "LS-B"},
		{map[string]any{"subnet": "10.20.2.1/24"}, attach.CodeConfig, "10.20.2.1/24"},
		{map[string]any{"etcd_cluster": "127.0.0.1:1"}, attach.CodeTryLater, "127.0.0.1:1"},
		{map[string]any{"routes": []map[string]string{{"dst": "10.96.0.0/12", "gw": "10.99.0.1"}}}, attach.CodeConfig, "10.99.0.1"},
		{asks("10.20.1.99"), attach.CodeConfig, "address 10.20.1.99 is not in the pool of node vm1 on switch LS-A, whose ports have 10.20.1.11 to 10.20.1.13"},
		{asks("10.20.1.1"), attach.CodeTaken, "address 10.20.1.1 of switch LS-A is in use: port LS-A_to_LR has it, which is not in the pool of node vm1"},
	} {
		err := add(ctx, n.args("c1", n.pod(), tt.more), &bytes.Buffer{})
		wantCode(t, err, tt.code, tt.says)
		n.wantNothing()
	}
	n.ofctl("del-flows", "arp")
	wantCode(t, add(ctx, n.args("c1", n.pod(), nil), &bytes.Buffer{}), attach.CodeTryLater, "10.20.1.1 has not answered ARP")
	n.wantNothing()
}

func TestPool(t *testing.T) {
	n := startNode(t)
	ctx := t.Context()
	static := n.args("static", n.pod(), nil)
	static.Args = "IP=10.20.1.12;MAC=02:00:00:00:00:42"
	if r := n.add(static); r.IPs[0].Address.String() != "10.20.1.12/24" || r.Interfaces[1].Mac != "02:00:00:00:00:42" {
		t.Errorf("ADD answers %+v", r)
	}
	other := n.args("other", n.pod(), nil)
	other.Args = "IP=10.20.1.12"
	wantCode(t, add(ctx, other, &bytes.Buffer{}), attach.CodeTaken, "address 10.20.1.12 of switch LS-A is in use: port pod10.20.1.12 belongs to cni:net/static/eth0")
	// That the second switch has no such address does not make the first error another.
	two := n.args("other", n.pod(), map[string]any{"switchname": "", "switches": []map[string]string{{"switchname": "LS-A"}, {"switchname": "LS-B"}}})
	two.Args = "IP=10.20.1.12"
	wantCode(t, add(ctx, two, &bytes.Buffer{}), attach.CodeTaken, "belongs to cni:net/static/eth0", "switch LS-B has no port for node vm1")
	// A claim that is left is for DEL, with whatever address the next one is wanted.
	left := n.args("static", n.pod(), nil)
	left.Args = "IP=10.20.1.13"
	wantCode(t, add(ctx, left, &bytes.Buffer{}), attach.CodeAttached, "port pod10.20.1.12 of switch LS-A is the container's already")
	n.add(n.args("c1", n.pod(), nil))
	// The first of the switches has no port for this node.
	n.add(n.args("c2", n.pod(), map[string]any{"switchname": "", "switches": []map[string]string{{"switchname": "LS-B"}, {"switchname": "LS-A"}}}))
	wantCode(t, add(ctx, n.args("c3", n.pod(), nil), &bytes.Buffer{}), attach.CodeFull, "LS-A")
	// A node that is full is in order.
	if err := status(ctx, n.args("", "", nil)); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	wantCode(t, status(ctx, n.args("", "", map[string]any{"node": "vm2"})), attach.CodeUnavailable, "vm2")
	wantCode(t, status(ctx, n.args("", "", map[string]any{"etcd_cluster": "127.0.0.1:1"})), attach.CodeUnavailable)

	want := []string{"10.20.1.11 cni:net/c1/eth0", "10.20.1.12 cni:net/static/eth0", "10.20.1.13 cni:net/c2/eth0"}
	if got := n.owners(); !slices.Equal(got, want) {
		t.Errorf("in etcd there is %q, want %q", got, want)
	}

	// By "unknown" a runtime would take it that no DEL is needed, which the claim needs.
	vanished := n.args("c1", "/run/netns/none", map[string]any{"prevResult": map[string]any{"cniVersion": "1.0.0"}})
	wantCode(t, check(ctx, vanished), attach.CodeNotAttached, "does not exist")

	// GC leaves what is valid, and what another node has.
	foreign := topology.SwitchPort{Switch: "LS-A", Name: "foreign", IP: netip.MustParseAddr("10.20.1.50"),
		MAC: topology.MAC{2, 0, 0, 0, 0, 50}, Parent: "vm2", Tag: 1, Pool: "vm2", Owner: "cni:net/theirs/eth0"}
	if _, err := n.store.Create(ctx, foreign); err != nil {
		t.Fatal(err)
	}
	valid := []map[string]string{{"containerID": "c2", "ifname": "eth0"}}
	if err := collect(ctx, n.args("", "", map[string]any{"cni.dev/valid-attachments": valid})); err != nil {
		t.Errorf("GC: %v", err)
	}
	if got := n.owners(); !slices.Equal(got, []string{"10.20.1.50 cni:net/theirs/eth0", "10.20.1.13 cni:net/c2/eth0"}) {
		t.Errorf("after GC there is %q", got)
	}
	if ports, _ := n.devices(); !slices.Equal(ports, []string{attach.ID{Network: "net", Container: "c2", Ifname: "eth0"}.Device()}) {
		t.Errorf("after GC there is %q", ports)
	}
}

// TestEtcdAway: the interface goes at once, the claim when the runtime comes again.
func TestEtcdAway(t *testing.T) {
	n := startNode(t)
	args := n.args("c1", n.pod(), nil)
	n.add(args)
	away := n.args("c1", args.Netns, map[string]any{"etcd_cluster": "127.0.0.1:1"})
	wantCode(t, del(t.Context(), away), attach.CodeTryLater, "127.0.0.1:1")
	if ports, veths := n.devices(); len(ports)+len(veths) > 0 {
		t.Errorf("on the node there is %q, %q", ports, veths)
	}
	if owners := n.owners(); len(owners) != 1 {
		t.Errorf("in etcd there is %q", owners)
	}
	if err := del(t.Context(), args); err != nil {
		t.Error(err)
	}
	n.wantNothing()
}
