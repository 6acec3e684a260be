package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// securedNetwork has three secured ports, two of them parent and child, and the
// ways by which what they send might leave: a port beside them, one elsewhere, a router,
// the physical network and the host's stack.
const securedNetwork = `
LS/A id=1,security=on
LS/B id=2
LR/R id=3
LS/A/lsp/lone ip=10.20.1.3,mac=f2:01:00:00:00:03,chassis=hv1
LS/A/lsp/host ip=10.20.1.1,mac=f2:01:00:00:00:01,chassis=hv1
LS/A/lsp/pod ip=10.20.1.2,mac=f2:01:00:00:00:02,chassis=hv1,parent=host,tag=7
LS/A/lsp/there ip=10.20.1.4,mac=f2:01:00:00:00:04,chassis=hv2
LS/B/lsp/beside ip=10.20.2.1,mac=f2:01:00:00:01:01,chassis=hv1
LS/A/lsp/out ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,chassis=hv2
LS/A/lsp/A_to_R ip=10.20.1.254,mac=f2:01:00:00:00:fe,peer=R_to_A
LR/R/lrp/R_to_A ip=10.20.1.254,prefix=24,mac=f2:01:00:00:00:fe,peer=A_to_R
LS/B/lsp/B_to_R ip=10.20.2.254,mac=f2:01:00:00:01:fe,peer=R_to_B
LR/R/lrp/R_to_B ip=10.20.2.254,prefix=24,mac=f2:01:00:00:01:fe,peer=B_to_R
chassis/hv1 ip=192.168.1.10,mtu=1400,tick=1
chassis/hv2 ip=192.168.1.11,mtu=1400,tick=1
`

// randomFrame makes a frame as who is up to no good might send it: each part is
// port's own, or another's. The tag of a child is not on yet.
func randomFrame(r *rand.Rand, port topology.SwitchPort) []byte {
	pick := func(own []byte, others ...string) []byte {
		if r.IntN(3) > 0 {
			return own
		}
		b, err := hex.DecodeString(others[r.IntN(len(others))])
		if err != nil {
			panic(err)
		}
		return b
	}
	mac, ip := port.MAC[:], port.IP.AsSlice()
	macs := []string{"f20100000001", "f20100000002", "f20100000003", "f20100000004", "f201000000fe", "ffffffffffff", "000000000000"}
	ips := []string{"0a140101", "0a140102", "0a140103", "0a140104", "0a1401fe", "00000000", "ffffffff", "08080808"}
	targets := append(slices.Clone(macs), "01005e000001", "020000000001", "f20100000101")
	frame := slices.Concat(pick([]byte{0xf2, 1, 0, 0, 0, 4}, targets...), pick(mac, macs...))
	typ, payload := uint16(0x0800), make([]byte, 46)
	switch r.IntN(8) {
	case 0, 1, 2:
		copy(payload, []byte{0x45, 0, 0, 46, 0, 0, byte(r.IntN(2) * 0x20), byte(r.IntN(2)), 64, byte(1 + 16*r.IntN(2)), 0, 0})
		copy(payload[12:], pick(ip, ips...))
		copy(payload[16:], pick([]byte{10, 20, 1, 4}, append(ips, "0a140201", "e0000001")...))
	case 3, 4, 5:
		typ = 0x0806
		copy(payload, []byte{0, 1, 8, 0, 6, 4, 0, byte(1 + r.IntN(2))})
		copy(payload[8:], slices.Concat(pick(mac, macs...), pick(ip, ips...), make([]byte, 6), pick([]byte{10, 20, 1, 4}, ips...)))
	case 6:
		typ = 0x86dd
		copy(payload, []byte{0x60, 0, 0, 0, 0, 6, 59, 64, 0xfe, 0x80})
	default:
		typ = []uint16{0x88cc, 0x8847, 0x9100}[r.IntN(3)]
	}
	frame = append(binary.BigEndian.AppendUint16(frame, typ), payload...)
	for range max(0, r.IntN(5)-2) {
		frame = packet.Tagged(frame, []uint16{0, 0, 7, 8, 4094}[r.IntN(5)])
		if r.IntN(4) == 0 {
			binary.BigEndian.PutUint16(frame[12:], 0x88a8)
		}
	}
	return frame
}

// isOwn reports whether a frame tells of nobody but its port.
func isOwn(port topology.SwitchPort, frame []byte) bool {
	if !bytes.Equal(frame[6:12], port.MAC[:]) {
		return false
	}
	own, payload := port.IP.AsSlice(), frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		return bytes.Equal(payload[12:16], own)
	case 0x0806:
		asks := payload[7] == 1 && bytes.Equal(payload[14:18], make([]byte, 4))
		return bytes.Equal(payload[8:14], port.MAC[:]) && (asks || bytes.Equal(payload[14:18], own))
	case 0x86dd, 0x8100, 0x88a8:
		return false
	}
	return true
}

// What a secured port sends passes its switch if it tells of the port alone;
// nothing else leaves, by whatever way, in the flows that are made and in what
// Open vSwitch makes of them.
func TestSecured(t *testing.T) {
	t.Parallel()
	settings := func(string) Settings { return Settings{Untunnel: true} }
	n := NewNetwork(stored(t, securedNetwork), settings)
	r := rand.New(rand.NewPCG(6, 98))
	bridge := realityOf(t, n, "hv1")
	bridge.sync(t, n.bridge("hv1").engine.All())
	counts := map[bool]int{}
	for i := range 6000 {
		port, err := n.source([]string{"lone", "host", "pod"}[r.IntN(3)])
		if err != nil {
			t.Fatal(err)
		}
		frame := randomFrame(r, port)
		if port.Name == "host" && sentAsChild(frame) {
			continue // it is pod's
		}
		want := isOwn(port, frame)
		counts[want]++
		paths, err := n.Trace(port.Name, frame)
		if err != nil {
			t.Fatalf("%s %x: %v", port.Name, frame, err)
		}
		for _, records := range paths {
			if passed, left := seenAt(records); passed != want || left && !want {
				t.Fatalf("%s sends %x: it is its own: %v, it passes: %v, it leaves: %v\n%s", port.Name, frame, want, passed, left, renderPath(records))
			}
		}
		if i%20 > 0 {
			continue
		}
		if port.Tag != 0 {
			frame = packet.Tagged(frame, port.Tag)
		}
		in := fmt.Sprintf("in_port=%d", n.bridge("hv1").ofports[topology.Interface{Port: port.Name}.Key()])
		output := bridge.Appctl("ofproto/trace", "br-int", in, hex.EncodeToString(frame))
		passed := strings.Contains(output, fmt.Sprintf("\n%d. ", flows.TableSwitchARP))
		if passed != want || !want && !strings.Contains(output, "\nDatapath actions: drop") {
			t.Fatalf("%s sends %x: it is its own: %v, Open vSwitch lets it pass: %v\n%s", port.Name, frame, want, passed, output)
		}
	}
	if counts[true] < 500 || counts[false] < 500 {
		t.Errorf("%d frames are the ports' own, %d are not: that tests little", counts[true], counts[false])
	}
}

// sentAsChild reports whether the outer tag of a frame is pod's.
func sentAsChild(frame []byte) bool {
	typ := binary.BigEndian.Uint16(frame[12:])
	return (typ == 0x8100 || typ == 0x88a8) && binary.BigEndian.Uint16(frame[14:]) == 7
}

// seenAt reports whether a packet passed port security, and whether it left.
func seenAt(records []Record) (passed, left bool) {
	for _, record := range records {
		for _, s := range record.Steps {
			passed = passed || s.Table == flows.TableSwitchARP
			left = left || slices.ContainsFunc(s.Ends, func(e End) bool { return e.Kind != Drop })
		}
	}
	return passed, left
}
