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
	addAddress(t, link, cidr)
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

// follow runs followNIC in the network namespace of the test.
func follow(t *testing.T, spec, ip string, log io.Writer) (nics chan nic) {
	t.Helper()
	network, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	nics, ended := make(chan nic), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		if err := unix.Setns(network, unix.CLONE_NEWNET); err != nil {
			t.Errorf("enter the namespace of the test: %v", err)
			return
		}
		followNIC(ctx, spec, netip.MustParseAddr(ip), nics, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		unix.Close(network)
	})
	return nics
}

// wantNIC waits for the follower to say an address and its MTU, after others
// maybe.
func wantNIC(t *testing.T, nics <-chan nic, ip string, mtu int) {
	t.Helper()
	want := nic{netip.MustParseAddr(ip), mtu}
	for deadline := time.After(20 * time.Second); ; {
		select {
		case got := <-nics:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the follower does not say %v", want)
		}
	}
}

func TestFollowNIC(t *testing.T) {
	ownNetwork(t)
	eth0 := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	other := giveAddress(t, "eth1", "198.51.100.1/24", 9000)
	nics := follow(t, "", "192.0.2.1", t.Output())
	if got := <-nics; got.mtu != 1500 {
		t.Errorf("at first it says %v, want 1500", got)
	}
	setMTU(t, other, 8000)
	setMTU(t, eth0, 1600)
	if got := <-nics; got.mtu != 1600 {
		t.Errorf("then it says %v, want 1600", got)
	}
	// A device that goes and comes back.
	if err := netlink.LinkDel(eth0); err != nil {
		t.Fatal(err)
	}
	eth0 = giveAddress(t, "eth0", "192.0.2.1/24", 1400)
	if err := netlink.LinkSetUp(eth0); err != nil {
		t.Fatal(err)
	}
	wantNIC(t, nics, "192.0.2.1", 1400)
}

// TestFollowNICOverrun shows that the follower goes on when the kernel had to
// drop events, as nobody read them.
func TestFollowNICOverrun(t *testing.T) {
	ownNetwork(t)
	eth0 := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	log := &logbook{}
	nics := follow(t, "", "192.0.2.1", log)
	wantNIC(t, nics, "192.0.2.1", 1500)
	for n := range 2000 { // at the first of them it waits for us
		setMTU(t, eth0, 1400+n%2)
	}
	setMTU(t, eth0, 1300)
	wantNIC(t, nics, "192.0.2.1", 1300)
	for deadline := time.Now().Add(20 * time.Second); log.said("subscribing again") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the subscription did not end, so the test shows nothing")
		}
	}
	setMTU(t, eth0, 1700)
	wantNIC(t, nics, "192.0.2.1", 1700)
}

// TestFollowAddress shows which address is the tunnels' when the interfaces that
// the operator named have other ones.
func TestFollowAddress(t *testing.T) {
	ownNetwork(t)
	eth0 := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	br0 := addDevice(t, "br0")
	setMTU(t, br0, 1600)
	log := &logbook{}
	nics := follow(t, "eth0,br0", "192.0.2.1", log)
	wantNIC(t, nics, "192.0.2.1", 1500)

	// While it has its own, others do not matter.
	addAddress(t, br0, "198.51.100.7/24")
	addAddress(t, eth0, "192.0.2.2/24")
	setMTU(t, eth0, 1501)
	wantNIC(t, nics, "192.0.2.1", 1501)

	// Away for a moment, and another one is there.
	delAddress(t, eth0, "192.0.2.1/24") // and with it the other of its network
	addAddress(t, eth0, "192.0.2.1/24")
	setMTU(t, eth0, 1502)
	if got := <-nics; got != (nic{netip.MustParseAddr("192.0.2.1"), 1502}) {
		t.Errorf("after a moment without the address it is %v", got)
	}

	// Away for longer: the other interface's, then nothing, then a new one.
	delAddress(t, eth0, "192.0.2.1/24")
	wantNIC(t, nics, "198.51.100.7", 1600)
	delAddress(t, br0, "198.51.100.7/24")
	eventually(t, "it says that the address is gone", func() bool { return log.said("lost the address", "198.51.100.7") == 1 })
	addAddress(t, eth0, "192.0.2.9/24")
	wantNIC(t, nics, "192.0.2.9", 1502)
}

// TestFollowFixedAddress shows that an address which the operator named stays.
func TestFollowFixedAddress(t *testing.T) {
	ownNetwork(t)
	eth0 := giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	log := &logbook{}
	nics := follow(t, "192.0.2.1", "192.0.2.1", log)
	wantNIC(t, nics, "192.0.2.1", 1500)
	addAddress(t, eth0, "198.51.100.7/24")
	delAddress(t, eth0, "192.0.2.1/24")
	eventually(t, "it says that the address is gone", func() bool { return log.said("lost the address", "192.0.2.1") == 1 })
	setMTU(t, eth0, 1600)
	addAddress(t, eth0, "192.0.2.1/24")
	if got := <-nics; got != (nic{netip.MustParseAddr("192.0.2.1"), 1600}) {
		t.Errorf("it is %v", got)
	}
	eventually(t, "it says that the address is back", func() bool { return log.said("there again") == 1 })
}

func addAddress(t *testing.T, link netlink.Link, cidr string) {
	t.Helper()
	changeAddress(t, netlink.AddrAdd, link, cidr)
}

func delAddress(t *testing.T, link netlink.Link, cidr string) {
	t.Helper()
	changeAddress(t, netlink.AddrDel, link, cidr)
}

func changeAddress(t *testing.T, change func(netlink.Link, *netlink.Addr) error, link netlink.Link, cidr string) {
	t.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err == nil {
		err = change(link, addr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMTUChangesBack has the NIC's MTU go back before the agent hears of the
// record that it wrote last, as when Open vSwitch restores a bridge's MTU.
func TestMTUChangesBack(t *testing.T) {
	s := newSite(t)
	record := topology.Chassis{Name: "hv-a", IP: netip.MustParseAddr("192.0.2.1"), Tick: 1, MTU: workloadMTU(1600)}
	a := newAgent(Config{Store: s.store, TunnelIP: record.IP, Log: logTo(t)})
	a.self, a.synced = record.Name, true
	ctx := t.Context()
	a.liveness = newLiveness(ctx, a)
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
