package ovs

import (
	"testing"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
	"tuplenet/internal/ovs/ovstest"
)

func TestExp(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
		"--", "add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev")
	run := func(args ...string) {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		t.Logf("%v: %s %v", args, out, err)
	}
	run("ip", "addr", "add", "10.0.0.1/16", "dev", "br-phy")
	run("ip", "link", "set", "br-phy", "up")
	o.Ofctl("add-flow", "br-phy", "arp,arp_op=1,priority=9,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:00:00:00:00:99->eth_src,load:2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0x020000000099->NXM_NX_ARP_SHA[],push:NXM_OF_ARP_SPA[],push:NXM_OF_ARP_TPA[],pop:NXM_OF_ARP_SPA[],pop:NXM_OF_ARP_TPA[],in_port")
	d, _ := open(t, o)
	hv2 := spec("hv2", "10.0.0.2")
	setTunnels(t, d, hv2)
	awaitTunnels(t, d, hv2)
	awaitPackets(t, d)
	for range 5 {
	l, err := d.Resolve(t.Context(), d.Tunnels())
	t.Log(l, err)
	t.Log(o.Appctl("tnl/neigh/show"))
	}
	t.Log(o.Appctl("ovs/route/show"))
	t.Log(o.Appctl("dpif/show"))
	t.Log(o.Appctl("tnl/ports/show", "-v"))
	run("ip", "addr")
}
