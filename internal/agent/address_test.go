package agent

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func TestTunnelAddress(t *testing.T) {
	ownNetwork(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addAddress(t, lo, "127.0.0.1/8")
	giveAddress(t, "eth0", "192.0.2.1/24", 1500)
	giveAddress(t, "eth1", "198.51.100.1/24", 1500)
	addDevice(t, "bare")
	for spec, want := range map[string]string{
		"eth0": "192.0.2.1", "eth1,eth0": "198.51.100.1", "nosuch0, bare, lo, eth0": "192.0.2.1", "198.51.100.1": "198.51.100.1",
	} {
		if got, err := TunnelAddress(spec); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", spec, got, err, want)
		}
	}
	for _, bad := range []string{"nosuch0", "bare", "", "lo", "nosuch0,lo", "127.0.0.1", "203.0.113.9", "::1", "0.0.0.0"} {
		if a, err := TunnelAddress(bad); err == nil {
			t.Errorf("%q is taken, as %s", bad, a)
		}
	}
}
