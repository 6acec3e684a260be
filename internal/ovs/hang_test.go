package ovs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// briefly returns a context for what cannot succeed.
func briefly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestVswitchdHangs: nothing waits for an ovs-vswitchd that hangs for longer
// than it was told to, and what it was asked meanwhile leaves no trace.
func TestVswitchdHangs(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	first := mods(testFlow(1, 1), testFlow(2, 2))
	syncFlows(t, d, first)
	awaitPackets(t, d)

	o.PauseVswitchd()
	if _, err := d.Counters(briefly(t), flows.TableClassify); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Counters returns %v", err)
	}
	if !d.InSync() {
		t.Error("a question without an answer has cost the connection")
	}
	if err := d.LimitConnections(briefly(t), map[uint16]uint32{5: 100}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("LimitConnections returns %v", err)
	}
	if err := d.FlushConnections(briefly(t), 1, "snat", netip.MustParseAddr("192.0.2.1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("FlushConnections returns %v", err)
	}
	if err := d.Apply(briefly(t), mods(testFlow(3, 3)), []uint64{first[0].Cookie}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply returns %v", err)
	}
	await(t, d, "that the connection is given up", func() bool { return !d.InSync() })
	if err := d.Apply(briefly(t), mods(testFlow(3, 3)), nil); !errors.Is(err, ErrNeedsSync) {
		t.Errorf("Apply returns %v while the state is unknown, want ErrNeedsSync", err)
	}
	// OVSDB goes on: these are made when ovs-vswitchd does.
	hv1 := spec("hv1", "10.0.0.1")
	setTunnels(t, d, hv1)

	o.ResumeVswitchd()
	resumed := time.Now()
	result := syncFlows(t, d, first)
	t.Logf("in sync %s after the hang", time.Since(resumed))
	checkSync(t, result, SyncResult{Kept: 2})
	checkFlows(t, o, line(1, 1), line(2, 2))
	awaitTunnels(t, d, hv1)
	if err := d.LimitConnections(t.Context(), map[uint16]uint32{5: 100}); err != nil {
		t.Error(err)
	}
}

// TestCommitIntoHang: a bundle whose commit was under way when ovs-vswitchd hung
// is there or not, and the next sync knows.
func TestCommitIntoHang(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	syncFlows(t, d, nil)
	for n := range uint64(10) {
		many := make([]*flows.Flow, 2000)
		for i := range many {
			many[i] = testFlow(n*10000+uint64(i), uint32(n+1))
		}
		ms := mods(many...)
		applied := make(chan error)
		go func() { applied <- d.Apply(briefly(t), ms, nil) }()
		// At some time in the 20 ms that it takes.
		time.Sleep(time.Duration(2*n) * time.Millisecond)
		o.PauseVswitchd()
		err := <-applied
		o.ResumeVswitchd()
		if err != nil {
			got := syncFlows(t, d, ms)
			if got.Kept != 0 && got.Kept != len(ms) {
				t.Fatalf("round %d: a part of a bundle is in: %+v", n, got)
			}
		} else if got := resync(t, d, ms); got.Kept != len(ms) {
			t.Fatalf("round %d: a bundle that was applied is not in: %+v", n, got)
		}
		checkSync(t, resync(t, d, ms), SyncResult{Kept: len(ms)})
	}
}

// resync compares the bridge with the flows though it need not be.
func resync(t *testing.T, d *Driver, ms []flows.CookieFlow) SyncResult {
	t.Helper()
	got, err := d.Sync(t.Context(), sequence(ms))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDatabaseHangs: a transaction without an answer may be carried out later.
// It is not taken for undone, nor for done.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	calm, alarm := spec("hv1", "10.0.0.1"), spec("hv1", "10.0.0.1")
	calm.BFD = BFD{Enable: true}
	alarm.BFD = BFD{Enable: true, PathDown: true}
	setTunnels(t, d, calm)
	awaitTunnels(t, d, calm)

	o.PauseDB()
	if err := d.SetTunnels(briefly(t), []TunnelSpec{alarm}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("SetTunnels returns %v, want ErrNotConnected", err)
	}
	await(t, d, "that the session is given up", func() bool { _, err := d.currentSession(); return err != nil })
	if err := d.HoldTraffic(briefly(t)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("HoldTraffic returns %v, want ErrNotConnected", err)
	}
	o.ResumeDB()
	resumed := time.Now()
	await(t, d, "the next session", func() bool { _, err := d.currentSession(); return err == nil })
	t.Logf("a new session %s after the hang", time.Since(resumed))
	setTunnels(t, d, calm)
	if got := o.Vsctl("get", "Interface", "tupleNet-167772161", "bfd"); got != `{enable="true"}` {
		t.Errorf("the column bfd is %s", got)
	}
	// Now it is an operator's again.
	o.Vsctl("set", "Interface", "tupleNet-167772161", "bfd:enable=false")
	setTunnels(t, d, calm)
	if got := o.Vsctl("get", "Interface", "tupleNet-167772161", "bfd"); got != `{enable="false"}` {
		t.Errorf("the column bfd is %s", got)
	}
}

// TestCloseWhileHung is not parallel: no other test then has goroutines.
func TestCloseWhileHung(t *testing.T) {
	o := ovstest.Start(t)
	d, _ := open(t, o)
	syncFlows(t, d, mods(testFlow(1, 1)))
	o.PauseDB()
	o.PauseVswitchd()
	if err := d.Apply(briefly(t), mods(testFlow(2, 2)), nil); err == nil {
		t.Error("a flow is in an ovs-vswitchd that hangs")
	}
	if err := d.SetTunnels(briefly(t), manyTunnels(3*tunnelsPerTransaction, 1)); err == nil {
		t.Error("tunnels are in a database that hangs")
	}
	closed := make(chan struct{})
	go func() { d.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close waits for what hangs")
	}
	checkNothingLeft(t, "both daemons hang")
}

// TestFaults stops, pauses, resumes and starts the daemons in random order, and
// asks for changes all the while. When both run again all is as wanted, and
// nothing has piled up.
func TestFaults(t *testing.T) {
	o := ovstest.Start(t)
	d, _ := open(t, o)
	ms := mods(testFlow(1, 1), testFlow(2, 2))
	want := []TunnelSpec{spec("hv1", "10.0.0.1"), spec("hv2", "10.0.0.2")}

	// Somebody who wants things, as an agent does.
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for n := 0; ctx.Err() == nil; n++ {
			try, end := context.WithTimeout(ctx, 200*time.Millisecond)
			d.SetTunnels(try, want[n%2:])
			d.HoldTraffic(try)
			d.ReleaseTraffic(try)
			if d.NeedsSync() {
				d.Sync(try, sequence(ms))
			}
			d.Apply(try, mods(testFlow(3, uint32(n))), nil)
			d.Counters(try, flows.TableClassify)
			end()
			pause(ctx, 5*time.Millisecond)
		}
	}()

	const seed = 4
	r := rand.New(rand.NewPCG(seed, 0))
	type daemon struct{ stop, start, pause, resume func() }
	daemons := []daemon{
		{o.StopDB, o.StartDB, o.PauseDB, o.ResumeDB},
		{o.StopVswitchd, o.StartVswitchd, o.PauseVswitchd, o.ResumeVswitchd},
	}
	for range 12 {
		d := daemons[r.IntN(2)]
		away, back := d.stop, d.start
		if r.IntN(2) == 0 {
			away, back = d.pause, d.resume
		}
		away()
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		back()
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
	cancel()
	<-asked
	back := time.Now()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, err := d.Sync(briefly(t), sequence(ms))
		if err == nil && d.SetTunnels(briefly(t), want) == nil && d.ReleaseTraffic(briefly(t)) == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no sync: %v", err)
		}
	}
	t.Logf("as wanted %s after the last fault", time.Since(back))
	checkFlows(t, o, line(1, 1), line(2, 2))
	awaitTunnels(t, d, want...)
	if got := root(o); strings.Contains(got, "restore") {
		t.Errorf("traffic is held: %s", got)
	}
	d.Close()
	checkNothingLeft(t, fmt.Sprintf("after the faults of seed %d", seed))
}
