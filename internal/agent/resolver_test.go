package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// TestNextHops: the next hops of idle tunnels are known ahead of the first
// packet, also of those that were there before the agent, and again after
// ovs-vswitchd was restarted, whose flows do not wait for that.
func TestNextHops(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.create(topology.Switch{Name: "LS", ID: 1})
	const others = 120
	for n := range others {
		s.create(topology.Chassis{Name: fmt.Sprintf("hv%d", n), IP: netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), Tick: 1})
	}
	h := &host{OVS: ovstest.StartIsolated(t), site: s, ip: "10.0.0.1", log: &logbook{}}
	h.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv-a")
	h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
		"--", "add-port", "br-int", "tupleNet-167772416", "--", "set", "Interface", "tupleNet-167772416", "type=geneve",
		"options:remote_ip=10.0.1.0", "options:key=flow", "options:csum=true", "external_ids:chassis-id=hv0")
	h.Underlay()
	known := func() bool { return strings.Count(h.Appctl("tnl/neigh/show"), " 02:00:00:00:00:99 ") == others }
	s.port("LS", "here", "10.9.0.1")
	h.start()
	h.Vsctl("add-port", "br-int", "here0", "--", "set", "Interface", "here0", "type=internal", "external_ids:iface-id=here")
	s.put("entity_view/LS/LS/lsp/there", "ip=10.9.0.2,mac=f2:01:0a:09:00:02,chassis=hv7")
	leads := func() bool { return strings.Contains(h.flows(lookup), "goto_table:206") }
	eventually(t, "all next hops are known", known)
	eventually(t, "the port on another host is reached", leads)

	h.StopVswitchd()
	h.StartVswitchd()
	eventually(t, "the flows are back", leads)
	h.Underlay() // its address comes late
	eventually(t, "all next hops are known again", known)
}
