package packet

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func TestErrorBytes(t *testing.T) {
	frame := udp(4)
	const quote = "45000020 12340000 0111da47 0a000102 c0000250  9c40829a 000c058d 00070e15"
	wantBytes(t, frame[:46], "f2010a000101 f2010a000102 0800"+quote)

	got, _ := TimeExceeded(frame, routerIP)
	wantBytes(t, got, "f2010a000102 f2010a000101 0800  45c0003c 12340000 ff0192ca 0a000101 0a000102  0b00c26f 00000000"+quote)
	got, _ = Unreachable(frame, routerIP, NetUnreachable)
	wantBytes(t, got, "f2010a000102 f2010a000101 0800  45c0003c 12340000 ff0192ca 0a000101 0a000102  0300ca6f 00000000"+quote)
	got, _ = Unreachable(frame, routerIP, HostUnreachable)
	wantBytes(t, got, "f2010a000102 f2010a000101 0800  45c0003c 12340000 ff0192ca 0a000101 0a000102  0301ca6e 00000000"+quote)
}

func TestFragmentationNeeded(t *testing.T) {
	frame := udp(1472, df)
	got, ok := FragmentationNeeded(frame, routerIP, 1438)
	if !ok {
		t.Fatal("no error about a packet of 1500 bytes that must not be fragmented")
	}
	p := headers(t, got)
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if ip.Length != 576 || ip.TOS != 0xc0 || ip.TTL != 255 {
		t.Errorf("length %d, TOS %#x, TTL %d", ip.Length, ip.TOS, ip.TTL)
	}
	if !ip.SrcIP.Equal(net.IP(routerIP.AsSlice())) || !ip.DstIP.Equal(net.IP(hostIP.AsSlice())) {
		t.Errorf("from %v to %v", ip.SrcIP, ip.DstIP)
	}
	if icmp.TypeCode.Type() != 3 || icmp.TypeCode.Code() != 4 || icmp.Id != 0 || icmp.Seq != 1438 {
		t.Errorf("ICMP %v, unused %d, MTU %d", icmp.TypeCode, icmp.Id, icmp.Seq)
	}
	if !bytes.Equal(icmp.Payload, frame[14:14+548]) {
		t.Errorf("it does not quote the first 548 bytes but\n%x", icmp.Payload)
	}

	if short, ok := FragmentationNeeded(frame[:14+548], routerIP, 1438); !ok || !bytes.Equal(short, got) {
		t.Errorf("about a frame that was cut short: %v\n%x", ok, short)
	}
	for _, mtu := range []int{-1, 0, 67, 65536} {
		if _, ok := FragmentationNeeded(frame, routerIP, mtu); ok {
			t.Errorf("it tells of an MTU of %d", mtu)
		}
	}
	if _, ok := FragmentationNeeded(udp(1472), routerIP, 1438); ok {
		t.Error("it refuses a packet that may be fragmented")
	}
}

// TestQuoteWithoutPadding shows that what fills up a short frame is not taken
// for a part of the packet.
func TestQuoteWithoutPadding(t *testing.T) {
	frame := udp(0)
	if len(frame) != 60 {
		t.Fatalf("the frame has %d bytes", len(frame))
	}
	got, _ := TimeExceeded(frame, routerIP)
	if quote := headers(t, got).Layer(layers.LayerTypeICMPv4).LayerPayload(); !bytes.Equal(quote, frame[14:42]) {
		t.Errorf("quotes %x", quote)
	}
}

func TestNoErrorAbout(t *testing.T) {
	source := func(s string) []byte {
		return udp(8, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.SrcIP = net.ParseIP(s) })
	}
	destination := func(s string) []byte {
		return udp(8, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.DstIP = net.ParseIP(s) })
	}
	byteAt := func(at int, b byte) []byte {
		frame := udp(8)
		frame[at] = b
		return frame
	}
	for name, frame := range map[string][]byte{
		"destination unreachable": icmp(3, 0, udp(8)[14:]),
		"source quench":           icmp(4, 0, udp(8)[14:]),
		"redirect":                icmp(5, 1, udp(8)[14:]),
		"time exceeded":           icmp(11, 0, udp(8)[14:]),
		"parameter problem":       icmp(12, 0, udp(8)[14:]),
		"ICMP without a type":     icmp(8, 0, nil)[:34],
		"later fragment":          udp(8, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.FragOffset = 1 }),
		"Ethernet broadcast":      udp(8, func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = broadcastMAC[:] }),
		"Ethernet multicast":      udp(8, func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} }),
		"from a group's MAC":      udp(8, func(e *layers.Ethernet, _ *layers.IPv4) { e.SrcMAC = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} }),
		"to multicast":            destination("224.0.0.5"),
		"to broadcast":            destination("255.255.255.255"),
		"from 0.0.0.0":            source("0.0.0.0"),
		"from network 0":          source("0.1.2.3"),
		"from loopback":           source("127.0.0.1"),
		"from multicast":          source("224.0.0.5"),
		"from broadcast":          source("255.255.255.255"),
		"from the router":         source(routerIP.String()),
		"ARP":                     ARPRequest(hostMAC, hostIP, routerIP),
		"IP version 6":            byteAt(14, 0x65),
		"header of 16 bytes":      byteAt(14, 0x44),
		"header beyond the end":   byteAt(17, 19),
		"no length":               zeroLength(),
		"wrong checksum":          byteAt(24, 0),
		"half a header":           udp(8)[:30],
		"nothing":                 nil,
	} {
		if got, ok := TimeExceeded(frame, routerIP); ok {
			t.Errorf("%s: answered by %x", name, got)
		}
	}
	if _, ok := TimeExceeded(udp(8), netip.IPv6LinkLocalAllNodes()); ok {
		t.Error("answered from an IPv6 address")
	}
	for name, frame := range map[string][]byte{
		"echo":           icmp(8, 0, []byte("ping")),
		"first fragment": udp(8, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }),
	} {
		if _, ok := TimeExceeded(frame, routerIP); !ok {
			t.Errorf("%s: not answered", name)
		}
	}
}

// zeroLength returns a frame whose IP header has length 0, as within a host
// with segmentation offload, and the checksum for it.
func zeroLength() []byte {
	frame := udp(8)
	replace(frame[24:26], frame[16:18], []byte{0, 0})
	return frame
}

func TestTranslateQuoted(t *testing.T) {
	for _, kind := range []uint8{3, 4, 11, 12} {
		frame := icmp(kind, 0, udp(100)[14:])
		given := slices.Clone(frame)
		got, ok := TranslateQuoted(frame, hostIP, floatingIP)
		if !ok {
			t.Errorf("type %d: not translated", kind)
			continue
		}
		quoted := new(layers.IPv4)
		data := headers(t, got).Layer(layers.LayerTypeICMPv4).LayerPayload()
		if err := quoted.DecodeFromBytes(data, gopacket.NilDecodeFeedback); err != nil {
			t.Fatal(err)
		}
		if _, sum := quoted.VerifyChecksum(); !sum.Valid {
			t.Errorf("type %d: the quoted header's checksum is %#x, want %#x", kind, sum.Actual, sum.Correct)
		}
		if src := netip.AddrFrom4([4]byte(quoted.SrcIP)); src != floatingIP {
			t.Errorf("type %d: the quoted source is %v", kind, src)
		}
		if !bytes.Equal(frame, given) {
			t.Errorf("type %d: its argument was changed", kind)
		}
		if back, ok := TranslateQuoted(got, floatingIP, hostIP); !ok || !bytes.Equal(back, frame) {
			t.Errorf("type %d: translated back: %v\n%x, want\n%x", kind, ok, back, frame)
		}
		if to, ok := TranslateQuoted(frame, serverIP, floatingIP); !ok || !bytes.Equal(to[58:62], floatingIP.AsSlice()) {
			t.Errorf("type %d: the quoted destination is not translated: %v\n%x", kind, ok, to)
		} else {
			headers(t, to)
		}
	}

	later := icmp(3, 0, udp(100)[14:])
	replace(later[24:26], later[20:22], []byte{0, 1})
	quotesIPv6 := icmp(3, 0, append([]byte{0x60}, make([]byte, 39)...))
	for name, frame := range map[string][]byte{
		"echo":              icmp(8, 0, udp(100)[14:]),
		"redirect":          icmp(5, 0, udp(100)[14:]),
		"UDP":               udp(100),
		"later fragment":    later,
		"quotes IPv6":       quotesIPv6,
		"quotes too little": icmp(3, 0, udp(100)[14:33]),
		"ARP":               ARPRequest(hostMAC, hostIP, routerIP),
		"nothing":           nil,
	} {
		if got, ok := TranslateQuoted(frame, hostIP, floatingIP); ok {
			t.Errorf("%s: translated to %x", name, got)
		}
	}
	if _, ok := TranslateQuoted(icmp(3, 0, udp(100)[14:]), routerIP, floatingIP); ok {
		t.Error("translated an address that is not quoted")
	}
}

// FuzzICMP holds what is answered and translated to be well formed, whatever
// the frame.
func FuzzICMP(f *testing.F) {
	f.Add(udp(8), 1438)
	f.Add(udp(1472, df), 1438)
	f.Add(icmp(3, 4, udp(8)[14:]), 68)
	f.Add(zeroLength(), 0)
	f.Fuzz(func(t *testing.T, frame []byte, mtu int) {
		mend(frame)
		given := slices.Clone(frame)
		answers := make([][]byte, 0, 3)
		for _, answer := range []func() ([]byte, bool){
			func() ([]byte, bool) { return TimeExceeded(frame, routerIP) },
			func() ([]byte, bool) { return Unreachable(frame, routerIP, HostUnreachable) },
			func() ([]byte, bool) { return FragmentationNeeded(frame, routerIP, mtu) },
		} {
			if got, ok := answer(); ok {
				answers = append(answers, got)
			}
		}
		for _, a := range answers {
			if len(a) > 14+errorLen {
				t.Errorf("an error of %d bytes", len(a))
			}
			if again, ok := TimeExceeded(a, serverIP); ok {
				t.Errorf("an error about an error: %x", again)
			}
			// Checksums of what is quoted are the sender's affair.
			if d, err := decode(a); err != nil || !d.whole {
				t.Errorf("%x: %v", a, err)
			} else if e := new(layers.ICMPv4); e.DecodeFromBytes(d.ip.Payload, gopacket.NilDecodeFeedback) != nil {
				t.Errorf("%x: no ICMP", a)
			} else if _, sum := e.VerifyChecksum(); !sum.Valid {
				t.Errorf("%x: checksum %#x, want %#x", a, sum.Actual, sum.Correct)
			}
		}
		if got, ok := TranslateQuoted(frame, hostIP, floatingIP); ok && len(got) != len(frame) {
			t.Errorf("translated %d bytes to %d", len(frame), len(got))
		}
		if !bytes.Equal(frame, given) {
			t.Error("an argument was changed")
		}
	})
}
