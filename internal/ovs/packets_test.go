package ovs

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/ovs/ovstest"
)

// frame is an Ethernet frame of an experimental type; n tells frames apart.
func frame(n byte) []byte {
	b := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...)
	b[14] = n
	return b
}

// punt returns a flow that fills the registers of a packet and sends it to the
// agent.
func punt(why flows.Reason) *flows.Flow {
	return &flows.Flow{Table: flows.TableClassify, Priority: 9, Actions: []flows.Action{
		flows.LimitTo{Meter: flows.MeterErrors},
		flows.Load{Dst: flows.All(flows.RegDatapath), Value: 12},
		flows.Load{Dst: flows.All(flows.RegNextHop), Value: 0x0a000001},
		flows.Load{Dst: flows.All(flows.RegPorts), Value: 0x00020001},
		flows.Load{Dst: flows.All(flows.RegFlags), Value: flows.FlagRedirected},
		flows.Load{Dst: flows.BitsRouter, Value: 0x123456},
		flows.Load{Dst: flows.BitsTooLarge, Value: 1},
		flows.Load{Dst: flows.All(flows.RegEntry), Value: 0x70003},
		flows.Punt{Why: why},
	}}
}

// nextPacket returns what Packets yields next.
func nextPacket(t *testing.T, d *Driver) Packet {
	t.Helper()
	select {
	case p := <-d.Packets():
		return p
	case <-time.After(patience):
		t.Fatal("no packet came")
	}
	panic("unreachable")
}

// awaitPackets waits until packets can be sent and received.
func awaitPackets(t *testing.T, d *Driver) {
	t.Helper()
	await(t, d, "the connection for packets", func() bool { return d.packet.conn.Load() != nil })
}

func TestPackets(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "ofport_request=7")
	f := punt(flows.TTLExceeded)
	cookie := mods(f)[0].Cookie
	syncFlows(t, d, mods(f))
	awaitPackets(t, d)
	// What others send to whoever listens.
	o.Ofctl("add-flow", "br-int", "cookie=1,priority=8,actions=controller(userdata=03)")
	o.Ofctl("add-flow", "br-int", fmt.Sprintf("cookie=%#x,table=250,actions=controller(userdata=03.04),controller", flows.CookieTag|1))

	for n := range byte(3) {
		o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(n)))
		want := Packet{
			Why: flows.TTLExceeded, Datapath: 12, NextHop: netip.MustParseAddr("10.0.0.1"), Ports: 0x00020001, Flags: flows.FlagRedirected,
			Router: 0x123456, Entry: 3, InPort: 7, Cookie: cookie, Data: frame(n),
		}
		if diff := cmp.Diff(want, nextPacket(t, d), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("packet (-want +got):\n%s", diff)
		}
	}
	if err := d.Apply(t.Context(), nil, []uint64{cookie}); err != nil {
		t.Fatal(err)
	}
	last := &flows.Flow{Table: flows.TableClassify, Priority: 1, Actions: []flows.Action{flows.Resubmit{Table: 250}, flows.Resubmit{Table: 251}}}
	bare := &flows.Flow{Table: 251, Priority: 1, Actions: []flows.Action{flows.Punt{Why: flows.NoRoute}}}
	if err := d.Apply(t.Context(), mods(last, bare), nil); err != nil {
		t.Fatal(err)
	}
	o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(8)))
	o.Ofctl("--strict", "del-flows", "br-int", "cookie=1/-1,priority=8")
	o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(9)))
	want := Packet{Why: flows.NoRoute, Table: 251, InPort: 7, Cookie: mods(bare)[0].Cookie, Data: frame(9)}
	if diff := cmp.Diff(want, nextPacket(t, d), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("the first packet of ours after those of others (-want +got):\n%s", diff)
	}
	if d.Dropped() != 0 {
		t.Errorf("%d packets were dropped", d.Dropped())
	}
}

// TestCutPacket: a packet that did not come whole cannot be sent on, so it is
// none.
func TestCutPacket(t *testing.T) {
	d := &Driver{packet: packetConn{packets: make(chan Packet, 1)}}
	in := openflow.PacketIn{Cookie: flows.CookieTag, UserData: []byte{byte(flows.NoNeighbour)}, Data: frame(1), FullLen: 61}
	d.receive(in)
	if len(d.Packets()) != 0 || d.Dropped() != 1 {
		t.Errorf("%d packets came, %d were dropped", len(d.Packets()), d.Dropped())
	}
	in.FullLen = 60
	d.receive(in)
	if len(d.Packets()) != 1 || d.Dropped() != 1 {
		t.Errorf("the whole one: %d packets came, %d were dropped", len(d.Packets()), d.Dropped())
	}
}

func TestInject(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	file := filepath.Join(o.RunDir(), "eth-a.pcap")
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "ofport_request=7", "options:tx_pcap="+file)
	out := &flows.Flow{Table: 30, Priority: 1, Match: []flows.Match{flows.Exact(flows.RegDatapath, 5)}, Actions: []flows.Action{flows.Output{Port: 7}}}
	syncFlows(t, d, mods(out))
	awaitPackets(t, d)
	inject := func(n byte, actions ...flows.Action) {
		t.Helper()
		if err := d.Inject(frame(n), actions...); err != nil {
			t.Fatal(err)
		}
	}
	inject(1, flows.Output{Port: 7})
	inject(2, flows.Load{Dst: flows.All(flows.RegDatapath), Value: 5}, flows.Resubmit{Table: 30})
	sent := func() int {
		pcap, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range byte(10) {
			n += bytes.Count(pcap, frame(i))
		}
		return n
	}
	for deadline := time.Now().Add(patience); sent() < 2; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of two frames came out", sent())
		}
	}

	for range 3 { // a refusal, which the log tells once, ends nothing
		inject(3, flows.Output{Port: 0xff12})
	}
	inject(4, flows.Output{Port: 7})
	for deadline := time.Now().Add(patience); sent() < 3; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of three frames came out", sent())
		}
	}
	if n := log.count("OFPBAC_BAD_OUT_PORT"); n != 1 {
		t.Errorf("the refusals were logged %d times", n)
	}
	if err := d.Inject(frame(5), flows.Goto{Table: 5}); err == nil || errors.Is(err, ErrNotConnected) {
		t.Errorf("an action that cannot be is refused with %v", err)
	}
}

// TestInjectBack: a frame is answered by the port that the actions say it came
// in by, as one is that the agent has held.
func TestInjectBack(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	for n, name := range []string{"eth-a", "eth-b"} {
		o.Vsctl("add-port", "br-int", name, "--", "set", "Interface", name, fmt.Sprintf("ofport_request=%d", 7+n),
			"options:tx_pcap="+filepath.Join(o.RunDir(), name+".pcap"))
	}
	back := &flows.Flow{Table: 30, Priority: 1, Match: []flows.Match{flows.Exact(flows.InPort, 8)}, Actions: []flows.Action{
		flows.Output{Port: 8}, // where it came in by: nothing goes out
		flows.Output{Port: 7},
		flows.Load{Dst: flows.All(flows.EthSrc), Value: 0x020000000003},
		flows.OutputInPort{},
	}}
	syncFlows(t, d, mods(back))
	awaitPackets(t, d)
	if err := d.Inject(frame(1), flows.Load{Dst: flows.All(flows.InPort), Value: 8}, flows.Resubmit{Table: 30}); err != nil {
		t.Fatal(err)
	}
	answer := bytes.Clone(frame(1))
	answer[11] = 3
	for _, expect := range []struct {
		name  string
		frame []byte
		n     int
	}{{"eth-b", answer, 1}, {"eth-a", frame(1), 1}, {"eth-a", answer, 0}, {"eth-b", frame(1), 0}} {
		count := func() int {
			pcap, err := os.ReadFile(filepath.Join(o.RunDir(), expect.name+".pcap"))
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Count(pcap, expect.frame)
		}
		for deadline := time.Now().Add(patience); count() < expect.n && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		}
		if n := count(); n != expect.n {
			t.Errorf("%x left %s %d times, want %d", expect.frame[:14], expect.name, n, expect.n)
		}
	}
}

// TestPacketFlood: nobody takes 100,000 packets that come at once, and all
// works as before when somebody does.
func TestPacketFlood(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	f := &flows.Flow{Table: 30, Priority: 1, Actions: []flows.Action{flows.Punt{Why: flows.NoNeighbour}}}
	syncFlows(t, d, mods(f))
	awaitPackets(t, d)
	const flood = 100_000
	for range flood {
		if err := d.Inject(frame(1), flows.Resubmit{Table: 30}); err != nil {
			t.Fatal(err)
		}
	}
	// The answer comes after all that was sent before.
	if err := d.packet.conn.Load().Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.Dropped() == 0 || len(d.Packets()) != packetBacklog {
		t.Errorf("%d packets wait, want %d; %d were dropped", len(d.Packets()), packetBacklog, d.Dropped())
	}
	t.Logf("Open vSwitch sent %d of %d", packetBacklog+d.Dropped(), flood)
	for range packetBacklog {
		nextPacket(t, d)
	}
	if err := d.Inject(frame(2), flows.Resubmit{Table: 30}); err != nil {
		t.Fatal(err)
	}
	for p := nextPacket(t, d); !bytes.Equal(p.Data, frame(2)); p = nextPacket(t, d) {
		if !bytes.Equal(p.Data, frame(1)) {
			t.Fatalf("received %x", p.Data)
		}
	}
}

// TestPacketsAfterRestart: both connections come back after ovs-vswitchd did.
func TestPacketsAfterRestart(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	ms := mods(&flows.Flow{Table: 30, Priority: 1, Actions: []flows.Action{
		flows.LimitTo{Meter: flows.MeterErrors}, flows.Punt{Why: flows.NoNeighbour}}})
	for round := range 2 {
		checkSync(t, syncFlows(t, d, ms), SyncResult{Added: 1})
		awaitPackets(t, d)
		if got := o.Ofctl("dump-meters", "br-int"); strings.Count(got, "pktps burst") != len(flows.Meters) {
			t.Errorf("the meters are\n%s", got)
		}
		if err := d.Inject(frame(1), flows.Resubmit{Table: 30}); err != nil {
			t.Fatal(err)
		}
		if p := nextPacket(t, d); p.Why != flows.NoNeighbour {
			t.Errorf("received %+v", p)
		}
		if round > 0 {
			break
		}
		o.StopVswitchd()
		await(t, d, "the loss of the connections", func() bool {
			conn, _ := d.flow.current()
			return conn == nil && d.packet.conn.Load() == nil
		})
		if err := d.Inject(frame(1), flows.Resubmit{Table: 30}); !errors.Is(err, ErrNotConnected) {
			t.Errorf("Inject returns %v, want ErrNotConnected", err)
		}
		if err := d.FlushConnections(t.Context(), 1, "snat", netip.MustParseAddr("192.0.2.1")); !errors.Is(err, ErrNotConnected) {
			t.Errorf("FlushConnections returns %v, want ErrNotConnected", err)
		}
		o.StartVswitchd()
	}
	for _, text := range []string{`connection to the bridge lost" for=packets`, `connected to the bridge" for=packets`} {
		if n := log.count(text); n != 1 {
			t.Errorf("logged %q %d times, want once", text, n)
		}
	}
}

// TestNoMeters changes what all drivers take for meters, so it runs before the
// tests that are parallel.
func TestNoMeters(t *testing.T) {
	meters := flows.Meters
	defer func() { flows.Meters = meters }()
	flows.Meters = []flows.MeterInfo{{Meter: flows.MeterErrors}} // Open vSwitch refuses a rate of 0
	o := ovstest.Start(t)
	d, log := open(t, o)
	plain := &flows.Flow{Table: 3, Priority: 1}
	limited := &flows.Flow{Table: 3, Priority: 2, Actions: []flows.Action{flows.LimitTo{Meter: flows.MeterErrors}, flows.Output{Port: 5}}}
	later := &flows.Flow{Table: 4, Priority: 2, Actions: limited.Actions}
	ms := mods(plain, limited)
	checkSync(t, syncFlows(t, d, ms), SyncResult{Added: 2})
	if err := d.Apply(t.Context(), mods(later), nil); err != nil {
		t.Fatal(err)
	}
	got := o.Ofctl("dump-flows", "--no-stats", "br-int")
	if strings.Count(got, "actions=output:5") != 2 || strings.Contains(got, "meter") || len(limited.Actions) != 2 {
		t.Errorf("the flows are\n%s", got)
	}
	got2, err := d.Sync(t.Context(), sequence(mods(plain, limited, later)))
	if err != nil {
		t.Fatal(err)
	}
	checkSync(t, got2, SyncResult{Kept: 3})
	if n := log.count(`msg="the datapath has no meters`); n != 1 {
		t.Errorf("logged %d times that there are no meters, want once", n)
	}
}
