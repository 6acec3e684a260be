package ovs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

func removeRemains(t *testing.T, o *ovstest.OVS, bridgeToo bool) Remains {
	t.Helper()
	r, err := RemoveRemains(t.Context(), Config{RunDir: o.RunDir()}, bridgeToo)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantRemains(t *testing.T, o *ovstest.OVS, want Remains) {
	t.Helper()
	got, err := FindRemains(t.Context(), Config{RunDir: o.RunDir()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("remains (-want +got):\n%s", diff)
	}
}

// leaveRemains does to an Open vSwitch what agents do, and what others do.
func leaveRemains(t *testing.T, o *ovstest.OVS) Remains {
	t.Helper()
	for _, name := range []string{"br-int", "br-out"} {
		o.Vsctl("add-br", name, "--", "set", "Bridge", name, "datapath_type=dummy")
	}
	d, _ := open(t, o)
	if err := d.SetTunnels(t.Context(), []TunnelSpec{flowBased, spec("hv2", "192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPatches(t.Context(), []PatchSpec{{Port: "out1", Bridge: "br-out"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetHostStack(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(t.Context(), Attachment{Device: "tp1", Port: "lsp2", Owner: "cni:net/container/eth0"}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetIPFIX(t.Context(), ipfixTo("192.168.1.1", 64, "192.0.2.9:4739")); err != nil {
		t.Fatal(err)
	}
	hold(t, d)
	d.Close()
	o.Vsctl("add-port", "br-int", "vm1", "--", "set", "Interface", "vm1", "type=dummy", "external_ids:iface-id=lsp1")
	o.Vsctl("add-port", "br-int", "hand1", "--", "set", "Interface", "hand1", "type=patch", "options:peer=hand1-peer", "external_ids:iface-id=hand1",
		"--", "add-port", "br-out", "hand1-peer", "--", "set", "Interface", "hand1-peer", "type=patch", "options:peer=hand1")
	o.Ofctl("add-flow", "br-int", "cookie=0x1,table=7,priority=5,actions=drop")
	for n := range 3 {
		o.Ofctl("add-flow", "br-int", fmt.Sprintf("cookie=%#x,table=7,priority=%d,actions=drop", flows.CookieTag|uint64(n), 10+n))
	}
	return Remains{
		Chassis: "hv-test", Bridge: "br-int", Others: []string{"hand1", "vm1"}, Flows: 3, Held: true,
		IPFIX: "one packet in 64 is told to 192.0.2.9:4739, with observation domain 3232235777 and point 0",
		Ports: []RemainingPort{
			{"br-int-dsrgw", "internal", "br-int", ""}, {"out1", "patch", "br-int", ""}, {"tp1", "", "br-int", "cni:net/container/eth0"}, {"tupleNet-3221225986", "geneve", "br-int", ""},
			{"tupleNet-flowbased", "geneve", "br-int", ""}, {"out1-peer", "patch", "br-out", ""},
		},
	}
}

// TestRemoveRemains shows that all that is TupleNet's goes, nothing else, and
// the bridge only when it is asked for.
func TestRemoveRemains(t *testing.T) {
	o := ovstest.Start(t)
	all := leaveRemains(t, o)
	wantRemains(t, o, all)
	if diff := cmp.Diff(Remains{Chassis: "hv-test", Bridge: "br-int", Ports: all.Ports, Flows: 3, IPFIX: all.IPFIX, Held: true}, removeRemains(t, o, false)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	left := Remains{Chassis: "hv-test", Bridge: "br-int", Others: all.Others}
	wantRemains(t, o, left)
	if got := o.Ofctl("dump-flows", "br-int"); !strings.Contains(got, "cookie=0x1,") {
		t.Errorf("the flow of somebody else is gone:\n%s", got)
	}
	if got := root(o); strings.Contains(got, "restore") {
		t.Errorf("traffic is held still: %s", got)
	}
	if got := o.Vsctl("list-ports", "br-out"); got != "hand1-peer" {
		t.Errorf("br-out has %q, want hand1-peer", got)
	}
	if diff := cmp.Diff(Remains{Chassis: "hv-test", Bridge: "br-int"}, removeRemains(t, o, false)); diff != "" {
		t.Errorf("removed the second time (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(left, removeRemains(t, o, true)); diff != "" {
		t.Errorf("removed with the bridge (-want +got):\n%s", diff)
	}
	wantRemains(t, o, Remains{Chassis: "hv-test"})
	if got := o.Vsctl("list-br"); got != "br-out" {
		t.Errorf("the bridges are %q, want br-out", got)
	}
}

// TestRemainsAway shows that without ovs-vswitchd the ports can be removed, and
// that without ovsdb-server nothing hangs.
func TestRemainsAway(t *testing.T) {
	o := ovstest.Start(t)
	all := leaveRemains(t, o)
	o.StopVswitchd()
	got, err := RemoveRemains(t.Context(), Config{RunDir: o.RunDir()}, false)
	if err == nil || !strings.Contains(err.Error(), "is ovs-vswitchd running?") {
		t.Errorf("without ovs-vswitchd: %v", err)
	}
	if diff := cmp.Diff(all.Ports, got.Ports); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	o.StopDB()
	if _, err := FindRemains(t.Context(), Config{RunDir: o.RunDir()}); err == nil || !strings.Contains(err.Error(), "is Open vSwitch running?") {
		t.Errorf("without ovsdb-server: %v", err)
	}
}
