package agent

import (
	"encoding/binary"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/topology"
)

// TestChanges: an agent whose settings change has the bridge as an agent would that
// starts with them.
func TestChanges(t *testing.T) {
	s := newSite(t)
	a, b := s.newHost("hv-a", "192.168.1.1"), s.newHost("hv-b", "192.168.1.2")
	a.start()
	b.start()
	s.create(topology.Switch{Name: "LS"})
	one, two := s.port("LS", "one", "10.0.0.1"), s.port("LS", "two", "10.0.0.2")
	a.plug("one")
	b.plug("two")
	eventually(t, "the ports are bound", func() bool { return s.chassisOf(one) == "hv-a" && s.chassisOf(two) == "hv-b" })
	collectors := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:4739")}
	for _, want := range []Settings{
		{OnDemand: true, Redirect: true, Hash: "nw_dst", IdleTimeout: time.Minute, Sampling: 64},
		{BFDMinRx: 100, BFDMinTx: 100, Hash: "eth_src", Collectors: collectors, Sampling: 64},
		{OnDemand: true, IdleTimeout: time.Hour, Collectors: collectors, Sampling: 1},
		{},
	} {
		a.changes <- want
		eventually(t, "the agent has noted its settings", func() bool {
			got, err := ReadSettings(a.RunDir())
			return err == nil && reflect.DeepEqual(got, want)
		})
		eventually(t, "the bridge is as it should be", func() bool {
			d, err := a.verify()
			reaches := strings.Contains(a.flows(lookup), "dl_dst=f2:01:0a:00:00:02")
			told := a.Vsctl("get", "Bridge", "br-int", "ipfix") != "[]"
			return err == nil && d.None() && reaches != want.OnDemand && told == (want.Collectors != nil)
		})
	}
	said := a.log.said("the settings have changed")
	a.changes <- Settings{} // as they are
	a.changes <- Settings{Redirect: true}
	eventually(t, "the last change is in", func() bool { return a.log.said("the settings have changed") > said })
	if got := a.log.said("the settings have changed"); got != said+1 {
		t.Errorf("%d changes were told, want 1", got-said)
	}
	close(a.changes)
	b.unplug("two")
	a.plug("two")
	eventually(t, "the agent goes on when nobody changes its settings any more", func() bool { return s.chassisOf(two) == "hv-a" })
}

// collector is who IPFIX (RFC 7011) tells of packets.
type collector struct {
	t         *testing.T
	conn      *net.UDPConn
	templates map[[2]uint32]bool // that it was sent: domain and id
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &collector{t, conn, map[[2]uint32]bool{}}
}

func (c *collector) address() netip.AddrPort { return c.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// heard waits for a message that tells of packets and returns its observation domain;
// false if none comes in a while. With domain 0 Open vSwitch tells of itself.
func (c *collector) heard() (domain uint32, ok bool) {
	c.t.Helper()
	message := make([]byte, 65536)
	c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	for {
		n, err := c.conn.Read(message)
		if err != nil {
			return 0, false
		}
		if n < 16 || binary.BigEndian.Uint16(message) != 10 || int(binary.BigEndian.Uint16(message[2:])) != n {
			c.t.Fatalf("no IPFIX message: %x", message[:n])
		}
		domain := binary.BigEndian.Uint32(message[12:])
		if c.read(domain, message[16:n]) && domain != 0 {
			return domain, true
		}
	}
}

// read takes in the sets of a message (section 3.3), and reports whether it tells of
// packets. Without the template it would be of no use.
func (c *collector) read(domain uint32, sets []byte) (data bool) {
	for len(sets) > 4 {
		id, length := binary.BigEndian.Uint16(sets), binary.BigEndian.Uint16(sets[2:])
		set := sets[4:length]
		sets = sets[length:]
		if data = id >= 256; data && domain != 0 && !c.templates[[2]uint32{domain, uint32(id)}] {
			c.t.Errorf("domain %d tells of packets by template %d, which it has not sent", domain, id)
		}
		for id == 2 && len(set) >= 4 {
			c.templates[[2]uint32{domain, uint32(binary.BigEndian.Uint16(set))}] = true
			fields := binary.BigEndian.Uint16(set[2:])
			for set = set[4:]; fields > 0; fields-- {
				size := 4
				if set[0]&0x80 != 0 { // with the number of an enterprise
					size = 8
				}
				set = set[size:]
			}
		}
	}
	return data
}

// TestIPFIX: collectors hear of packets, or cease to, without a restart of the agent
// and of Open vSwitch.
func TestIPFIX(t *testing.T) {
	s := newSite(t)
	h := s.newHost("hv-a", "192.168.1.1")
	h.start()
	s.create(topology.Switch{Name: "LS"})
	s.port("LS", "one", "10.0.0.1")
	h.plug("one")
	first, second := newCollector(t), newCollector(t)
	// hear sends a packet, and reports whether collectors hear of it.
	hear := func() (bool, bool) {
		h.Appctl("netdev-dummy/receive", "if-one", "in_port(1),eth(src=f2:01:0a:00:00:01,dst=f2:01:0a:00:00:02),eth_type(0x0800),"+
			"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1111,dst=2222)")
		one, ok1 := first.heard()
		two, ok2 := second.heard()
		if ok1 && one != 3232235777 || ok2 && two != 3232235777 {
			t.Errorf("observation domains are %d and %d, want 3232235777", one, two)
		}
		return ok1, ok2
	}
	for _, tt := range []struct {
		what  string
		tells []*collector
	}{
		{"nobody hears", nil},
		{"the first hears", []*collector{first}},
		{"both hear", []*collector{first, second}},
		{"the second hears", []*collector{second}},
		{"nobody hears any more", nil},
	} {
		want := Settings{Sampling: 1}
		for _, c := range tt.tells {
			want.Collectors = append(want.Collectors, c.address())
		}
		h.changes <- want
		eventually(t, tt.what, func() bool {
			a, b := hear()
			return a == slices.Contains(tt.tells, first) && b == slices.Contains(tt.tells, second)
		})
	}
	if got := h.Vsctl("list", "IPFIX"); got != "" {
		t.Errorf("in OVSDB there is still\n%s", got)
	}
}
