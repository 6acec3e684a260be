package underlay

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"
	"golang.org/x/sys/unix"
)

// A gateway is waited for that is there only after a while, and takes its time to
// answer.
func TestReachSlowly(t *testing.T) {
	n := &node{t: t}
	pod, far := n.pod(), n.pod()
	run(t, "ip", "link", "add", "eth0", "netns", filepath.Base(pod), "type", "veth", "peer", "name", "eth0", "netns", filepath.Base(far))
	for _, ns := range []string{pod, far} {
		run(t, "ip", "-n", filepath.Base(ns), "link", "set", "eth0", "up")
	}
	run(t, "ip", "-n", filepath.Base(pod), "address", "add", "10.20.1.11/24", "dev", "eth0")
	n.netns = filepath.Base(far)
	answerSlowly(n, 300*time.Millisecond, 10*time.Millisecond)

	a := &attachment{id: attach.ID{Network: "net", Container: "c1", Ifname: "eth0"}}
	var err error
	if a.pod, err = cni.OpenNetns(pod); err != nil {
		t.Fatal(err)
	}
	defer a.pod.Close()
	if err := a.reach(t.Context(), netip.MustParseAddr("10.20.1.1"), 5*time.Second); err != nil {
		t.Error(err)
	}
}

// answerSlowly answers ARP on eth0 of n's namespace, from a while after now on, and
// each request so much later.
func answerSlowly(n *node, after, later time.Duration) {
	n.t.Helper()
	n.enter()
	arp := uint16(unix.ETH_P_ARP)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(arp<<8|arp>>8))
	if err != nil {
		n.t.Fatal(err)
	}
	begin, ended := time.Now().Add(after), make(chan struct{})
	n.t.Cleanup(func() {
		<-ended
		unix.Close(fd)
	})
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		defer close(ended)
		frame := make([]byte, 1500)
		for n.t.Context().Err() == nil {
			size, from, err := unix.Recvfrom(fd, frame, 0)
			if err != nil || size < 42 || binary.BigEndian.Uint16(frame[20:]) != 1 || time.Now().Before(begin) {
				continue
			}
			time.Sleep(later)
			mac := []byte{2, 0, 0, 0, 0, 0x99}
			reply := slices.Concat(frame[6:12], mac, frame[12:20], []byte{0, 2}, mac, frame[38:42], frame[22:32])
			_ = unix.Sendto(fd, reply, 0, from)
		}
	}()
}
