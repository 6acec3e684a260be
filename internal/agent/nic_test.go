package agent

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func TestWorkloadMTU(t *testing.T) {
	for nic, want := range map[int]int{0: 0, -1: 0, 62: 0, 61: 0, 1500: 1438, 9000: 8938} {
		if got := workloadMTU(nic); got != want {
			t.Errorf("workloadMTU(%d) = %d, want %d", nic, got, want)
		}
	}
}

// giveAddress makes a device with an address and an MTU.
func giveAddress(t *testing.T, name, cidr string, mtu int) netlink.Link {
	t.Helper()
	link := addDevice(t, name)
	setMTU(t, link, mtu)
	addr, err := netlink.ParseAddr(cidr)
	if err == nil {
		err = netlink.AddrAdd(link, addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func setMTU(t *testing.T, link netlink.Link, mtu int) {
	t.Helper()
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		t.Fatal(err)
	}
}

func TestTunnelMTU(t *testing.T) {
	ownNetwork(t)
	giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	giveAddress(t, "eth1", "198.51.100.1/24", 9000)
	for ip, want := range map[string]int{"192.0.2.1": 1500, "198.51.100.1": 9000} {
		if got, err := tunnelMTU(netip.MustParseAddr(ip)); err != nil || got != want {
			t.Errorf("tunnelMTU(%s) = %d, %v, want %d", ip, got, err, want)
		}
	}
	if _, err := tunnelMTU(netip.MustParseAddr("192.0.2.2")); err == nil || !strings.Contains(err.Error(), "192.0.2.2") {
		t.Errorf("an address of nobody: %v", err)
	}
}

// follow runs followMTU in the network namespace of the test.
func follow(t *testing.T, ip string, log io.Writer) (mtus chan int) {
	t.Helper()
	network, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	mtus, ended := make(chan int), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		if err := unix.Setns(network, unix.CLONE_NEWNET); err != nil {
			t.Errorf("enter the namespace of the test: %v", err)
			return
		}
		followMTU(ctx, netip.MustParseAddr(ip), mtus, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		unix.Close(network)
	})
	return mtus
}

// wantMTU waits for the follower to say an MTU, after others maybe.
func wantMTU(t *testing.T, mtus <-chan int, want int) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		select {
		case got := <-mtus:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the follower does not say %d", want)
		}
	}
}

func TestFollowMTU(t *testing.T) {
	ownNetwork(t)
	nic := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	other := giveAddress(t, "eth1", "198.51.100.1/24", 9000)
	mtus := follow(t, "192.0.2.1", t.Output())
	if got := <-mtus; got != 1500 {
		t.Errorf("at first it says %d, want 1500", got)
	}
	setMTU(t, other, 8000)
	setMTU(t, nic, 1600)
	if got := <-mtus; got != 1600 {
		t.Errorf("then it says %d, want 1600", got)
	}
	// A device that goes and comes back.
	if err := netlink.LinkDel(nic); err != nil {
		t.Fatal(err)
	}
	nic = giveAddress(t, "eth0", "192.0.2.1/24", 1400)
	if err := netlink.LinkSetUp(nic); err != nil {
		t.Fatal(err)
	}
	wantMTU(t, mtus, 1400)
}

// TestFollowMTUOverrun shows that the follower goes on when the kernel had to
// drop events, as nobody read them.
func TestFollowMTUOverrun(t *testing.T) {
	ownNetwork(t)
	nic := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	log := &logbook{}
	mtus := follow(t, "192.0.2.1", log)
	wantMTU(t, mtus, 1500)
	for n := range 2000 { // at the first of them it waits for us
		setMTU(t, nic, 1400+n%2)
	}
	setMTU(t, nic, 1300)
	wantMTU(t, mtus, 1300)
	for deadline := time.Now().Add(20 * time.Second); log.said("subscribing again") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the subscription did not end, so the test shows nothing")
		}
	}
	setMTU(t, nic, 1700)
	wantMTU(t, mtus, 1700)
}

// TestMTUChangesBack has the NIC's MTU go back before the agent hears of the
// record that it wrote last, as when Open vSwitch restores a bridge's MTU.
func TestMTUChangesBack(t *testing.T) {
	s := newSite(t)
	record := topology.Chassis{Name: "hv-a", IP: netip.MustParseAddr("192.0.2.1"), Tick: 1, MTU: workloadMTU(1600)}
	a := newAgent(Config{Store: s.store, TunnelIP: record.IP, Log: logTo(t)})
	a.self, a.synced = record.Name, true
	ctx := t.Context()
	read := func(c topology.Chassis) {
		a.readUpdate(ctx, store.Update{Changes: []topology.Change{{Key: c.Key(), Entity: c, Created: 1}}})
	}
	stored := func(nic int) {
		t.Helper()
		eventually(t, "the MTU is in the record", func() bool {
			e, err := s.store.Get(ctx, record.Key())
			return err == nil && e.(topology.Chassis).MTU == workloadMTU(nic)
		})
	}
	a.setMTU(ctx, 1600)
	read(record)
	a.setMTU(ctx, 1400)
	stored(1400)
	a.setMTU(ctx, 1600) // what the agent knows of the record says so already
	record.MTU = workloadMTU(1400)
	read(record)
	stored(1600)
}
