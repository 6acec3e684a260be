package agent

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// The addresses of edgeModel, and of machines around it.
var (
	guestIP    = netip.MustParseAddr("10.20.1.10") // has floatIP
	guest2IP   = netip.MustParseAddr("10.20.1.12") // has float2IP
	plainIP    = netip.MustParseAddr("10.20.1.20")
	floatIP    = netip.MustParseAddr("192.168.1.50")
	float2IP   = netip.MustParseAddr("192.168.1.52")
	outsideIP  = netip.MustParseAddr("203.0.113.7")
	innerPort  = netip.MustParseAddr("100.10.10.2")
	centralIP  = netip.MustParseAddr("100.10.10.1")
	workloadIP = netip.MustParseAddr("10.20.1.1") // LR-central in LS-A

	guestMAC = topology.MACFromIP(guestIP)
	portMAC  = topology.MACFromIP(workloadIP)
)

const (
	switchID  = 1 // LS-A
	centralID = 2
	edgeID    = 4
	entryID   = 0xa02 // of 100.10.10.2 in LR-edge1
	testMTU   = 1438
)

func newErrands(t *testing.T) *errands {
	model := topology.NewModel()
	port := func(router, name, net string) topology.RouterPort {
		p := netip.MustParsePrefix(net)
		return topology.RouterPort{Router: router, Name: name, Net: p, MAC: topology.MACFromIP(p.Addr()), Peer: "peer-of-" + name}
	}
	nat := func(name, net, to string, typ topology.NATType) topology.NAT {
		return topology.NAT{Router: "LR-edge1", Name: name, Net: netip.MustParsePrefix(net), XlateIP: netip.MustParseAddr(to), Type: typ}
	}
	inA := port("LR-central", "central-A", "10.20.1.1/24")
	var changes []topology.Change
	for _, e := range []topology.Entity{
		topology.Node{Chassis: "edge1", MTU: testMTU},
		topology.Switch{Name: "LS-A", ID: switchID},
		topology.Switch{Name: "LS-B", ID: 9},
		topology.Router{Name: "LR-central", ID: centralID},
		topology.Router{Name: "LR-edge1", ID: edgeID, Chassis: "edge1"},
		inA,
		port("LR-central", "central-m1", "100.10.10.1/24"),
		port("LR-edge1", "edge-m1", "100.10.10.2/24"),
		port("LR-edge1", "edge-outside", "192.168.1.20/24"),
		nat("pool", "10.20.0.0/16", "192.168.1.30", topology.SNAT),
		nat("fip-out", "10.20.1.10/32", "192.168.1.50", topology.SNAT),
		nat("fip-in", "10.20.1.10/32", "192.168.1.50", topology.DNAT),
		nat("fip2-out", "10.20.1.12/32", "192.168.1.52", topology.SNAT),
		nat("fip2-in", "10.20.1.12/32", "192.168.1.52", topology.DNAT),
		nat("crossed-out", "10.20.1.13/32", "192.168.1.53", topology.SNAT),
		nat("crossed-in", "10.20.1.13/32", "192.168.1.54", topology.DNAT),
		nat("service", "10.20.1.11/32", "192.168.1.51", topology.DNAT),
	} {
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e})
	}
	if r := model.Apply(changes); len(r.Conflicts) > 0 {
		t.Fatal(r.Conflicts)
	}
	return &errands{model: model, joined: func(sw string) (topology.RouterPort, bool) { return inA, sw == "LS-A" }}
}

// frame makes an Ethernet frame of an IP packet with n bytes of UDP.
func frame(t testing.TB, src, dst netip.Addr, n int, edit ...func(*layers.IPv4)) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 1, Id: 7, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	for _, e := range edit {
		e(ip)
	}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 33434}
	udp.SetNetworkLayerForChecksum(ip)
	return serialized(t, ip, udp, gopacket.Payload(bytes.Repeat([]byte("payload"), n/7+1)[:n]))
}

func dontFragment(ip *layers.IPv4) { ip.Flags = layers.IPv4DontFragment }

func serialized(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	parts = append([]gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: guestMAC[:], DstMAC: portMAC[:], EthernetType: layers.EthernetTypeIPv4}}, parts...)
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// portUnreachable makes the error of a machine about a packet.
func portUnreachable(t testing.TB, from, to, quotedSrc, quotedDst netip.Addr) []byte {
	return serialized(t,
		&layers.IPv4{Version: 4, TTL: 60, Protocol: layers.IPProtocolICMPv4, SrcIP: from.AsSlice(), DstIP: to.AsSlice()},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)},
		gopacket.Payload(frame(t, quotedSrc, quotedDst, 8)[14:]))
}

// icmpSaid is what an ICMP error says.
type icmpSaid struct {
	From, To             netip.Addr
	TypeCode             string
	MTU                  uint16
	TTL                  uint8
	QuotedSrc, QuotedDst netip.Addr
}

// readICMP reads an ICMP error whose checksums have to be right, except that
// of a quoted UDP header.
func readICMP(t *testing.T, data []byte) icmpSaid {
	t.Helper()
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
	ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if ip == nil || icmp == nil {
		t.Fatalf("no ICMP: %x", data)
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
		t.Errorf("checksums: %v, %v", err, bad)
	}
	var inner layers.IPv4
	if err := inner.DecodeFromBytes(icmp.Payload, gopacket.NilDecodeFeedback); err != nil {
		t.Fatal(err)
	}
	if err, sum := inner.VerifyChecksum(); err != nil || !sum.Valid {
		t.Errorf("checksum of the quoted header: %v, %v", err, sum)
	}
	addr := func(ip []byte) netip.Addr { return netip.AddrFrom4([4]byte(ip)) }
	return icmpSaid{addr(ip.SrcIP), addr(ip.DstIP), icmp.TypeCode.String(), icmp.Seq, ip.TTL, addr(inner.SrcIP), addr(inner.DstIP)}
}

// wantICMP runs an errand that has one ICMP error as its result.
func wantICMP(t *testing.T, e *errands, p ovs.Packet, want icmpSaid, actions []flows.Action) {
	t.Helper()
	out := e.run(p)
	if len(out) != 1 {
		t.Fatalf("%d frames, %+v", len(out), e.count)
	}
	if got := readICMP(t, out[0].Frame); got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if diff := cmp.Diff(actions, out[0].Actions); diff != "" {
		t.Errorf("actions (-want +got)\n%s", diff)
	}
}

// byRouter are the actions by which a router sends an error itself.
func byRouter(id, entry uint64, mended uint64) []flows.Action {
	return []flows.Action{
		flows.Load{Dst: flows.All(flows.Metadata), Value: id},
		flows.Load{Dst: flows.Bits{Field: flows.Reg5, N: 16}, Value: entry},
		flows.Load{Dst: flows.Bits{Field: flows.Reg3, N: 24}, Value: id},
		flows.Load{Dst: flows.Bits{Field: flows.Reg7, N: 16}, Value: entry},
		flows.Load{Dst: flows.Bits{Field: flows.Reg7, Ofs: 16, N: 1}, Value: mended},
		flows.Resubmit{Table: flows.TableRouterAdmit},
	}
}

func TestErrorsOfRouters(t *testing.T) {
	for why, c := range map[flows.Reason]struct {
		says  string
		count func(*errandCounts) *uint64
	}{
		flows.TTLExceeded: {"TimeExceeded(TTLExceeded)", func(c *errandCounts) *uint64 { return &c.TTLExceeded }},
		flows.NoRoute:     {"DestinationUnreachable(Net)", func(c *errandCounts) *uint64 { return &c.NoRoute }},
		flows.NoNeighbour: {"DestinationUnreachable(Host)", func(c *errandCounts) *uint64 { return &c.NoNeighbour }},
	} {
		e := newErrands(t)
		p := ovs.Packet{Why: why, Datapath: edgeID, Router: edgeID, Entry: entryID, Ports: 0x1140a02, Flags: flows.FlagTraced,
			Data: frame(t, plainIP, outsideIP, 20)}
		if why == flows.NoNeighbour {
			p.Datapath = 5 // by then it is in the switch outside
		}
		wantICMP(t, e, p, icmpSaid{innerPort, plainIP, c.says, 0, 255, plainIP, outsideIP}, byRouter(edgeID, entryID, 0))
		var want errandCounts
		*c.count(&want) = 1
		if e.count != want {
			t.Errorf("%v: counted %+v", why, e.count)
		}
	}
}

// TestErrorQuotesFloatingIP has a packet from outside end in the router that
// has put the floating IP's owner in as its destination.
func TestErrorQuotesFloatingIP(t *testing.T) {
	p := ovs.Packet{Why: flows.TTLExceeded, Datapath: edgeID, Router: edgeID, Entry: 0x114, Flags: flows.FlagTranslated,
		Data: frame(t, outsideIP, guestIP, 20)}
	says := icmpSaid{netip.MustParseAddr("192.168.1.20"), outsideIP, "TimeExceeded(TTLExceeded)", 0, 255, outsideIP, floatIP}
	wantICMP(t, newErrands(t), p, says, byRouter(edgeID, 0x114, 1))

	// Connection tracking translates what a dnat rule's owner is quoted by.
	for _, owner := range []string{"10.20.1.11", "10.20.1.13"} {
		says.QuotedDst = netip.MustParseAddr(owner)
		p.Data = frame(t, outsideIP, says.QuotedDst, 20)
		wantICMP(t, newErrands(t), p, says, byRouter(edgeID, 0x114, 0))
	}
}

func TestTooLargeAfterRouter(t *testing.T) {
	e := newErrands(t)
	p := ovs.Packet{Why: flows.TooLarge, Datapath: switchID, Router: centralID, Entry: 0xa01, Tunnel: 12,
		Data: frame(t, outsideIP, guestIP, 1472, dontFragment)}
	wantICMP(t, e, p, icmpSaid{centralIP, outsideIP, "DestinationUnreachable(FragmentationNeeded)", testMTU, 255, outsideIP, guestIP},
		byRouter(centralID, 0xa01, 0))
	if (e.count != errandCounts{TooLarge: 1}) {
		t.Errorf("%+v", e.count)
	}
}

func TestTooLargeInSwitch(t *testing.T) {
	e := newErrands(t)
	p := ovs.Packet{Why: flows.TooLarge, Datapath: switchID, Ports: 0x10a0114, Tunnel: 12, Data: frame(t, guestIP, plainIP, 1472, dontFragment)}
	wantICMP(t, e, p, icmpSaid{workloadIP, guestIP, "DestinationUnreachable(FragmentationNeeded)", testMTU, 255, guestIP, plainIP},
		[]flows.Action{
			flows.Load{Dst: flows.All(flows.EthSrc), Value: portMAC.Uint64()},
			flows.Load{Dst: flows.All(flows.Metadata), Value: switchID},
			flows.Load{Dst: flows.Bits{Field: flows.Reg5, N: 16}, Value: 0x101},
			flows.Resubmit{Table: flows.TableSwitchLookup},
		})
	if got := e.run(p); !bytes.Equal(got[0].Frame[:6], guestMAC[:]) {
		t.Errorf("goes to %x", got[0].Frame[:6])
	}
	p.Datapath = 9
	if out := e.run(p); out != nil || e.count.Refused != 1 {
		t.Errorf("a switch without a router: %v, %+v", out, e.count)
	}
}

func TestTooLargeIsFragmented(t *testing.T) {
	e := newErrands(t)
	p := ovs.Packet{Why: flows.TooLarge, Datapath: switchID, Ports: 0x10a0114, Flags: flows.FlagLoopback | flows.FlagTraced, Tunnel: 12,
		Router: centralID, Entry: 0xa01, Data: frame(t, outsideIP, guestIP, 3000)}
	out := e.run(p)
	total, carried := 0, p
	for _, piece := range out {
		want := append(registers(carried), flows.Resubmit{Table: flows.TableSwitchOutput})
		carried.Flags = flows.FlagLoopback // the first one alone is followed
		if diff := cmp.Diff(want, piece.Actions); diff != "" {
			t.Errorf("actions (-want +got)\n%s", diff)
		}
		if n := len(piece.Frame) - ethernetLen; n > testMTU {
			t.Errorf("a piece of %d bytes", n)
		}
		total += len(piece.Frame) - ethernetLen - ipv4Len
	}
	if len(out) != 3 || total != 8+3000 || (e.count != errandCounts{Fragmented: 1}) {
		t.Errorf("%d pieces, %d bytes, %+v", len(out), total, e.count)
	}
	p.Data = p.Data[:2000]
	if out := e.run(p); out != nil || e.count.Refused != 1 {
		t.Errorf("half a packet: %v, %+v", out, e.count)
	}
}

func TestQuotedAddresses(t *testing.T) {
	beyond := netip.MustParseAddr("198.51.100.1") // a router on the way
	for name, c := range map[string]struct {
		table                flows.Table
		from, to             netip.Addr
		quotedSrc, quotedDst netip.Addr
		wantSrc, wantDst     netip.Addr // none: refused
	}{
		"in":                            {flows.TableRouterLocal, outsideIP, floatIP, floatIP, outsideIP, guestIP, outsideIP},
		"in, from a router on the way":  {flows.TableRouterLocal, beyond, floatIP, floatIP, outsideIP, guestIP, outsideIP},
		"in, from another floating IP":  {flows.TableRouterLocal, guest2IP, floatIP, floatIP, guest2IP, guestIP, float2IP},
		"in, about somebody else":       {flows.TableRouterLocal, outsideIP, floatIP, beyond, outsideIP, netip.Addr{}, netip.Addr{}},
		"in, to a dnat rule":            {flows.TableRouterLocal, outsideIP, netip.MustParseAddr("192.168.1.51"), netip.MustParseAddr("192.168.1.51"), outsideIP, netip.Addr{}, netip.Addr{}},
		"out":                           {flows.TableRouterNAT, guestIP, outsideIP, outsideIP, guestIP, outsideIP, floatIP},
		"out, from a router on the way": {flows.TableRouterNAT, centralIP, outsideIP, outsideIP, guestIP, outsideIP, floatIP},
		"out, about no floating IP":     {flows.TableRouterNAT, plainIP, outsideIP, outsideIP, plainIP, outsideIP, plainIP},
	} {
		t.Run(name, func(t *testing.T) {
			e := newErrands(t)
			p := ovs.Packet{Why: flows.QuotedAddress, Table: c.table, Datapath: edgeID, Router: edgeID, Entry: entryID,
				NextHop: gatewayHop.IP, Ports: 0x1140a02, Flags: 8, Data: portUnreachable(t, c.from, c.to, c.quotedSrc, c.quotedDst)}
			if !c.wantSrc.IsValid() {
				if out := e.run(p); out != nil || (e.count != errandCounts{Refused: 1}) {
					t.Errorf("%v, %+v", out, e.count)
				}
				return
			}
			// The flows translate the outer addresses.
			wantICMP(t, e, p, icmpSaid{c.from, c.to, "DestinationUnreachable(Port)", 0, 60, c.wantSrc, c.wantDst},
				append(registers(p), flows.Load{Dst: flows.Bits{Field: flows.Reg7, Ofs: 16, N: 1}, Value: 1}, flows.Resubmit{Table: c.table}))
			if (e.count != errandCounts{Translated: 1}) {
				t.Errorf("%+v", e.count)
			}
		})
	}
}

func TestRefusedErrands(t *testing.T) {
	good := ovs.Packet{Why: flows.TTLExceeded, Datapath: edgeID, Router: edgeID, Entry: entryID, Data: frame(t, plainIP, outsideIP, 20)}
	for name, edit := range map[string]func(*ovs.Packet){
		"an error about an error":     func(p *ovs.Packet) { p.Data = portUnreachable(t, plainIP, outsideIP, outsideIP, plainIP) },
		"what a router itself sent":   func(p *ovs.Packet) { p.Data = frame(t, innerPort, outsideIP, 20) },
		"a router that is gone":       func(p *ovs.Packet) { p.Router = 77 },
		"a switch in its place":       func(p *ovs.Packet) { p.Router = switchID },
		"a port that is gone":         func(p *ovs.Packet) { p.Entry = 1 },
		"no router, no such switch":   func(p *ovs.Packet) { p.Router, p.Datapath = 0, 77 },
		"no frame":                    func(p *ovs.Packet) { p.Data = nil },
		"ARP":                         func(p *ovs.Packet) { p.Data = packet.GratuitousARP(guestMAC, guestIP) },
		"an unknown reason":           func(p *ovs.Packet) { p.Why = 0 },
		"what others deal with":       func(p *ovs.Packet) { p.Why = flows.NeighbourSaid },
		"a quote in no router":        func(p *ovs.Packet) { p.Why, p.Datapath = flows.QuotedAddress, switchID },
		"nothing that is quoted":      func(p *ovs.Packet) { p.Why, p.Table = flows.QuotedAddress, flows.TableRouterLocal },
		"a quote that is cut short":   func(p *ovs.Packet) { p.Why, p.Table, p.Data = flows.QuotedAddress, flows.TableRouterLocal, p.Data[:34] },
		"a frame that is cut short":   func(p *ovs.Packet) { p.Why, p.Table, p.Data = flows.QuotedAddress, flows.TableRouterLocal, p.Data[:20] },
		"a runt":                      func(p *ovs.Packet) { p.Why, p.Table, p.Data = flows.QuotedAddress, flows.TableRouterLocal, p.Data[:5] },
		"too large, and no IP at all": func(p *ovs.Packet) { p.Why, p.Data = flows.TooLarge, packet.GratuitousARP(guestMAC, guestIP) },
	} {
		e := newErrands(t)
		p := good
		edit(&p)
		if out := e.run(p); out != nil || (e.count != errandCounts{Refused: 1}) {
			t.Errorf("%s: %v, %+v", name, out, e.count)
		}
	}
}

// FuzzErrands takes any frame for any reason.
func FuzzErrands(f *testing.F) {
	f.Add(uint8(flows.TTLExceeded), uint8(0), uint32(edgeID), frame(f, plainIP, outsideIP, 20))
	f.Add(uint8(flows.TooLarge), uint8(0), uint32(0), frame(f, plainIP, guestIP, 1600))
	f.Add(uint8(flows.QuotedAddress), uint8(flows.TableRouterLocal), uint32(edgeID), portUnreachable(f, outsideIP, floatIP, floatIP, outsideIP))
	f.Add(uint8(flows.QuotedAddress), uint8(flows.TableRouterNAT), uint32(edgeID), portUnreachable(f, guestIP, outsideIP, outsideIP, guestIP))
	f.Fuzz(func(t *testing.T, why, table uint8, router uint32, data []byte) {
		e := newErrands(&testing.T{})
		given := bytes.Clone(data)
		p := ovs.Packet{Why: flows.Reason(why), Table: flows.Table(table), Datapath: edgeID, Router: router, Entry: entryID, Flags: flows.FlagTranslated, Data: data}
		if router == 0 {
			p.Datapath = switchID
		}
		out := e.run(p)
		if !bytes.Equal(data, given) {
			t.Error("the packet was changed")
		}
		if done := e.count; (len(out) == 0) != (done == errandCounts{Refused: 1}) {
			t.Errorf("%d frames, %+v", len(out), done)
		}
	})
}
