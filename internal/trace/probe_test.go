package trace

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestProbe(t *testing.T) {
	t.Parallel()
	const more = twoHosts + `LS/LS-A/lsp/lsp-al ip=10.20.1.11,mac=f2:01:00:00:00:03
LS/alone id=9
LS/alone/lsp/hermit ip=10.9.9.9,mac=f2:01:00:00:00:09
LS/LS-A/lsp/way-out ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee
LR/LR-1/lnat/float ip=10.20.2.10,prefix=32,xlate_ip=10.20.1.50,xlate_type=dnat
`
	const second = more + `LR/LR-2 id=10
LS/LS-A/lsp/LS-A_to_LR-2 ip=10.20.1.2,mac=f2:01:0a:14:01:02,peer=LR-2_to_LS-A
LR/LR-2/lrp/LR-2_to_LS-A ip=10.20.1.2,prefix=24,mac=f2:01:0a:14:01:02,peer=LS-A_to_LR-2
LR/LR-2/lsr/far ip=172.16.0.0,prefix=16,next_hop=10.20.1.99,outport=LR-2_to_LS-A
`
	mac := func(s string) (m topology.MAC) { m, _ = topology.ParseMAC(s); return m }
	for _, c := range []struct {
		name, store string
		probe       Probe
		want        string // the packet, and its destination MAC
		note, err   string
	}{
		{"in the switch", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11")}, "ICMP echo request 10.20.1.10 -> 10.20.1.11, TTL 64, f2:01:00:00:00:03", "", ""},
		{"to a port", more, Probe{Port: "lsp-alice", To: "lsp-bob"}, "ICMP echo request 10.20.1.10 -> 10.20.2.10, TTL 64, f2:01:0a:14:01:01", "", ""},
		{"to a router's port", more, Probe{Port: "lsp-alice", To: "LS-A_to_LR-1"}, "ICMP echo request 10.20.1.10 -> 10.20.1.1, TTL 64, f2:01:0a:14:01:01", "", ""},
		{"to no port", more, Probe{Port: "lsp-alice", To: "10.20.1.300"}, "", "", "--to 10.20.1.300: that is neither an IPv4 address nor a port of any switch"},
		{"to outside", more, Probe{Port: "lsp-alice", To: "way-out"}, "", "", "--to way-out: that port leads to the physical network: name an address there"},
		{"by the router", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.2.10"), Proto: TCP}, "TCP 10.20.1.10:40000 -> 10.20.2.10:80, TTL 64, f2:01:0a:14:01:01", "", ""},
		{"the router itself", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.1"), TTL: 3}, "ICMP echo request 10.20.1.10 -> 10.20.1.1, TTL 3, f2:01:0a:14:01:01", "", ""},
		{"a floating IP", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.50"), Proto: UDP}, "UDP 10.20.1.10:40000 -> 10.20.1.50:53, TTL 64, f2:01:0a:14:01:32", "", ""},
		{"reply", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11"), Proto: ICMPReply}, "ICMP echo reply 10.20.1.10 -> 10.20.1.11, TTL 64, f2:01:00:00:00:03", "", ""},
		{"arp", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11"), Proto: ARP}, "ARP request of 10.20.1.10 for 10.20.1.11, ff:ff:ff:ff:ff:ff", "", ""},
		{"nobody", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.77")}, "ARP request of 10.20.1.10 for 10.20.1.77, ff:ff:ff:ff:ff:ff",
			"no port of switch LS-A has the address 10.20.1.77: what is sent is the ARP request for it", ""},
		{"no router", more, Probe{Port: "hermit", IPDst: addr("10.20.1.77")}, "ARP request of 10.9.9.9 for 10.20.1.77, ff:ff:ff:ff:ff:ff",
			"switch alone has neither a port with the address 10.20.1.77 nor a router: what is sent is the ARP request for it", ""},
		{"from outside", more, Probe{Port: "way-out", IPDst: addr("10.20.1.11"), IPSrc: addr("192.168.1.1"), EthSrc: mac("02:00:00:00:00:01")},
			"ICMP echo request 192.168.1.1 -> 10.20.1.11, TTL 64, f2:01:00:00:00:03", "", ""},
		{"the better router", second, Probe{Port: "lsp-alice", IPDst: addr("172.16.1.1")}, "ICMP echo request 10.20.1.10 -> 172.16.1.1, TTL 64, f2:01:0a:14:01:02", "", ""},
		{"the one named", second, Probe{Port: "lsp-alice", IPDst: addr("172.16.1.1"), Via: "10.20.1.1"}, "ICMP echo request 10.20.1.10 -> 172.16.1.1, TTL 64, f2:01:0a:14:01:01", "", ""},
		{"which router", second, Probe{Port: "lsp-alice", IPDst: addr("8.8.8.8")}, "", "", "name it, --via LR-1 or --via LR-2"},
		{"no such router", second, Probe{Port: "lsp-alice", IPDst: addr("8.8.8.8"), Via: "LR-9"}, "", "", "switch LS-A has no router LR-9 (--via)"},
		{"no port", more, Probe{Port: "lsp-nobody", IPDst: addr("10.20.1.11")}, "", "", "port lsp-nobody not found in any switch"},
		{"a router's", more, Probe{Port: "LS-A_to_LR-1", IPDst: addr("10.20.1.11")}, "", "", "is where router port LR-1_to_LS-A is plugged in"},
		{"nowhere to", more, Probe{Port: "lsp-alice"}, "", "", "require --to IP"},
		{"who outside", more, Probe{Port: "way-out", IPDst: addr("10.20.1.11")}, "", "", "say with --src-mac and --src-ip"},
		{"too small", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11"), Size: 27}, "", "", "invalid size 27, want the bytes of an IP packet: 28 to 9216"},
		{"arp of a size", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11"), Proto: ARP, Size: 100}, "", "", "leave out --size"},
		{"protocol", more, Probe{Port: "lsp-alice", IPDst: addr("10.20.1.11"), Proto: "igmp"}, "", "", `invalid protocol "igmp"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			frame, note, err := c.probe.Frame(model(t, c.store))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h, damage, err := Inspect(frame)
			if err != nil || damage != "" {
				t.Errorf("what it makes is damaged: %s, %v", damage, err)
			}
			if got := h.String() + ", " + h.EthDst.String(); got != c.want || note != c.note {
				t.Errorf("%s (%s)\nwant %s (%s)", got, note, c.want, c.note)
			}
		})
	}
}

// TestProbeSource shows that echo requests of two sources are told apart also
// where NAT gives both one address.
func TestProbeSource(t *testing.T) {
	t.Parallel()
	seen := map[[2]byte]string{}
	for _, src := range []string{"10.20.1.10", "10.20.2.10", "10.21.1.10", "10.10.1.20"} {
		frame, _, err := Probe{Port: "lsp-alice", IPSrc: addr(src), IPDst: addr("10.20.2.10")}.Frame(model(t, twoHosts))
		if err != nil {
			t.Fatal(err)
		}
		id := [2]byte(frame[etherLen+ipv4Len+4:])
		if other := seen[id]; other != "" {
			t.Errorf("%s and %s have one ICMP identifier, %x", src, other, id)
		}
		seen[id] = src
	}
}

func TestProbeSize(t *testing.T) {
	t.Parallel()
	for _, proto := range []Proto{ICMP, TCP, UDP} {
		frame, _, err := Probe{Port: "lsp-alice", IPDst: addr("10.20.2.10"), Proto: proto, Size: 1001}.Frame(model(t, twoHosts))
		if err != nil || len(frame) != etherLen+1001 {
			t.Errorf("%s: %d bytes, %v", proto, len(frame), err)
		}
		if _, damage, err := Inspect(frame); damage != "" || err != nil {
			t.Errorf("%s: %s, %v", proto, damage, err)
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	craft := func(p Proto, change func([]byte)) []byte {
		frame, _, err := Probe{Port: "lsp-alice", IPDst: addr("10.20.2.10"), Proto: p, Size: 101}.Frame(model(t, twoHosts))
		if err != nil {
			t.Fatal(err)
		}
		change(frame)
		return frame
	}
	last := func(b []byte) { b[len(b)-1] ^= 1 }
	for _, c := range []struct {
		frame  []byte
		damage string
	}{
		{craft(ICMP, func([]byte) {}), ""},
		{craft(ICMP, last), "bad ICMP checksum"},
		{craft(TCP, last), "bad TCP checksum"},
		{craft(UDP, last), "bad UDP checksum"},
		{craft(UDP, func(b []byte) { b[etherLen+26], b[etherLen+27] = 0, 0; last(b) }), ""},
		{craft(ICMP, func(b []byte) { b[etherLen+8]-- }), "bad checksum of the IPv4 header"},
		{craft(ICMP, func(b []byte) { b[etherLen+3]++ }), "its IPv4 header tells of 102 bytes, and there are 101"},
		{craft(ICMP, func(b []byte) { b[etherLen+2], b[etherLen+3] = 0, 10 }), "IP length"},
		{craft(ICMP, func(b []byte) { b[etherLen] = 0x41 }), "IP"},
		{append(craft(ICMP, func([]byte) {}), 0, 0), ""}, // Ethernet's padding
		{craft(ICMP, func([]byte) {})[:etherLen+30], "its IPv4 header tells of 101 bytes, and there are 30"},
		{craft(ICMP, func([]byte) {})[:etherLen+3], "IP"},
	} {
		_, damage, err := Inspect(c.frame)
		if err != nil || (damage == "") != (c.damage == "") || !strings.Contains(damage, c.damage) {
			t.Errorf("%x: %q, %v, want %q", c.frame, damage, err, c.damage)
		}
	}
	for _, frame := range [][]byte{nil, {1, 2, 3}, append(craft(ICMP, func([]byte) {}), make([]byte, MaxSize)...)} {
		if _, _, err := Inspect(frame); err == nil {
			t.Errorf("%d bytes pass for a frame", len(frame))
		}
	}
}

func FuzzInspect(f *testing.F) {
	frame, _, err := Probe{Port: "lsp-alice", IPDst: addr("10.20.2.10"), Proto: TCP}.Frame(model(f, twoHosts))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if h, _, err := Inspect(frame); err == nil && h.String() == "" {
			t.Error("a frame has no name")
		}
	})
}
