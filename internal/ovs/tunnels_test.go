package ovs

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

func spec(chassis, ip string) TunnelSpec {
	return TunnelSpec{Chassis: chassis, IP: netip.MustParseAddr(ip)}
}

var flowBased = TunnelSpec{Chassis: FlowBased}

func setTunnels(t *testing.T, d *Driver, want ...TunnelSpec) {
	t.Helper()
	if err := d.SetTunnels(t.Context(), want); err != nil {
		t.Fatal(err)
	}
}

// awaitTunnels waits until the tunnels to the chassis, and no others, have
// OpenFlow ports, and returns those.
func awaitTunnels(t *testing.T, d *Driver, want ...TunnelSpec) map[string]uint32 {
	t.Helper()
	ofports := map[string]uint32{}
	var got []string
	describe := func(chassis string, ip netip.Addr) string { return chassis + " at " + ip.String() }
	wanted := []string{}
	for _, w := range want {
		wanted = append(wanted, describe(w.Chassis, w.IP))
	}
	await(t, d, fmt.Sprint("tunnels to ", wanted), func() bool {
		got = []string{}
		for _, tun := range d.Tunnels() {
			got = append(got, describe(tun.Chassis, tun.RemoteIP))
			ofports[tun.Chassis] = tun.OFPort
		}
		return cmp.Equal(got, wanted)
	})
	return ofports
}

// ports returns the ports of br-int that ovs-vsctl knows.
func ports(o *ovstest.OVS) string {
	return strings.Join(strings.Fields(o.Vsctl("list-ports", "br-int")), " ")
}

func TestTunnels(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	hv1, hv2 := spec("hv1", "10.0.0.1"), spec("hv2", "192.168.255.254")
	setTunnels(t, d, hv1, hv2)
	before := awaitTunnels(t, d, hv1, hv2)
	if got, want := ports(o), "tupleNet-167772161 tupleNet-3232301054"; got != want {
		t.Errorf("ports are %q, want %q", got, want)
	}
	got := o.Vsctl("get", "Interface", "tupleNet-167772161", "type", "options", "external_ids")
	if want := "geneve\n{csum=\"true\", key=flow, remote_ip=\"10.0.0.1\"}\n{chassis-id=hv1}"; got != want {
		t.Errorf("the interface is %s, want %s", got, want)
	}

	// The same again writes nothing.
	s, err := d.currentSession()
	if err != nil {
		t.Fatal(err)
	}
	if changes, _, err := d.tunnelChanges(s, []TunnelSpec{hv2, hv1}); len(changes) > 0 || err != nil {
		t.Errorf("changes %+v, error %v where nothing is to be done", changes, err)
	}

	// A new address is a new port; the old one goes, others stay.
	moved := spec("hv1", "10.0.0.3")
	setTunnels(t, d, moved, hv2)
	after := awaitTunnels(t, d, moved, hv2)
	if after["hv2"] != before["hv2"] {
		t.Errorf("ofport of hv2 changed from %d to %d", before["hv2"], after["hv2"])
	}
	if got, want := ports(o), "tupleNet-167772163 tupleNet-3232301054"; got != want {
		t.Errorf("ports are %q, want %q", got, want)
	}

	// A port deleted by hand comes back.
	o.Vsctl("del-port", "tupleNet-167772163")
	awaitTunnels(t, d, hv2)
	setTunnels(t, d, moved, hv2)
	awaitTunnels(t, d, moved, hv2)

	// So does what was changed by hand.
	o.Vsctl("set", "Interface", "tupleNet-167772163", "options:remote_ip=10.9.9.9")
	awaitTunnels(t, d, spec("hv1", "10.9.9.9"), hv2)
	setTunnels(t, d, moved, hv2)
	before = awaitTunnels(t, d, moved, hv2)

	// Another driver finds all as it is.
	d.Close()
	d2, _ := open(t, o)
	setTunnels(t, d2, moved, hv2)
	if diff := cmp.Diff(before, awaitTunnels(t, d2, moved, hv2)); diff != "" {
		t.Errorf("ofports (-before +after the restart):\n%s", diff)
	}

	setTunnels(t, d2)
	awaitTunnels(t, d2)
	if got := ports(o); got != "" {
		t.Errorf("ports %q are left", got)
	}
}

// TestTunnelsFound meets ports that others made.
func TestTunnelsFound(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-other", "--", "add-br", "br-int",
		"--", "add-port", "br-int", "tupleNet-flowbased", "--", "set", "Interface", "tupleNet-flowbased", "ofport_request=78",
		"type=geneve", "options:remote_ip=flow", "options:key=flow", "external_ids:chassis-id=flow_base_tunnel",
		"--", "add-port", "br-int", "tupleNet-167772161", "--", "set", "Interface", "tupleNet-167772161", "ofport_request=77",
		"type=geneve", "options:remote_ip=10.0.0.1", "options:key=flow", "options:tos=inherit",
		"external_ids:chassis-id=old", "external_ids:note=mine",
		"--", "add-port", "br-other", "tupleNet-167772162", "--", "add-port", "br-int", "vxlan0")
	d, _ := open(t, o)
	hv1, hv3 := spec("hv1", "10.0.0.1"), spec("hv3", "10.0.0.3")
	err := d.SetTunnels(t.Context(), []TunnelSpec{hv1, spec("hv2", "10.0.0.2"), hv3, flowBased,
		spec("hv6", "fd00::1"), spec("hv7", "10.0.0.3"), {Chassis: "hv8"}, spec(FlowBased, "10.0.0.8")})
	for _, want := range []string{"hv8: invalid IP is not an IPv4", "flow_base_tunnel: 10.0.0.8", "ovs-vsctl del-port tupleNet-167772162", "hv6: fd00::1 is not an IPv4 address", "hv7: chassis hv3 has its address"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
	ofports := awaitTunnels(t, d, flowBased, hv1, hv3)
	if ofports[FlowBased] != 78 {
		t.Errorf("ofport of the flow-based port found is %d, want 78 as before", ofports[FlowBased])
	}
	if ofports["hv1"] != 77 {
		t.Errorf("ofport of the port found is %d, want 77 as before", ofports["hv1"])
	}
	got := o.Vsctl("get", "Interface", "tupleNet-167772161", "options", "external_ids")
	if want := "{csum=\"true\", key=flow, remote_ip=\"10.0.0.1\", tos=inherit}\n{chassis-id=hv1, note=mine}"; got != want {
		t.Errorf("the port found became %s, want %s", got, want)
	}
	setTunnels(t, d)
	awaitTunnels(t, d)
	if got, want := ports(o), "vxlan0"; got != want {
		t.Errorf("ports left are %q, want %q", got, want)
	}
}

// manyTunnels returns n tunnels to addresses of the network 10.net.0.0/16.
func manyTunnels(n int, net byte) []TunnelSpec {
	var specs []TunnelSpec
	for i := range n {
		specs = append(specs, TunnelSpec{Chassis: fmt.Sprintf("hv%04d", i), IP: netip.AddrFrom4([4]byte{10, net, byte(i >> 8), byte(i)})})
	}
	return specs
}

// TestTunnelsMany takes more than one transaction, and moves all of them.
func TestTunnelsMany(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	for net := range byte(2) {
		want := manyTunnels(tunnelsPerTransaction+100, net)
		setTunnels(t, d, want...)
		awaitTunnels(t, d, want...)
	}
}

// portsByTransaction returns the tunnel ports that transactions have made and
// removed so far, by the transaction's number.
func portsByTransaction(t *testing.T, o *ovstest.OVS) (made, removed map[string]int) {
	t.Helper()
	log, err := exec.Command("ovsdb-tool", "-m", "show-log", filepath.Join(o.RunDir(), "conf.db")).Output()
	if err != nil {
		t.Fatal(err)
	}
	made, removed = map[string]int{}, map[string]int{}
	for n, record := range strings.Split(string(log), "\nrecord ") {
		for _, m := range portMade.FindAllStringSubmatch(record, -1) {
			made[m[1]] = n
		}
		for _, m := range portRemoved.FindAllStringSubmatch(record, -1) {
			removed[m[1]] = n
		}
	}
	return made, removed
}

var (
	portMade    = regexp.MustCompile(`table Port insert row "(tupleNet-\w+)"`)
	portRemoved = regexp.MustCompile(`table Port row "(tupleNet-\w+)" \(\w+\)(?: diff)?:\n\s+delete row`)
)

// TestTunnelsInOrder: while a chassis that sends on demand becomes one that has
// all tunnels, and back, there is always a port that receives from all.
func TestTunnelsInOrder(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	few, all := manyTunnels(2*tunnelsPerTransaction, 1), manyTunnels(2*tunnelsPerTransaction, 2)
	for n := range few {
		few[n].Chassis = "few-" + few[n].Chassis // sorted before the others, and FlowBased
	}
	last := func(transactions map[string]int) int { return slices.Max(slices.Collect(maps.Values(transactions))) }
	first := func(transactions map[string]int) int { return slices.Min(slices.Collect(maps.Values(transactions))) }
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Error(what)
		}
	}
	setTunnels(t, d, append(few, flowBased)...)
	before, _ := portsByTransaction(t, o)
	check("the flow-based port is not made first", before[flowBased.name()] == first(before) && last(before) > first(before))

	setTunnels(t, d, all...)
	made, removed := portsByTransaction(t, o)
	check("not all that was there is removed", len(removed) == len(few)+1)
	check("ports are made after some were removed", last(made) <= first(removed))
	check("the flow-based port is not removed last", removed[flowBased.name()] == last(removed) && last(removed) > first(removed))
}

// TestFlowBasedTunnel: what comes from a chassis comes in by the port that leads
// there, and all else by the flow-based one.
func TestFlowBasedTunnel(t *testing.T) {
	t.Parallel()
	o1, o2 := ovstest.Start(t), ovstest.Start(t)
	cable(t, o1, o2)
	d1, _ := open(t, o1)
	d2, _ := open(t, o2)
	watched := flowBased
	watched.BFD = BFD{Enable: true} // nobody is at its other end
	hv2, hv4 := spec("hv2", "10.0.0.2"), spec("hv4", "10.0.0.4")
	setTunnels(t, d1, hv2, hv4, watched)
	at := awaitTunnels(t, d1, flowBased, hv2, hv4)
	got := o1.Vsctl("get", "Interface", "tupleNet-flowbased", "type", "options", "external_ids", "bfd")
	if want := "geneve\n{csum=\"true\", key=flow, remote_ip=flow}\n{chassis-id=flow_base_tunnel}\n{}"; got != want {
		t.Errorf("the interface is %s, want %s", got, want)
	}
	syncFlows(t, d1, mods(&flows.Flow{Table: flows.TableClassify, Priority: 1, Actions: []flows.Action{flows.Punt{Why: flows.NoRoute}}}))
	awaitPackets(t, d1)

	// One sender goes by three addresses in turn.
	to1 := spec("hv1", "10.0.0.1")
	setTunnels(t, d2, to1)
	out := flows.Output{Port: awaitTunnels(t, d2, to1)["hv1"]}
	awaitPackets(t, d2)
	number := byte(0)
	send := func(want ...uint32) {
		t.Helper()
		for n, ofport := range want {
			o2.Appctl("ovs/route/del", "10.0.0.0/24")
			o2.Appctl("netdev-dummy/ip4addr", "br-phy", fmt.Sprintf("10.0.0.%d/24", 2+n))
			o2.Appctl("ovs/route/add", "10.0.0.0/24", "br-phy")
			number++
			var p Packet
			// The cable may need a moment.
			for deadline := time.Now().Add(patience); !bytes.Equal(p.Data, frame(number)); {
				if time.Now().After(deadline) {
					t.Fatalf("packet %d did not come", number)
				}
				if err := d2.Inject(frame(number), out); err != nil {
					t.Fatal(err)
				}
				select {
				case p = <-d1.Packets():
				case <-time.After(100 * time.Millisecond):
				}
			}
			if p.InPort != ofport {
				t.Errorf("packet %d, from 10.0.0.%d, came in by port %d, want %d", number, 2+n, p.InPort, ofport)
			}
		}
	}
	send(at["hv2"], at[FlowBased], at["hv4"])

	// A chassis that gets a port of its own, and one that loses it.
	hv3 := spec("hv3", "10.0.0.3")
	setTunnels(t, d1, hv2, hv3, flowBased)
	now := awaitTunnels(t, d1, flowBased, hv2, hv3)
	send(at["hv2"], now["hv3"], at[FlowBased])
	setTunnels(t, d1, hv2)
	awaitTunnels(t, d1, hv2)
}
