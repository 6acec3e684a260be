package doctor

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// plugged is a host with interfaces, and the ports that etcd has.
func plugged(ports []topology.SwitchPort, interfaces ...ovs.Plugged) *Env {
	e := env()
	e.health.value.Plugged = interfaces
	e.byName = once[map[string][]topology.SwitchPort]{done: true, value: map[string][]topology.SwitchPort{}}
	for _, p := range ports {
		e.byName.value[p.Name] = append(e.byName.value[p.Name], p)
	}
	return e
}

func TestPlugged(t *testing.T) {
	mac := topology.MAC{2, 0, 0, 0, 0, 1}
	ports := []topology.SwitchPort{{Name: "lsp-alice", Chassis: "hv1", MAC: mac}, {Name: "lsp-bob", Chassis: "hv2", MAC: mac},
		{Name: "out", Chassis: "hv2", IP: topology.OuterIP}, {Name: "new", MAC: mac},
		{Name: "twice", Switch: "a", Chassis: "hv2"}, {Name: "twice", Switch: "b", Chassis: "hv1", MAC: mac}}
	e := plugged(ports, ovs.Plugged{Name: "tap1", IfaceID: "lsp-alice", AttachedMAC: "02:00:00:00:00:09"}, ovs.Plugged{Name: "tap2", IfaceID: "lsp-bob"},
		ovs.Plugged{Name: "tap3", IfaceID: "lsp-bop"}, ovs.Plugged{Name: "tap4", IfaceID: "nothing-like-it"},
		ovs.Plugged{Name: "tap5", IfaceID: "out"}, ovs.Plugged{Name: "tap6", IfaceID: "new", AttachedMAC: "02:00:00:00:00:01"},
		ovs.Plugged{Name: "tap7", IfaceID: "twice", AttachedMAC: "02:00:00:00:00:09"},
		ovs.Plugged{Name: "tp1", IfaceID: "lsp-eth0-1", Owner: "cni:n/1/eth0"})
	const make = " external_ids:iface-id=PORT, or make it: tpctl lsp add\n"
	const want = "BAD interfaces tap1: its workload (external_ids:attached-mac) has MAC 02:00:00:00:00:09, and port lsp-alice has 02:00:00:00:00:01, so that nothing reaches it; " +
		"give the workload the MAC of the port, or make the port anew with the other: tpctl lsp add\n" +
		"BAD interfaces tap2: interface tap2 is here, and its port lsp-bob is bound to hv2; if the workload is here, start the agent anew, or plug it in anew: " +
		"ovs-vsctl remove Interface tap2 external_ids iface-id; sleep 1; ovs-vsctl set Interface tap2 external_ids:iface-id=lsp-bob; " +
		"if it has moved, take out what is left: ovs-vsctl del-port tap2\n" +
		"BAD interfaces tap3: interface tap3 has the iface-id lsp-bop, and no switch has such a port; did you mean \"lsp-bob\"?; name the right one: ovs-vsctl set Interface tap3" + make +
		"BAD interfaces tap4: interface tap4 has the iface-id nothing-like-it, and no switch has such a port; name the right one: ovs-vsctl set Interface tap4" + make +
		"BAD interfaces tp1: interface tp1 has the iface-id lsp-eth0-1, and no switch has such a port; " +
		"delete the pod or container that the interface was made for, cni:n/1/eth0, and start it again\n"
	if diff := cmp.Diff(want, found(t, e, "interfaces")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	e.byName.value = nil
	if got := found(t, e, "interfaces"); got != "ok  interfaces: all of Open vSwitch's can be used\n" {
		t.Errorf("without etcd it says %q", got)
	}
}

// A workload in another network namespace has its own idea of its MAC.
func TestWorkloadMAC(t *testing.T) {
	workload, device := fmt.Sprintf("doctor%d-mac", os.Getpid()), fmt.Sprintf("dm%d", os.Getpid())
	command(t, "ip", "netns", "add", workload)
	t.Cleanup(func() { command(t, "ip", "netns", "del", workload) })
	command(t, "ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", workload, "address", "02:00:00:00:00:07")
	command(t, "ip", "link", "set", device, "up")
	port := topology.SwitchPort{Name: "lsp", Chassis: "hv1", MAC: topology.MAC{2, 0, 0, 0, 0, 1}}
	says := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, found(t, plugged([]topology.SwitchPort{port}, ovs.Plugged{Name: device, IfaceID: "lsp"}), "interfaces")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	says(fmt.Sprintf("BAD interfaces %s: eth0 in /run/netns/%s has MAC 02:00:00:00:00:07, and port lsp has 02:00:00:00:00:01, so that nothing reaches it; "+
		"give the workload the MAC of the port, or make the port anew with the other: tpctl lsp add\n", device, workload))
	port.MAC[5] = 7
	says("ok  interfaces: all of Open vSwitch's can be used\n")
}

// Links that are down, of a workload and of all that is behind an outer port.
func TestLinks(t *testing.T) {
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "fail_mode=secure", "--", "add-br", "br0", "--", "add-port", "br0", "eth1",
		"--", "add-port", "br-int", "tap1", "--", "set", "Interface", "tap1", "external_ids:iface-id=lsp-alice",
		"--", "add-port", "br-int", "out", "--", "set", "Interface", "out", "type=patch", "options:peer=in", "external_ids:iface-id=out",
		"--", "add-port", "br0", "in", "--", "set", "Interface", "in", "type=patch", "options:peer=out")
	says := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, found(t, hostOf(o), "interfaces")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	says("ok  interfaces: all of Open vSwitch's can be used\n")
	o.Appctl("netdev-dummy/set-admin-state", "br0", "down") // the host itself does not route
	o.Appctl("netdev-dummy/set-admin-state", "tap1", "down")
	o.Appctl("netdev-dummy/set-admin-state", "eth1", "down")
	o.Vsctl("wait-until", "Interface", "tap1", "link_state=down", "--", "wait-until", "Interface", "eth1", "link_state=down", "--", "wait-until", "Interface", "br0", "link_state=down")
	const unlinked = "BAD interfaces tap1: has no link, so that port lsp-alice is not reached; see whether its workload runs, and take both ends up: ip link set tap1 up\n"
	says("BAD interfaces out: bridge br0 of outer port out holds no NIC with a link (eth1); see the cable of eth1, and take it up: ip link set NIC up\n" + unlinked)
	o.Vsctl("del-port", "eth1")
	says("BAD interfaces out: bridge br0 of outer port out holds no NIC with a link (none at all); plug its NIC into it: ovs-vsctl add-port br0 NIC\n" + unlinked)
}
