package openflow

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// TestFlushConnections makes connections that are translated to two external
// addresses, in two zones and both ways, and removes some.
func TestFlushConnections(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	o.Vsctl("add-port", "br0", "p1", "--", "add-port", "br0", "p2", "--", "set", "Interface", "p2", "ofport_request=2")
	ip := []flows.Match{flows.Exact(flows.EthType, 0x0800)}
	add := func(priority uint16, dst uint64, track flows.Track) Mod {
		track.Commit, track.Table = true, 9
		match := append(ip[:1:1], flows.Exact(flows.IPDst, dst))
		return Mod{Add, &flows.Flow{Priority: priority, Match: match, Actions: []flows.Action{track}}, 1}
	}
	external := [...]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	source := func(a netip.Addr) flows.Translation {
		return flows.Translation{Type: topology.SNAT, Addr: a, MinPort: 1024, MaxPort: 65535}
	}
	mods := []Mod{
		{Add, &flows.Flow{Table: 9, Actions: []flows.Action{flows.Output{Port: 2}}}, 1},
		add(1, 0x08080801, flows.Track{Zone: 5, NAT: source(external[0])}),
		add(1, 0x08080802, flows.Track{Zone: 5, NAT: source(external[1])}),
		add(1, 0x08080803, flows.Track{Zone: 6, NAT: source(external[0])}),
		add(1, 0xc0000201, flows.Track{Zone: 5, NAT: flows.Translation{Type: topology.DNAT, Addr: netip.MustParseAddr("10.0.0.9")}}),
	}
	if err := c.Commit(t.Context(), mods); err != nil {
		t.Fatal(err)
	}
	// The connections, by their original destination.
	const snat1, snat2, snat1Zone6, dnat1 = "8.8.8.1", "8.8.8.2", "8.8.8.3", "192.0.2.1"
	connect := func() {
		for _, dst := range []string{snat1, snat2, snat1Zone6, dnat1} {
			l3 := "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=" + dst + ",proto=%d,tos=0,ttl=64,frag=no),"
			o.Appctl("netdev-dummy/receive", "p1", fmt.Sprintf(l3, 17)+"udp(src=1000,dst=53)")
			o.Appctl("netdev-dummy/receive", "p1", fmt.Sprintf(l3, 1)+"icmp(type=8,code=0)")
			o.Appctl("netdev-dummy/receive", "p1", fmt.Sprintf(l3, 6)+"tcp(src=1000,dst=80),tcp_flags(syn)")
		}
	}
	check := func(what string, want ...string) {
		t.Helper()
		dump := o.Appctl("dpctl/dump-conntrack")
		for _, dst := range []string{snat1, snat2, snat1Zone6, dnat1} {
			wanted := 0
			if slices.Contains(want, dst) {
				wanted = 3 // one of each protocol
			}
			if n := strings.Count(dump, "orig=(src=10.0.0.1,dst="+dst+","); n != wanted {
				t.Errorf("%s: %d connections to %s, want %d:\n%s", what, n, dst, wanted, dump)
			}
		}
	}
	flush := func(zone uint16, tuple Tuple, dst netip.Addr) {
		t.Helper()
		if err := c.FlushConnections(t.Context(), zone, tuple, dst); err != nil {
			t.Fatal(err)
		}
	}
	connect()
	check("at first", snat1, snat2, snat1Zone6, dnat1)
	flush(5, Reply, external[0])
	check("without those that leave as 192.0.2.1", snat2, snat1Zone6, dnat1)
	flush(5, Original, external[0])
	check("without those that came to 192.0.2.1", snat2, snat1Zone6)
	flush(5, Reply, netip.MustParseAddr("192.0.2.99"))
	check("nothing to remove", snat2, snat1Zone6)
	connect()
	check("made again", snat1, snat2, snat1Zone6, dnat1)
	flush(6, Reply, external[0])
	check("without zone 6", snat1, snat2, dnat1)
}

// TestFlushZone plays an Open vSwitch that cannot tell connections apart.
func TestFlushZone(t *testing.T) {
	flushed := make(chan []byte, 1)
	c := dial(t, listen(t, func(p *peer) {
		p.hello()
		m := p.receive(typeExperimenter)
		p.send(version, typeError, m.xid, 0, byte(badSubtype.Type), 0, byte(badSubtype.Code))
		m = p.receive(typeBarrierRequest)
		p.send(version, typeBarrierReply, m.xid)
		m = p.receive(typeExperimenter)
		flushed <- slices.Clone(m.body)
		m = p.receive(typeBarrierRequest)
		p.send(version, typeBarrierReply, m.xid)
	}))
	if err := c.FlushConnections(t.Context(), 0x0506, Reply, netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if got, want := string(<-flushed), string(appendFlushZone(nil, 0x0506)); got != want {
		t.Errorf("sent %x, want %x", got, want)
	}
}
