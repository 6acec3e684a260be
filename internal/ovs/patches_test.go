package ovs

import (
	"maps"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// setPatches wants pairs, given as port and bridge, and returns the error.
func setPatches(t *testing.T, d *Driver, want ...string) error {
	t.Helper()
	var specs []PatchSpec
	for i := 0; i < len(want); i += 2 {
		specs = append(specs, PatchSpec{Port: want[i], Bridge: want[i+1]})
	}
	return d.SetPatches(t.Context(), specs)
}

// patchesNow returns the patch interfaces of a bridge: name, options and
// external_ids of each.
func patchesNow(o *ovstest.OVS, bridge string) string {
	var lines []string
	for name := range strings.FieldsSeq(o.Vsctl("list-ports", bridge)) {
		if o.Vsctl("get", "Interface", name, "type") == "patch" {
			lines = append(lines, name+" "+strings.ReplaceAll(o.Vsctl("get", "Interface", name, "options", "external_ids"), "\n", " "))
		}
	}
	return strings.Join(lines, "\n")
}

func expectPatches(t *testing.T, o *ovstest.OVS, when, bridge, want string) {
	t.Helper()
	if got := patchesNow(o, bridge); got != want {
		t.Errorf("%s: patch ports of %s are\n%s\nwant\n%s", when, bridge, got, want)
	}
}

const (
	nearOut1 = "out1 {peer=out1-peer} {iface-id=out1}"
	farOut1  = "out1-peer {peer=out1} {iface-id=out1}"
)

// seen reports whether the driver has seen a patch port, or with an empty name
// the bridge.
func seen(d *Driver, bridge, name string) func() bool {
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, w := range d.view.wiring {
			if w.bridge == bridge && w.name == name {
				return true
			}
		}
		return false
	}
}

func unseen(d *Driver, bridge, name string) func() bool {
	return func() bool { return !seen(d, bridge, name)() }
}

func TestPatches(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	both := func(when string) {
		t.Helper()
		expectPatches(t, o, when, "br-int", nearOut1)
		expectPatches(t, o, when, "br0", farOut1)
	}
	must := func(want ...string) {
		t.Helper()
		if err := setPatches(t, d, want...); err != nil {
			t.Fatal(err)
		}
	}
	o.Vsctl("add-br", "br1")
	await(t, d, "br1", seen(d, "br1", ""))

	// A bridge that is missing keeps no others out.
	err := setPatches(t, d, "out1", "br0", "out2", "br1", "out3", "br-int", "out2", "br0")
	for _, want := range []string{"patch port out1 to bridge br0: the bridge is missing", "out3 to bridge br-int: this is the integration bridge",
		"out2 to bridge br0: it leads to bridge br1 already"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
	expectPatches(t, o, "one bridge there", "br-int", "out2 {peer=out2-peer} {iface-id=out2}")
	o.Vsctl("add-br", "br0")
	await(t, d, "br0", seen(d, "br0", ""))
	must("out1", "br0")
	both("bridge came")
	expectPatches(t, o, "not wanted", "br1", "")
	await(t, d, "the interface", func() bool { is := d.Interfaces(); return len(is) == 1 && is[0].IfaceID == "out1" })

	s, err := d.currentSession()
	if err != nil {
		t.Fatal(err)
	}
	ops, byHand, err := d.makePatchOps(s, readRows(s.cache).places(), "out1", "br0")
	if len(ops) > 0 || byHand || err != nil {
		t.Errorf("operations %v, made by hand %v, error %v where nothing is to be done", ops, byHand, err)
	}

	for _, side := range []struct{ bridge, name string }{{"br-int", "out1"}, {"br0", "out1-peer"}} {
		o.Vsctl("del-port", side.name)
		await(t, d, "the loss of "+side.name, unseen(d, side.bridge, side.name))
		must("out1", "br0")
		both(side.name + " made again")
		await(t, d, side.name, seen(d, side.bridge, side.name))
		await(t, d, "the interface", func() bool { return len(d.Interfaces()) == 1 })
	}
	o.Vsctl("set", "Interface", "out1", "options:peer=nobody")
	await(t, d, "the change by hand", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, w := range d.view.wiring {
			if w.peer == "nobody" {
				return true
			}
		}
		return false
	})
	must("out1", "br0")
	both("mended")

	must("out1", "br1")
	expectPatches(t, o, "moved", "br0", "")
	expectPatches(t, o, "moved", "br1", farOut1)
	expectPatches(t, o, "moved", "br-int", nearOut1)

	// ovs-vswitchd's restart changes nothing, and pairs go with their bridge.
	o.StopVswitchd()
	o.StartVswitchd()
	must("out1", "br1")
	expectPatches(t, o, "after a restart", "br1", farOut1)
	o.Vsctl("del-br", "br1")
	await(t, d, "the loss of br1", unseen(d, "br1", ""))
	if err := setPatches(t, d, "out1", "br1"); err == nil {
		t.Error("no error though the bridge is missing")
	}
	must()
	expectPatches(t, o, "not wanted, its bridge gone", "br-int", "")

	// Another driver finds the pair, and removes it.
	must("out1", "br0")
	both("before the other driver")
	d.Close()
	d, _ = open(t, o)
	must()
	expectPatches(t, o, "removed by another", "br-int", "")
	expectPatches(t, o, "removed by another", "br0", "")
}

// TestPatchesByHand meets pairs that others made.
func TestPatchesByHand(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "add-br", "br0")
	patch := func(bridge, name, peer, id string) {
		args := []string{"add-port", bridge, name, "--", "set", "Interface", name, "type=patch", "options:peer=" + peer}
		if id != "" {
			args = append(args, "external_ids:iface-id="+id)
		}
		o.Vsctl(args...)
	}
	patch("br-int", "hand", "hand-peer", "hand") // as the tutorial does
	patch("br0", "hand-peer", "hand", "")
	patch("br-int", "other", "x", "other")
	patch("br0", "x", "other", "")
	patch("br-int", "half", "half-peer", "half") // the second command is still to come
	patch("br-int", "old", "old-peer", "old")    // made by an earlier version
	patch("br0", "old-peer", "old", "old")
	patch("br0", "lost-peer", "lost", "lost") // whose other end was deleted
	patch("br-int", "theirs", "theirs-x", "")
	o.Vsctl("add-port", "br0", "taken", "--", "add-port", "br-int", "tap-peer")
	left := "half {peer=half-peer} {iface-id=half}\nhand {peer=hand-peer} {iface-id=hand}\n" +
		"other {peer=x} {iface-id=other}\ntheirs {peer=theirs-x} {}"
	leftFar := "hand-peer {peer=hand} {}\nx {peer=other} {}"

	d, _ := open(t, o)
	err := setPatches(t, d, "hand", "br0", "other", "br0", "taken", "br0", "tap", "br0", "theirs", "br0")
	for _, want := range []string{
		`patch port taken to bridge br0: interface taken of bridge br0, of type "", has that name; remove it with: ovs-vsctl del-port taken`,
		"ovs-vsctl del-port tap-peer", "ovs-vsctl del-port theirs",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
	expectPatches(t, o, "made by hand", "br-int", left)
	expectPatches(t, o, "made by hand", "br0", leftFar)
	if err := setPatches(t, d); err != nil {
		t.Error(err)
	}
	expectPatches(t, o, "none wanted", "br-int", left)
	expectPatches(t, o, "none wanted", "br0", leftFar)

	// Of a pair made by hand the end in the integration bridge comes back.
	o.Vsctl("del-port", "hand")
	await(t, d, "the loss of hand", unseen(d, "br-int", "hand"))
	if err := setPatches(t, d, "hand", "br0"); err != nil {
		t.Error(err)
	}
	expectPatches(t, o, "made again", "br-int", left)
	expectPatches(t, o, "made again", "br0", leftFar)
}

// TestDark follows the link state of the devices behind a patch port.
func TestDark(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	o.Vsctl("add-br", "br0", "--", "add-br", "br1")
	o.Appctl("netdev-dummy/set-admin-state", "br0", "down")
	o.Appctl("netdev-dummy/set-admin-state", "br1", "down")
	await(t, d, "br0", seen(d, "br0", ""))
	if err := setPatches(t, d, "out1", "br0"); err != nil {
		t.Fatal(err)
	}
	dark := func(what string, want bool) {
		t.Helper()
		await(t, d, what, func() bool { is := d.Interfaces(); return len(is) == 1 && is[0].Dark == want })
	}
	dark("a bridge without devices", true)
	o.Vsctl("add-port", "br0", "eth0", "--", "add-port", "br0", "eth1")
	o.Appctl("netdev-dummy/set-admin-state", "eth0", "down")
	dark("one of two is up", false)
	o.Appctl("netdev-dummy/set-admin-state", "eth1", "down")
	dark("both are down", true)
	o.Appctl("netdev-dummy/set-admin-state", "eth0", "up")
	dark("one is up again", false)
	o.Appctl("netdev-dummy/set-admin-state", "eth0", "down")
	dark("both are down again", true)
	o.Vsctl("del-port", "eth0", "--", "del-port", "eth1")
	dark("no devices any more", true)
	o.Appctl("netdev-dummy/set-admin-state", "br0", "up")
	dark("the host itself routes", false)
	o.Appctl("netdev-dummy/set-admin-state", "br0", "down")
	dark("it does not any more", true)
	o.Vsctl("add-port", "br1", "nic")
	o.Vsctl("add-port", "br0", "to-br1", "--", "set", "Interface", "to-br1", "type=patch", "options:peer=to-br0",
		"--", "add-port", "br1", "to-br0", "--", "set", "Interface", "to-br0", "type=patch", "options:peer=to-br1")
	dark("a bridge behind it has a device", false)
	o.Appctl("netdev-dummy/set-admin-state", "nic", "down")
	dark("which is down", true)
	if i := d.Interfaces()[0]; i.Bridge != "br0" || i.NICs != "" {
		t.Errorf("it leads to %q with %q", i.Bridge, i.NICs)
	}
	h, err := Examine(t.Context(), Config{RunDir: o.RunDir()})
	if want := map[string]string{"br0": "", "br1": "nic"}; err != nil || !maps.Equal(h.Dark, want) {
		t.Errorf("dark are %q, %v, want %q", h.Dark, err, want)
	}
	if len(h.Plugged) != 1 || h.Plugged[0] != (Plugged{Name: "out1", IfaceID: "out1", Bridge: "br0"}) {
		t.Errorf("plugged in are %+v", h.Plugged)
	}
	o.Vsctl("del-port", "br0", "out1-peer")
	await(t, d, "no bridge behind it", func() bool { return d.Interfaces()[0].Bridge == "" && d.Interfaces()[0].Dark })
}
