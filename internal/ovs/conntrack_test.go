package ovs

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// TestFlushConnections removes what two rules for one external address have
// translated, one after the other.
func TestFlushConnections(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "ofport_request=7")
	external := netip.MustParseAddr("192.0.2.1")
	rule := func(dst uint64, nat flows.Translation) *flows.Flow {
		return &flows.Flow{Table: flows.TableClassify, Priority: 9,
			Match:   []flows.Match{flows.Exact(flows.EthType, 0x0800), flows.Exact(flows.IPDst, dst)},
			Actions: []flows.Action{flows.Track{Zone: 12, Commit: true, NAT: nat, Table: 30}}}
	}
	syncFlows(t, d, mods(
		rule(0x08080808, flows.Translation{Type: topology.SNAT, Addr: external, MinPort: 1024, MaxPort: 65535}),
		rule(0xc0000201, flows.Translation{Type: topology.DNAT, Addr: netip.MustParseAddr("10.0.0.9")}),
	))
	for _, dst := range []string{"8.8.8.8", "192.0.2.1"} {
		o.Appctl("netdev-dummy/receive", "eth-a", "in_port(7),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),"+
			"ipv4(src=10.0.0.1,dst="+dst+",proto=17,tos=0,ttl=64,frag=no),udp(src=1000,dst=53)")
	}
	left := func() string { return o.Appctl("dpctl/dump-conntrack", "zone=12") }
	check := func(toWorld, toExternal bool) {
		t.Helper()
		got := left()
		if strings.Contains(got, "dst=8.8.8.8,") != toWorld || strings.Contains(got, "orig=(src=10.0.0.1,dst=192.0.2.1,") != toExternal {
			t.Fatalf("connections to the world %v and to the external address %v are wanted; there are\n%s", toWorld, toExternal, got)
		}
	}
	check(true, true)
	if err := d.FlushConnections(t.Context(), 12, topology.DNAT, external); err != nil {
		t.Fatal(err)
	}
	check(true, false)
	if err := d.FlushConnections(t.Context(), 12, topology.SNAT, external); err != nil {
		t.Fatal(err)
	}
	check(false, false)
}
