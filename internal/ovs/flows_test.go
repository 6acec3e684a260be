package ovs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// testFlow returns a flow for packets of a port; n tells flows apart, and
// output tells apart what they do.
func testFlow(n uint64, output uint32) *flows.Flow {
	return &flows.Flow{
		Table: flows.TableClassify, Priority: 100,
		Match:   []flows.Match{flows.Exact(flows.Metadata, n)},
		Actions: []flows.Action{flows.Output{Port: output}},
	}
}

// badFlow returns a flow that Open vSwitch refuses: it matches on an address
// of a packet that may be no IP packet.
func badFlow(n uint64) *flows.Flow {
	return &flows.Flow{Table: flows.TableClassify, Priority: 100, Match: []flows.Match{flows.Exact(flows.IPDst, n)}}
}

func mods(fs ...*flows.Flow) []flows.CookieFlow {
	var ms []flows.CookieFlow
	for _, f := range fs {
		_, cookie, _ := f.Hash(nil)
		ms = append(ms, flows.CookieFlow{Cookie: cookie, Flow: f})
	}
	return ms
}

func sequence(ms []flows.CookieFlow) iter.Seq2[uint64, *flows.Flow] {
	return func(yield func(uint64, *flows.Flow) bool) {
		for _, m := range ms {
			if !yield(m.Cookie, m.Flow) {
				return
			}
		}
	}
}

// syncFlows synchronises the flows once the driver asks for it.
func syncFlows(t *testing.T, d *Driver, ms []flows.CookieFlow) SyncResult {
	t.Helper()
	await(t, d, "that a sync is needed", d.NeedsSync)
	got, err := d.Sync(t.Context(), sequence(ms))
	if err != nil {
		t.Fatal(err)
	}
	if d.NeedsSync() {
		t.Error("a sync is needed again at once")
	}
	return got
}

func checkSync(t *testing.T, got, want SyncResult) {
	t.Helper()
	if got != want {
		t.Errorf("sync: %+v, want %+v", got, want)
	}
}

// checkFlows compares all flows of the bridge with what is wanted.
func checkFlows(t *testing.T, o *ovstest.OVS, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(o.Ofctl("dump-flows", "--no-stats", "br-int")) {
		got = append(got, strings.TrimSpace(line))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
}

// line is a testFlow as ovs-ofctl prints it.
func line(n uint64, output uint32) string {
	return fmt.Sprintf("cookie=%#x, priority=100,metadata=%#x actions=output:%d", mods(testFlow(n, output))[0].Cookie, n, output)
}

func TestSync(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	await(t, d, "the flow connection", d.NeedsSync)
	o.Ofctl("add-flow", "br-int", "cookie=0x1,priority=5,actions=drop")
	o.Ofctl("add-flow", "br-int", fmt.Sprintf("cookie=%#x,priority=6,actions=drop", flows.CookieTag|7)) // left over
	foreign := "cookie=0x1, priority=5 actions=drop"

	first := mods(testFlow(1, 1), testFlow(2, 2))
	checkSync(t, syncFlows(t, d, first), SyncResult{Added: 2, Deleted: 1})
	checkFlows(t, o, foreign, line(1, 1), line(2, 2))

	// A flow that stays, one that does something else, one that is new.
	old := mods(testFlow(2, 2))[0]
	if err := d.Apply(t.Context(), mods(testFlow(2, 7), testFlow(3, 3)), []uint64{old.Cookie}); err != nil {
		t.Fatal(err)
	}
	checkFlows(t, o, foreign, line(1, 1), line(2, 7), line(3, 3))
	d.Close()
	d, _ = open(t, o)
	checkSync(t, syncFlows(t, d, first), SyncResult{Kept: 1, Added: 1, Deleted: 2})
	checkFlows(t, o, foreign, line(1, 1), line(2, 2))
	if got := o.Ofctl("dump-tlv-map", "br-int"); !strings.Contains(got, "0xffee") {
		t.Errorf("the TLV map lacks TupleNet's option:\n%s", got)
	}
}

// TestSyncSendsNothing reads in the log of ovs-vswitchd what came in.
func TestSyncSendsNothing(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	ms := mods(testFlow(1, 1), testFlow(2, 2))
	syncFlows(t, d, ms)
	d.Close()

	o.Appctl("vlog/set", "vconn:file:dbg")
	d, _ = open(t, o)
	checkSync(t, syncFlows(t, d, ms), SyncResult{Kept: 2})
	if err := d.Apply(t.Context(), mods(testFlow(3, 3)), nil); err != nil {
		t.Fatal(err)
	}
	var received []string
	for deadline := time.Now().Add(patience); len(received) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("ovs-vswitchd logged no flow, not even the last one")
		}
		log, err := os.ReadFile(filepath.Join(o.RunDir(), "ovs-vswitchd.log"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, "OFPT_FLOW_MOD") {
				received = append(received, line)
			}
		}
	}
	if len(received) != 1 || !strings.Contains(received[0], "metadata=0x3") {
		t.Errorf("received flows %q, want the last one alone", received)
	}
}

func TestRefusedFlows(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{1, 3, 40} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			t.Parallel()
			o := ovstest.Start(t)
			d, _ := open(t, o)
			var fs []*flows.Flow
			var want, wantRefused []string
			for n := uint64(1); n <= uint64(bad); n++ {
				fs = append(fs, testFlow(n, 1), badFlow(n))
				want = append(want, line(n, 1))
			}
			ms := mods(fs...)
			for _, m := range ms {
				if m.Flow.Match[0].Field == flows.IPDst {
					wantRefused = append(wantRefused, fmt.Sprintf("%#x", m.Cookie))
				}
			}
			check := func(err error) {
				t.Helper()
				var refused *RefusedError
				if !errors.As(err, &refused) {
					t.Fatalf("the error is %v, want a RefusedError", err)
				}
				var got []string
				for _, r := range refused.Flows {
					got = append(got, fmt.Sprintf("%#x", r.Cookie))
					if !strings.Contains(r.Err.Error(), "OFPBMC_BAD_PREREQ") {
						t.Errorf("flow %#x was refused with %v", r.Cookie, r.Err)
					}
				}
				if diff := cmp.Diff(slices.Sorted(slices.Values(wantRefused)), slices.Sorted(slices.Values(got))); diff != "" {
					t.Errorf("refused flows (-want +got):\n%s", diff)
				}
				checkFlows(t, o, want...)
			}
			await(t, d, "the flow connection", d.NeedsSync)
			got, err := d.Sync(t.Context(), sequence(ms))
			check(err)
			checkSync(t, got, SyncResult{Added: bad})
			if d.NeedsSync() {
				t.Error("a sync is needed again, which would be so for ever")
			}
			o.Ofctl("del-flows", "br-int")
			check(d.Apply(t.Context(), ms, nil))
		})
	}
}

// TestSyncFails: what stands in the way of Sync may go at any time.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	await(t, d, "that a sync is needed", d.NeedsSync)
	o.Ofctl("add-tlv-map", "br-int", "{class=0x1234,type=0,len=4}->tun_metadata0")
	var result SyncResult
	failures := 0
	sync := func(failuresWanted int) func() bool {
		return func() bool {
			if !d.NeedsSync() {
				return false
			}
			var err error
			result, err = d.Sync(t.Context(), sequence(mods(testFlow(1, 1))))
			if err != nil && strings.Contains(err.Error(), "ovs-ofctl del-tlv-map br-int") {
				failures++
				return failures == failuresWanted
			}
			return err == nil
		}
	}
	await(t, d, "two failures with the remedy", sync(2))
	if failures != 2 {
		t.Errorf("Sync failed %d times, want twice", failures)
	}
	o.Ofctl("del-tlv-map", "br-int")
	await(t, d, "a sync", sync(0))
	checkSync(t, result, SyncResult{Added: 1})
	if n := log.count("connection to the bridge lost"); n != 0 {
		t.Errorf("logged %d times that the connection was lost, which was no cause", n)
	}
}

func TestSyncMany(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	const n = 2*bundleSize + 10
	var ms []flows.CookieFlow
	for i := range uint64(n) {
		ms = append(ms, mods(testFlow(i+1, 1))...)
	}
	checkSync(t, syncFlows(t, d, ms), SyncResult{Added: n})
	d.Close()
	d, _ = open(t, o)
	checkSync(t, syncFlows(t, d, ms[:10]), SyncResult{Kept: 10, Deleted: n - 10})
	var left []string
	for i := range uint64(10) {
		left = append(left, line(i+1, 1))
	}
	checkFlows(t, o, left...)
}

func TestVswitchdRestart(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	hv1 := spec("hv1", "10.0.0.1")
	setTunnels(t, d, hv1)
	before := awaitTunnels(t, d, hv1)
	option := &flows.Flow{Table: flows.TableClassify, Priority: 1, Match: []flows.Match{flows.Exact(flows.TunMetadata0, 5)}}
	ms := mods(testFlow(1, 1), option)
	syncFlows(t, d, ms)

	o.StopVswitchd()
	await(t, d, "the loss of the flow connection", func() bool { c, _ := d.flow.current(); return c == nil })
	if d.NeedsSync() {
		t.Error("a sync is asked for that cannot be had")
	}
	if _, err := d.Sync(t.Context(), sequence(ms)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Sync returns %v, want ErrNotConnected", err)
	}
	if err := d.Apply(t.Context(), ms, nil); !errors.Is(err, ErrNeedsSync) {
		t.Errorf("Apply returns %v, want ErrNeedsSync", err)
	}

	o.StartVswitchd()
	await(t, d, "that a sync is needed", d.NeedsSync)
	if err := d.Apply(t.Context(), ms, nil); !errors.Is(err, ErrNeedsSync) {
		t.Errorf("Apply returns %v ahead of Sync, want ErrNeedsSync", err)
	}
	checkSync(t, syncFlows(t, d, ms), SyncResult{Added: 2})
	if after := awaitTunnels(t, d, hv1); after["hv1"] != before["hv1"] {
		t.Errorf("ofport of hv1 changed from %d to %d", before["hv1"], after["hv1"])
	}
	for _, text := range []string{`connection to the bridge lost" for=flows`, `connected to the bridge" for=flows`} {
		if n := log.count(text); n != 1 {
			t.Errorf("logged %q %d times, want once", text, n)
		}
	}
}

func TestBridgeDeleted(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	hv1 := spec("hv1", "10.0.0.1")
	setTunnels(t, d, hv1)
	awaitTunnels(t, d, hv1)
	ms := mods(testFlow(1, 1))
	syncFlows(t, d, ms)

	o.Vsctl("del-br", "br-int")
	awaitTunnels(t, d)
	setTunnels(t, d, hv1)
	awaitTunnels(t, d, hv1)
	// Open vSwitch may see the deletion and the new bridge at once; the flows
	// stay then.
	await(t, d, "the flow", func() bool {
		if d.NeedsSync() {
			syncFlows(t, d, ms)
		}
		return strings.Contains(o.Ofctl("dump-flows", "br-int"), "metadata=0x1")
	})
	if got := o.Vsctl("get", "Bridge", "br-int", "fail_mode"); got != "secure" {
		t.Errorf("fail mode of the new bridge is %s", got)
	}
}

// ovs-vswitchd throws the flows away when the fail mode changes, and again when
// the driver changes it back.
func TestFailModeChanged(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	ms := mods(testFlow(1, 1))
	syncFlows(t, d, ms)
	for range 3 {
		o.Vsctl("del-fail-mode", "br-int")
		await(t, d, "the loss of the flows", d.NeedsSync)
		syncFlows(t, d, ms)
		if got := o.Ofctl("dump-flows", "br-int"); !strings.Contains(got, "metadata=0x1") || strings.Contains(got, "NORMAL") {
			t.Errorf("the bridge holds\n%s", got)
		}
	}
	if got := o.Vsctl("get", "Bridge", "br-int", "fail_mode"); got != "secure" {
		t.Errorf("fail mode is %s", got)
	}
}

// TestApplyWhileDatabaseIsAway: ovs-vswitchd then answers nothing, so nobody
// knows what became of the change. The next Sync finds out.
func TestApplyWhileDatabaseIsAway(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	syncFlows(t, d, mods(testFlow(1, 1)))
	o.StopDB()
	await(t, d, "the loss of OVSDB", func() bool { _, err := d.currentSession(); return err != nil })
	// ovs-vswitchd notices a little later than the driver does.
	err := error(nil)
	for deadline := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err = d.Apply(ctx, mods(testFlow(2, 2)), nil)
		cancel()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply returns %v, want that time is up", err)
	}
	o.StartDB()
	syncFlows(t, d, mods(testFlow(1, 1), testFlow(2, 2)))
	checkFlows(t, o, line(1, 1), line(2, 2))
}
