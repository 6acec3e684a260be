package packet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"tuplenet/internal/topology"
)

var (
	hostMAC    = topology.MAC{0xf2, 0x01, 10, 0, 1, 2}
	routerMAC  = topology.MAC{0xf2, 0x01, 10, 0, 1, 1}
	hostIP     = netip.MustParseAddr("10.0.1.2")
	routerIP   = netip.MustParseAddr("10.0.1.1")
	serverIP   = netip.MustParseAddr("192.0.2.80")
	floatingIP = netip.MustParseAddr("198.51.100.7")
)

// udp makes a frame from the host to the server by way of the router, with n
// bytes of UDP payload. Each of edit may change the headers before.
func udp(n int, edit ...func(*layers.Ethernet, *layers.IPv4)) []byte {
	eth := &layers.Ethernet{SrcMAC: hostMAC[:], DstMAC: routerMAC[:], EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, Id: 0x1234, TTL: 1, Protocol: layers.IPProtocolUDP, SrcIP: hostIP.AsSlice(), DstIP: serverIP.AsSlice()}
	for _, e := range edit {
		e(eth, ip)
	}
	header := &layers.UDP{SrcPort: 40000, DstPort: 33434}
	header.SetNetworkLayerForChecksum(ip)
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	return serialize(eth, ip, header, gopacket.Payload(payload))
}

// icmp makes a frame from the host to the server with an ICMP message of a
// type, which carries data.
func icmp(kind, code uint8, data []byte) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: hostMAC[:], DstMAC: routerMAC[:], EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolICMPv4, SrcIP: hostIP.AsSlice(), DstIP: serverIP.AsSlice()},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code)}, gopacket.Payload(data))
}

func df(_ *layers.Ethernet, ip *layers.IPv4) { ip.Flags = layers.IPv4DontFragment }

// mend puts the right checksum into what may be an IP header, so that a fuzzer
// gets behind the check.
func mend(frame []byte) {
	if len(frame) < 15 {
		return
	}
	if size := int(frame[14]&0xf) * 4; size >= headerLen && len(frame) >= 14+size {
		header := frame[14 : 14+size]
		clear(header[10:12])
		binary.BigEndian.PutUint16(header[10:], gopacket.FoldChecksum(gopacket.ComputeChecksum(header, 0)))
	}
}

// headers decodes a frame and has the checksums of all its layers verified.
func headers(t *testing.T, frame []byte) gopacket.Packet {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("%x: %v", frame, e.Error())
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
		t.Fatalf("%x: %v: %v", frame, err, bad)
	}
	return p
}

func wantBytes(t *testing.T, got []byte, want string) {
	t.Helper()
	want = strings.Join(strings.Fields(want), "")
	if diff := cmp.Diff(want, hex.EncodeToString(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestSecondReader has tcpdump judge the frames that the package makes.
func TestSecondReader(t *testing.T) {
	timeExceeded, _ := TimeExceeded(udp(8), routerIP)
	tooBig, _ := FragmentationNeeded(udp(1472, df), routerIP, 1438)
	outside, _ := Unreachable(udp(1400), floatingIP, HostUnreachable)
	translated, _ := TranslateQuoted(outside, hostIP, floatingIP)
	fragments, _ := Fragment(udp(1472), 1438)
	frames := append([][]byte{
		ARPRequest(routerMAC, routerIP, hostIP),
		ARPPoll(routerMAC, routerIP, hostMAC, hostIP),
		GratuitousARP(routerMAC, routerIP),
		timeExceeded, tooBig, translated,
	}, fragments...)
	want := []string{
		"f2:01:0a:00:01:01 > ff:ff:ff:ff:ff:ff, ethertype ARP", "Request who-has 10.0.1.2 tell 10.0.1.1",
		"f2:01:0a:00:01:01 > f2:01:0a:00:01:02, ethertype ARP",
		"Request who-has 10.0.1.1 tell 10.0.1.1",
		"tos 0xc0, ttl 255", "10.0.1.1 > 10.0.1.2: ICMP time exceeded in-transit, length 44",
		"10.0.1.1 > 10.0.1.2: ICMP 192.0.2.80 unreachable - need to frag (mtu 1438), length 556",
		"198.51.100.7 > 10.0.1.2: ICMP host 192.0.2.80 unreachable, length 556", "198.51.100.7.40000 > 192.0.2.80.33434",
		"offset 0, flags [+], proto UDP (17), length 1436", "offset 1416, flags [none], proto UDP (17), length 84",
	}
	out := tcpdump(t, frames)
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("tcpdump does not say %q", w)
		}
	}
	if strings.Contains(out, "bad cksum") || strings.Contains(out, "wrong icmp cksum") {
		t.Error("tcpdump finds a wrong checksum")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// tcpdump returns what tcpdump prints of frames.
func tcpdump(t *testing.T, frames [][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frames.pcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := pcapgo.NewWriter(file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("tcpdump", "-Z", "root", "-nevvr", path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}
