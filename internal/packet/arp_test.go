package packet

import (
	"net/netip"
	"testing"

	"tuplenet/internal/topology"
)

const padding = "000000000000 000000000000 000000000000"

func TestARPBytes(t *testing.T) {
	wantBytes(t, ARPRequest(routerMAC, routerIP, hostIP),
		"ffffffffffff f2010a000101 0806  0001 0800 06 04 0001  f2010a000101 0a000101  000000000000 0a000102"+padding)
	wantBytes(t, ARPPoll(routerMAC, routerIP, hostMAC, hostIP),
		"f2010a000102 f2010a000101 0806  0001 0800 06 04 0001  f2010a000101 0a000101  000000000000 0a000102"+padding)
	wantBytes(t, GratuitousARP(routerMAC, routerIP),
		"ffffffffffff f2010a000101 0806  0001 0800 06 04 0001  f2010a000101 0a000101  000000000000 0a000101"+padding)
}

func TestParseARP(t *testing.T) {
	reply := ARPRequest(hostMAC, hostIP, routerIP)
	reply[21] = 2
	copy(reply[32:], routerMAC[:])
	want := ARP{OpReply, hostMAC, hostIP, routerMAC, routerIP}
	if got, ok := ParseARP(reply); !ok || got != want {
		t.Errorf("a reply: %v, %v, want %v", got, ok, want)
	}
	if got, ok := ParseARP(reply[:42]); !ok || got != want {
		t.Errorf("without padding: %v, %v, want %v", got, ok, want)
	}
	probe := ARP{OpRequest, hostMAC, netip.IPv4Unspecified(), topology.MAC{}, routerIP}
	if got, ok := ParseARP(ARPRequest(hostMAC, probe.SenderIP, routerIP)); !ok || got != probe {
		t.Errorf("a probe: %v, %v, want %v", got, ok, probe)
	}
	for name, edit := range map[string]func(frame []byte) []byte{
		"other EtherType":     func(f []byte) []byte { f[13] = 0; return f },
		"other hardware":      func(f []byte) []byte { f[15] = 6; return f },
		"other protocol":      func(f []byte) []byte { f[16] = 0x86; f[17] = 0xdd; return f },
		"long hardware":       func(f []byte) []byte { f[18] = 8; return f },
		"long protocol":       func(f []byte) []byte { f[19] = 16; return f },
		"huge sizes":          func(f []byte) []byte { f[18], f[19] = 255, 255; return f },
		"operation 0":         func(f []byte) []byte { f[21] = 0; return f },
		"inverse ARP":         func(f []byte) []byte { f[21] = 8; return f },
		"group as sender":     func(f []byte) []byte { f[22] = 0x01; return f },
		"no sender":           func(f []byte) []byte { clear(f[22:28]); return f },
		"multicast sender IP": func(f []byte) []byte { f[28] = 224; return f },
		"loopback sender IP":  func(f []byte) []byte { f[28] = 127; return f },
		"broadcast sender IP": func(f []byte) []byte { copy(f[28:], "\xff\xff\xff\xff"); return f },
		"cut short":           func(f []byte) []byte { return f[:41] },
		"no ARP":              func(f []byte) []byte { return f[:14] },
		"nothing":             func(f []byte) []byte { return nil },
	} {
		if got, ok := ParseARP(edit(ARPRequest(hostMAC, hostIP, routerIP))); ok {
			t.Errorf("%s: parsed as %v", name, got)
		}
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(ARPRequest(hostMAC, hostIP, routerIP))
	f.Add(udp(8))
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, ok := ParseARP(frame)
		if !ok {
			return
		}
		if a.SenderMAC.IsMulticast() || a.SenderMAC == (topology.MAC{}) || !a.SenderIP.Is4() {
			t.Errorf("believed %v", a)
		}
		if again, ok := ParseARP(ARPRequest(a.SenderMAC, a.SenderIP, a.TargetIP)); !ok || again.SenderIP != a.SenderIP || again.TargetIP != a.TargetIP {
			t.Errorf("a request made of %v reads %v", a, again)
		}
	})
}
