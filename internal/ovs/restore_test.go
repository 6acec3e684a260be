package ovs

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// root returns the columns of the row of Open_vSwitch that are not the
// daemons' own.
func root(o *ovstest.OVS) string {
	return o.Vsctl("--no-wait", "get", "Open_vSwitch", ".", "other_config", "external_ids")
}

func hold(t *testing.T, d *Driver) {
	t.Helper()
	if err := d.HoldTraffic(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func release(t *testing.T, d *Driver) {
	t.Helper()
	if err := d.ReleaseTraffic(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitConfig waits until the driver sees n keys in other_config, whose changes
// are no events when they are none of ours.
func awaitConfig(t *testing.T, d *Driver, n int) {
	t.Helper()
	s, err := d.currentSession()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); len(findRoot(s.cache).OtherConfig) != n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("other_config is %v", findRoot(s.cache).OtherConfig)
		}
	}
}

func TestHoldTraffic(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=9000")
	d, _ := open(t, o)
	const (
		nothing = "{max-idle=\"9000\"}\n{system-id=hv-test}"
		ours    = "{flow-restore-wait=\"true\", max-idle=\"9000\"}\n{system-id=hv-test, tuplenet-restore=\"true\"}"
		theirs  = "{flow-restore-wait=\"true\", max-idle=\"9000\"}\n{system-id=hv-test}"
	)
	expect := func(when, want string) {
		t.Helper()
		if got := root(o); got != want {
			t.Errorf("%s: the row is %s, want %s", when, got, want)
		}
		held := want == ours
		await(t, d, when, func() bool { return d.TrafficHeld() == held })
	}
	release(t, d)
	expect("nothing to release", nothing)
	hold(t, d)
	hold(t, d)
	expect("held", ours)
	release(t, d)
	release(t, d)
	expect("released", nothing)

	// Another agent finds what the last one has left.
	hold(t, d)
	d.Close()
	d, _ = open(t, o)
	expect("found", ours)
	release(t, d)
	expect("released what was found", nothing)

	// What others hold stays.
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
	awaitConfig(t, d, 2)
	hold(t, d)
	expect("held by others", theirs)
	release(t, d)
	expect("held by others, after a release", theirs)

	// They end what they think is theirs.
	o.Vsctl("remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
	awaitConfig(t, d, 1)
	hold(t, d)
	o.Vsctl("remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
	release(t, d)
	expect("ended by others", nothing)

	o.StopDB()
	await(t, d, "the loss of OVSDB", func() bool { _, err := d.currentSession(); return err != nil })
	if err := d.HoldTraffic(t.Context()); !errors.Is(err, ErrNotConnected) {
		t.Errorf("HoldTraffic returns %v without a database, want ErrNotConnected", err)
	}
}

// TestRelease: what a process has left that is no more can be taken back without
// a driver, and without waiting for Open vSwitch.
func TestRelease(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	cfg := Config{RunDir: o.RunDir()}
	expect := func(when, want string) {
		t.Helper()
		start := time.Now()
		if err := Release(t.Context(), cfg); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if took := time.Since(start); took > releasePatience+time.Second {
			t.Errorf("%s: it took %s", when, took)
		}
		if want == "" {
			return
		}
		if got := root(o); got != want {
			t.Errorf("%s: the row is %s, want %s", when, got, want)
		}
	}
	const nothing = "{}\n{system-id=hv-test}"
	expect("nothing to release", nothing)
	d, _ := open(t, o)
	hold(t, d)
	d.Close()
	o.StopVswitchd()
	expect("left by another", nothing)
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
	expect("held by others", "{flow-restore-wait=\"true\"}\n{system-id=hv-test}")
	o.PauseDB()
	expect("OVSDB hangs", "")
	o.ResumeDB()
	o.StopDB()
	expect("OVSDB is away", "")
}

// TestRestartHeld: an ovs-vswitchd that was restarted while traffic is held takes
// all that the agent sends, and forwards nothing until it is released.
func TestRestartHeld(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "ofport_request=7")
	ms := mods(
		&flows.Flow{Table: flows.TableClassify, Priority: 1, Actions: []flows.Action{flows.Punt{Why: flows.NoRoute}}},
		&flows.Flow{Table: 30, Priority: 1, Match: []flows.Match{flows.Exact(flows.TunMetadata0, 1)},
			Actions: []flows.Action{flows.LimitTo{Meter: flows.MeterErrors}, flows.Output{Port: 7}}})
	syncFlows(t, d, ms)
	o.StopVswitchd()
	await(t, d, "the loss of the connection", func() bool { return !d.InSync() && !d.NeedsSync() })
	hold(t, d)
	o.StartVswitchd()
	checkSync(t, syncFlows(t, d, ms), SyncResult{Added: 2})
	if _, err := d.Counters(t.Context(), flows.TableClassify); err != nil {
		t.Error(err)
	}
	conn, _ := d.flow.current()
	if err := conn.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	awaitPackets(t, d)
	receive := func(n byte) { o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(n))) }
	receive(1)
	if got := o.Appctl("dpif/dump-flows", "br-int"); got != "" {
		t.Errorf("an ovs-vswitchd that waits has the datapath flows\n%s", got)
	}
	if n := len(d.Packets()); n > 0 {
		t.Errorf("an ovs-vswitchd that waits has forwarded %d packets", n)
	}
	release(t, d)
	for deadline := time.Now().Add(patience); len(d.Packets()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is forwarded after the release")
		}
		receive(2)
	}
	if p := nextPacket(t, d); !bytes.Equal(p.Data, frame(1)) && !bytes.Equal(p.Data, frame(2)) || p.InPort != 7 {
		t.Errorf("received %+v", p)
	}

	hold(t, d) // which one that runs pays no heed to
	o.Vsctl("add-port", "br-int", "tick")
	receive(3)
	for p := nextPacket(t, d); !bytes.Equal(p.Data, frame(3)); p = nextPacket(t, d) {
	}
}
