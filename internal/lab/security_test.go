package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// socket is one that sends and receives whole frames on a workload's eth0.
type socket struct {
	fd int
	to unix.SockaddrLinklayer
}

func openSocket(t *testing.T, l *Lab, workload string) socket {
	t.Helper()
	p, err := l.at(workload)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the namespace is the thread's
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := netns.GetFromName(p.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	const all = uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	s := socket{to: unix.SockaddrLinklayer{Protocol: all}}
	nic, err := net.InterfaceByName("eth0")
	if err == nil {
		s.to.Ifindex = nic.Index
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	}
	if back := netns.Set(home); back != nil {
		panic(back) // the thread would go on elsewhere
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	if err := unix.Bind(s.fd, &s.to); err != nil {
		t.Fatal(err)
	}
	wait := unix.NsecToTimeval(int64(2 * time.Second))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		t.Fatal(err)
	}
	return s
}

// receiver is a workload that frames are sent to.
type receiver struct {
	name, mac string
	socket
}

func (s socket) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := unix.Sendto(s.fd, frame, 0, &s.to); err != nil {
		t.Fatal(err)
	}
}

// provokes sends a frame and reports whether another socket, or the same, receives
// something that is due to it. Next makes a frame that everybody may send, and says
// what it leads to.
//
// Open vSwitch takes in several frames at once, and hands on first those of a kind that it
// has seen before, on each host. So three of the next ones are sent, each when the
// one before has had its effect: by the third all of the first one has come.
func (s socket) provokes(t *testing.T, frame []byte, at socket, due func([]byte) bool, next func() ([]byte, func([]byte) bool)) (came bool) {
	t.Helper()
	s.send(t, frame)
	for range 3 {
		more, ends := next()
		s.send(t, more)
		came = at.sees(t, due, ends) || came
	}
	return came
}

// sees reports whether something is received before what ends the wait.
func (s socket) sees(t *testing.T, due, ends func(frame []byte) bool) (came bool) {
	t.Helper()
	buffer := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(s.fd, buffer, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			t.Fatalf("nothing came any more: %v", err)
		case from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING:
		case ends(buffer[:n]):
			return came
		case due(buffer[:n]):
			came = true
		}
	}
}

// bytesOf reads a frame that is written in hexadecimal, with blanks.
func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	frame, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatalf("frame %q: %v", text, err)
	}
	return frame
}

// The ports below, their MACs and addresses, in frames.
const (
	aliceMAC, aliceIP = "f2010a14010a", "0a14010a"
	bobIP             = "0a14010b"
	carolMAC, carolIP = "f2010a14010c", "0a14010c"
	routerIP          = "0a140101"
	nobodyMAC         = "000000000000"
	everybodyMAC      = "ffffffffffff"
	nobodyIP          = "00000000"
)

func ipv4(src string) string { // to an address that does not matter; UDP, checksums of none
	return "0800 4500 0026 0000 4000 4011 0000" + src + bobIP + "0001 0002 0012 0000"
}

func arp(op int, sha, spa, tha, tpa string) string {
	return fmt.Sprintf("0806 0001 0800 06 04 %04x %s %s %s %s", op, sha, spa, tha, tpa)
}

// sent is what a port may send if it is secured, and what it may not.
var sent = []struct {
	name string
	src  string // MAC
	rest string // behind it
	may  bool
}{
	{"IPv4 of its own", aliceMAC, ipv4(aliceIP), true},
	{"another MAC", carolMAC, ipv4(aliceIP), false},
	{"a MAC of many", "01005e000001", ipv4(aliceIP), false},
	{"another address", aliceMAC, ipv4(carolIP), false},
	{"the router's address", aliceMAC, ipv4(routerIP), false},
	{"no address", aliceMAC, ipv4(nobodyIP), false},
	{"somebody else altogether", carolMAC, ipv4(carolIP), false},

	{"ARP reply about itself", aliceMAC, arp(2, aliceMAC, aliceIP, nobodyMAC, bobIP), true},
	{"gratuitous ARP, a reply about itself to itself", aliceMAC, arp(2, aliceMAC, aliceIP, aliceMAC, aliceIP), true},
	{"ARP reply for another address", aliceMAC, arp(2, aliceMAC, carolIP, nobodyMAC, bobIP), false},
	{"ARP reply for the router's address", aliceMAC, arp(2, aliceMAC, routerIP, nobodyMAC, bobIP), false},
	{"gratuitous ARP for another address", aliceMAC, arp(2, aliceMAC, carolIP, aliceMAC, carolIP), false},
	{"ARP reply with another MAC in it", aliceMAC, arp(2, carolMAC, aliceIP, nobodyMAC, bobIP), false},
	{"ARP reply under another MAC", carolMAC, arp(2, aliceMAC, aliceIP, nobodyMAC, bobIP), false},
	{"ARP reply for no address", aliceMAC, arp(2, aliceMAC, nobodyIP, nobodyMAC, bobIP), false},

	{"IPv6", aliceMAC, "86dd 6000 0000 0008 3b40 fe80 0000 0000 0000 0000 0000 0000 0001 fe80 0000 0000 0000 0000 0000 0000 0002", false},
	{"another type of its own", aliceMAC, "88b5", true},
	{"another type under another MAC", carolMAC, "88b5", false},

	{"a VLAN tag", aliceMAC, "8100 0007" + ipv4(aliceIP), false},
	{"a VLAN tag without id", aliceMAC, "8100 0000" + ipv4(aliceIP), false},
	{"a VLAN tag, and another address behind it", aliceMAC, "8100 0000" + ipv4(carolIP), false},
	{"two VLAN tags", aliceMAC, "8100 0000 8100 0007" + ipv4(carolIP), false},
	{"a service's VLAN tag", aliceMAC, "88a8 0007" + ipv4(aliceIP), false},
}

// asked is what a port may ask by ARP. Requests are answered by the network, and
// nobody else sees them.
var asked = []struct {
	name          string
	src, sha, spa string
	may           bool
}{
	{"under its own name", aliceMAC, aliceMAC, aliceIP, true},
	{"under no address, whether one is free", aliceMAC, aliceMAC, nobodyIP, true},
	{"under another address", aliceMAC, aliceMAC, carolIP, false},
	{"under the router's address", aliceMAC, aliceMAC, routerIP, false},
	{"with another MAC in it", aliceMAC, carolMAC, aliceIP, false},
	{"under another MAC", carolMAC, carolMAC, aliceIP, false},
	{"in the name of somebody else", carolMAC, carolMAC, carolIP, false},
}

// TestPortSecurity sends what a workload may and may not, to one on its own host
// and to one on another, from a port that is secured, by itself and as all of
// its switch, and from one that is not, from which all of it arrives.
func TestPortSecurity(t *testing.T) {
	t.Parallel()
	l := up(t, Spec{
		Hosts: []Host{{Name: "h1"}, {Name: "h2"}},
		Switches: []Switch{{Name: "LS", Ports: []Port{
			{Name: "alice", Address: "10.20.1.10"}, {Name: "bob", Address: "10.20.1.11"}, {Name: "carol", Address: "10.20.1.12"}}}},
		Routers:   []Router{{Name: "LR", Links: []Link{{Switch: "LS", Address: "10.20.1.1/24"}}}},
		Workloads: []Workload{{Port: "alice", Host: "h1"}, {Port: "bob", Host: "h2"}, {Port: "carol", Host: "h1"}},
	})
	checkPing(t, l, "alice", "bob", true)
	checkPing(t, l, "alice", "carol", true)
	alice := openSocket(t, l, "alice")
	receivers := []receiver{{"bob", "f2010a14010b", openSocket(t, l, "bob")}, {"carol", carolMAC, openSocket(t, l, "carol")}}
	// Each frame carries a number, so that none is taken for another.
	var count uint64
	frame := func(to, src, rest string) (wire []byte, is func([]byte) bool) {
		count++
		mark := binary.BigEndian.AppendUint64([]byte("frame"), count)
		return append(bytesOf(t, to+src+rest), append(mark, make([]byte, 24)...)...), func(f []byte) bool { return bytes.Contains(f, mark) }
	}
	comes := func(r receiver, src, rest string) bool {
		t.Helper()
		f, is := frame(r.mac, src, rest)
		return alice.provokes(t, f, r.socket, is, func() ([]byte, func([]byte) bool) { return frame(r.mac, aliceMAC, ipv4(aliceIP)) })
	}
	ask := func(src, sha, spa, tpa string) (request []byte, answers func([]byte) bool) {
		answer := bytesOf(t, arp(2, "f201"+tpa, tpa, sha, spa))
		return append(bytesOf(t, everybodyMAC+src+arp(1, sha, spa, nobodyMAC, tpa)), make([]byte, 18)...), func(f []byte) bool { return bytes.Contains(f, answer) }
	}
	for _, as := range []struct {
		name    string
		secured bool
		change  []string
	}{
		{"secured", true, []string{"lsp", "port-security", "LS", "alice", "on"}},
		{"not secured", false, []string{"lsp", "port-security", "LS", "alice", "off"}},
		{"by the switch", true, []string{"ls", "port-security", "LS", "on"}},
	} {
		if _, err := l.Exec(t.Context(), "h1", append([]string{"tpctl"}, as.change...)...); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for comes(receivers[0], aliceMAC, ipv4(carolIP)) == as.secured {
			if pause(ctx) != nil {
				t.Fatalf("tpctl %s has no effect", strings.Join(as.change, " "))
			}
		}
		for _, r := range receivers {
			for _, c := range sent {
				if came, want := comes(r, c.src, c.rest), c.may || !as.secured; came != want {
					t.Errorf("%s: %s to %s: it comes there: %v, want %v", as.name, c.name, r.name, came, want)
				}
			}
		}
		for _, c := range asked {
			f, answered := ask(c.src, c.sha, c.spa, bobIP)
			came := alice.provokes(t, f, alice, answered, func() ([]byte, func([]byte) bool) { return ask(aliceMAC, aliceMAC, aliceIP, carolIP) })
			if want := c.may || !as.secured; came != want {
				t.Errorf("%s: it asks %s: that is answered: %v, want %v", as.name, c.name, came, want)
			}
		}
	}
	drops, err := l.Exec(t.Context(), "h1", "tpctl", "flows", "--drops")
	if err != nil || !strings.Contains(drops, " port-security") {
		t.Errorf("what was dropped is not told: %v\n%s", err, drops)
	}
}
