package ovs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// TestBFDColumn follows the column bfd of one tunnel.
func TestBFDColumn(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	const name = "tupleNet-167772161"
	set := func(d *Driver, b BFD) {
		t.Helper()
		s := spec("hv1", "10.0.0.1")
		s.BFD = b
		setTunnels(t, d, s)
	}
	byHand := func(column string) { o.Vsctl("set", "Interface", name, "bfd="+column) }
	expect := func(when, want string) {
		t.Helper()
		if got := o.Vsctl("get", "Interface", name, "bfd"); got != want {
			t.Errorf("%s: the column is %s, want %s", when, got, want)
		}
	}
	// settled waits until the driver has seen what was done by hand.
	settled := func(d *Driver) {
		t.Helper()
		o.Vsctl("add-port", "br-int", "tick", "--", "set", "Interface", "tick", "external_ids:iface-id=tick")
		await(t, d, "the tick", func() bool { return len(d.Interfaces()) == 1 })
		o.Vsctl("del-port", "tick")
		await(t, d, "the end of the tick", func() bool { return len(d.Interfaces()) == 0 })
	}
	tuned := BFD{Enable: true, MinRx: 200, MinTx: 300}

	set(d, BFD{PathDown: true, MinRx: 5}) // means nothing without Enable
	expect("never needed", "{}")
	byHand("enable=true")
	settled(d)
	set(d, BFD{})
	expect("switched on by hand", `{enable="true"}`)

	set(d, tuned)
	expect("wished", `{enable="true", min_rx="200", min_tx="300"}`)
	byHand("enable=false,mult=5")
	settled(d)
	set(d, tuned)
	expect("switched off by hand", `{enable="false", mult="5"}`)
	down := tuned
	down.PathDown = true
	set(d, down)
	expect("path down", `{cpath_down="true", enable="true", min_rx="200", min_tx="300", mult="5"}`)
	set(d, BFD{Enable: true})
	expect("defaults", `{enable="true", mult="5"}`)
	o.Vsctl("del-port", name)
	settled(d)
	set(d, BFD{Enable: true})
	expect("made again", `{enable="true"}`)
	byHand("enable=true,mult=5")
	settled(d)
	set(d, BFD{})
	expect("wish ended", `{enable="false"}`)
	set(d, down)
	expect("wished again", `{cpath_down="true", enable="true", min_rx="200", min_tx="300"}`)

	// A driver that starts anew finds its wish there, or writes it.
	byHand("enable=true,min_rx=200,min_tx=300,mult=5")
	d.Close()
	d, _ = open(t, o)
	s, err := d.currentSession()
	if err != nil {
		t.Fatal(err)
	}
	found := spec("hv1", "10.0.0.1")
	found.BFD = tuned
	if changes, _, err := d.tunnelChanges(s, []TunnelSpec{found}); len(changes) > 0 || err != nil {
		t.Errorf("changes %+v, error %v where a new driver finds its wish", changes, err)
	}
	byHand("enable=false")
	d.Close()
	d, _ = open(t, o)
	set(d, tuned)
	expect("new driver with a wish", `{enable="true", min_rx="200", min_tx="300"}`)
	d.Close()
	d, _ = open(t, o)
	set(d, BFD{})
	expect("new driver without a wish", `{enable="false"}`)

	// A tunnel that goes takes with it what was wished for it.
	set(d, tuned)
	setTunnels(t, d)
	set(d, BFD{})
	expect("new tunnel", "{}")
}

// cable joins two Open vSwitches, each with an address on a bridge of its own,
// 10.0.0.1 and 10.0.0.2, to which a tunnel can lead. What it tells ovs-vswitchd
// ends with that: address has to be called after a restart.
func cable(t *testing.T, a, b *ovstest.OVS) {
	socket := filepath.Join(a.RunDir(), "cable")
	for n, o := range []*ovstest.OVS{a, b} {
		o.Vsctl("add-br", "br-phy", "--", "set", "Bridge", "br-phy", fmt.Sprintf("other_config:hwaddr=aa:55:aa:55:00:0%d", n+1),
			"--", "add-port", "br-phy", "eth0", "--", "set", "Interface", "eth0",
			[]string{"options:pstream=punix:", "options:stream=unix:"}[n]+socket)
		address(o, n+1)
	}
}

// address gives one of the two its address, and tells it the way to the other.
func address(o *ovstest.OVS, n int) {
	other := 3 - n
	o.Appctl("netdev-dummy/ip4addr", "br-phy", fmt.Sprintf("10.0.0.%d/24", n))
	o.Appctl("ovs/route/add", "10.0.0.0/24", "br-phy")
	o.Appctl("tnl/neigh/set", "br-phy", fmt.Sprintf("10.0.0.%d", other), fmt.Sprintf("aa:55:aa:55:00:0%d", other))
}

// TestBFD runs BFD between two hosts.
func TestBFD(t *testing.T) {
	t.Parallel()
	o1, o2 := ovstest.Start(t), ovstest.Start(t)
	cable(t, o1, o2)
	d1, _ := open(t, o1)
	d2, _ := open(t, o2)
	to1, to2 := spec("hv1", "10.0.0.1"), spec("hv2", "10.0.0.2")
	setTunnels(t, d1, to2)
	setTunnels(t, d2, to1)
	awaitTunnels(t, d1, to2)
	state := func(what string, watched, up bool) {
		t.Helper()
		await(t, d1, what, func() bool {
			ts := d1.Tunnels()
			return len(ts) == 1 && ts[0].Watched == watched && ts[0].Up == up
		})
	}
	state("not watched", false, false)
	to1.BFD = BFD{Enable: true, MinRx: 100, MinTx: 100}
	to2.BFD = to1.BFD
	setTunnels(t, d1, to2)
	state("watched while the other end is silent", true, false)
	setTunnels(t, d2, to1)
	state("up", true, true)

	to1.BFD.PathDown = true
	setTunnels(t, d2, to1)
	state("path down at the other end", true, false)
	if tunnel := d1.Tunnels()[0]; !tunnel.Heard || !tunnel.Refusing {
		t.Errorf("of an other end whose path is down it says %+v", tunnel)
	}
	to1.BFD.PathDown = false
	setTunnels(t, d2, to1)
	state("path up again", true, true)

	o2.StopVswitchd()
	state("the other end is dead", true, false)
	if tunnel := d1.Tunnels()[0]; tunnel.Heard || tunnel.Refusing || tunnel.Flaps < 4 {
		t.Errorf("of a dead other end it says %+v", tunnel)
	}
	o2.StartVswitchd()
	address(o2, 2)
	state("the other end is back", true, true)

	o1.StopVswitchd()
	o1.StartVswitchd()
	address(o1, 1)
	state("down at first after an own restart", true, false)
	state("up after an own restart", true, true)

	o1.Vsctl("set", "Interface", d1.Tunnels()[0].Name, "bfd:enable=false")
	state("switched off by hand", false, false)
	if got := o1.Appctl("bfd/show"); strings.Contains(got, "tupleNet") {
		t.Errorf("ovs-vswitchd goes on with\n%s", got)
	}
}
