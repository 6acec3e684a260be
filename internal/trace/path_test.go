package trace

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// TestPathText prints paths as people read them. Each file of testdata/path names
// the file of testdata/dry whose topology it adds to ("base"), and says which
// packets are sent and what is printed.
func TestPathText(t *testing.T) {
	t.Parallel()
	golden(t, "path", "text", func(t *testing.T, archive *txtar.Archive) string {
		n := NewNetwork(basedOn(t, section(archive, "base"), section(archive, "topology")), settingsOf(section(archive, "settings")))
		var got strings.Builder
		for line := range strings.Lines(section(archive, "packets")) {
			fmt.Fprintf(&got, "$ %s", line)
			word := strings.Fields(line)
			if v, ok := CanSend(n.model, word[0]); !ok {
				fmt.Fprintln(&got, v)
				continue
			}
			for _, records := range tracePacket(t, n, word) {
				p := Assemble(records, n.model)
				if !p.Complete() && p.End.OK() {
					t.Errorf("%s: arrived, and yet not complete", line)
				}
				if err := p.WriteText(&got, TextOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		return got.String()
	})
}

// basedOn returns the topology of a file of testdata/dry with lines added, and
// with those left out that begin with "-".
func basedOn(t testing.TB, base, more string) []topology.Change {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/dry/" + strings.TrimSpace(base) + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	text := section(archive, "topology")
	for line := range strings.Lines(more) {
		out, isOut := strings.CutPrefix(strings.TrimSpace(line), "-")
		if !isOut {
			text += line
			continue
		}
		var kept strings.Builder
		for l := range strings.Lines(text) {
			if !strings.HasPrefix(l, out+" ") {
				kept.WriteString(l)
			}
		}
		if kept.Len() == len(text) {
			t.Fatalf("no line begins with %q", out)
		}
		text = kept.String()
	}
	return stored(t, text)
}

// twoHosts is a small topology: Alice on hv1 and Bob on hv2, a router between.
const twoHosts = `LS/LS-A id=1
LS/LS-B id=2
LR/LR-1 id=3
LS/LS-A/lsp/lsp-alice ip=10.20.1.10,mac=f2:01:00:00:00:01,chassis=hv1
LS/LS-B/lsp/lsp-bob ip=10.20.2.10,mac=f2:01:00:00:00:02,chassis=hv2
LS/LS-A/lsp/LS-A_to_LR-1 ip=10.20.1.1,mac=f2:01:0a:14:01:01,peer=LR-1_to_LS-A
LR/LR-1/lrp/LR-1_to_LS-A ip=10.20.1.1,prefix=24,mac=f2:01:0a:14:01:01,peer=LS-A_to_LR-1
LS/LS-B/lsp/LS-B_to_LR-1 ip=10.20.2.1,mac=f2:01:0a:14:02:01,peer=LR-1_to_LS-B
LR/LR-1/lrp/LR-1_to_LS-B ip=10.20.2.1,prefix=24,mac=f2:01:0a:14:02:01,peer=LS-B_to_LR-1
chassis/hv1 ip=192.168.1.10,mtu=1438,tick=1
chassis/hv2 ip=192.168.1.11,mtu=1438,tick=1
chassis/edge1 ip=192.168.1.12,mtu=1438,tick=1
`

func model(t testing.TB, text string, more ...topology.Entity) *topology.Model {
	t.Helper()
	m := topology.NewModel()
	m.Apply(stored(t, text))
	for _, e := range more {
		m.Apply([]topology.Change{{Key: e.Key(), Entity: e}})
	}
	return m
}

// The ids of the ports of twoHosts.
const (
	alice   = 1<<8 | 10
	bob     = 2<<8 | 10
	fromLSA = 1<<8 | 1
	fromLSB = 2<<8 | 1
)

func step(table flows.Table, datapath uint32, from, to uint16, ends ...End) Step {
	return Step{Table: table, Datapath: datapath, From: from, To: to, Ends: ends}
}

// toBob is a live trace of a frame from Alice to Bob, who is in her switch for
// once.
func toBob() []Record {
	return []Record{
		{Chassis: "hv1", Sequence: 1, Steps: []Step{step(flows.TableSwitchARP, 2, alice, 0)}},
		{Chassis: "hv1", Sequence: 2, Stage: SwitchIngressOut, Steps: []Step{step(flows.TableSwitchLookup, 2, alice, 0)}},
		{Chassis: "hv1", Sequence: 3, Stage: OutputPacket, Steps: []Step{
			step(flows.TableSwitchOutput, 2, alice, bob),
			step(flows.TableTunnel, 2, alice, bob, End{Kind: Tunnel, Chassis: "hv2"})}},
		{Chassis: "hv2", Sequence: 4, Steps: []Step{step(flows.TableArrival, 2, alice, bob), step(flows.TableSwitchLoopback, 2, alice, bob)}},
		{Chassis: "hv2", Sequence: 5, Stage: OutputPacket, Iface: "lsp-bob", Steps: []Step{
			step(flows.TableSwitchDeliver, 2, alice, bob, End{Kind: Output, Iface: "lsp-bob"})}},
	}
}

func TestAssembleOrder(t *testing.T) {
	t.Parallel()
	m := model(t, twoHosts)
	want := Assemble(toBob(), m)
	if !want.End.OK() || !want.Complete() || len(want.Hops) != 2 || want.Hops[0].Tunnel != "hv2" || want.Hops[1].To != "lsp-bob" {
		t.Fatalf("the path is %+v", want)
	}
	records := toBob()
	slices.Reverse(records)
	if diff := cmp.Diff(text(t, want), text(t, Assemble(records, m))); diff != "" {
		t.Errorf("the order in which records come makes a difference (-want +got):\n%s", diff)
	}
	for i := range toBob() {
		if p := Assemble(slices.Delete(toBob(), i, i+1), m); p.Complete() {
			t.Errorf("without record %d the path passes for complete:\n%s", i+1, text(t, p))
		}
	}
}

func text(t testing.TB, p Path) string {
	t.Helper()
	var b strings.Builder
	if err := p.WriteText(&b, TextOptions{Tables: true}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAssembleRedirected has an edge get the packet, and the agent a copy, which
// go on counting from the same number.
func TestAssembleRedirected(t *testing.T) {
	t.Parallel()
	m := model(t, twoHosts)
	tunnel := func(to string, from, port uint16) Step {
		return step(flows.TableTunnel, 2, from, port, End{Kind: Tunnel, Chassis: to})
	}
	records := []Record{
		{Chassis: "hv1", Sequence: 1, Steps: []Step{step(flows.TableSwitchARP, 2, alice, 0)}},
		{Chassis: "hv1", Sequence: 2, Steps: []Step{step(flows.TableSwitchLookup, 2, alice, 0), step(flows.TableRedirect, 2, alice, 0),
			step(flows.TableSwitchOutput, 2, alice, 0), tunnel("edge1", alice, 0), step(flows.TableWanted, 2, alice, 0, End{Kind: Wanted})}},
		{Chassis: "edge1", Sequence: 2, Steps: []Step{step(flows.TableArrival, 2, alice, 0)}},
		{Chassis: "edge1", Sequence: 3, Steps: []Step{step(flows.TableSwitchLookup, 2, alice, 0), step(flows.TableSwitchOutput, 2, alice, bob), tunnel("hv2", alice, bob)}},
		{Chassis: "hv2", Sequence: 4, Steps: []Step{step(flows.TableArrival, 2, alice, bob), step(flows.TableSwitchDeliver, 2, alice, bob, End{Kind: Output, Iface: "lsp-bob"})}},
	}
	p := Assemble(records, m)
	const want = `hv1    switch LS-B  port 266             switch-lookup
    redirected by way of edge1: there are no flows to its destination here, and the agent was asked for them
    Geneve to edge1 (192.168.1.12)
edge1  switch LS-B  port 266 -> lsp-bob  switch-lookup
    Geneve to hv2 (192.168.1.11)
hv2    switch LS-B  port 266 -> lsp-bob  switch-deliver
delivered to lsp-bob on hv2
`
	var b strings.Builder
	if err := p.WriteText(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !p.Complete() {
		t.Error("the path is complete")
	}
}

// notShown is said of a packet that the agent of hv1 has sent to no avail.
const notShown = "the agent of hv1 has sent the packet, and no table of its bridge has shown it: its flows are missing, or others' stand before them; " +
	`run "tuplenet doctor --only flows" on hv1`

// TestVerdicts has packets come to ends that no dry trace comes to.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	presence := topology.Presence{Chassis: "hv2"}
	lost := toBob()[:3]
	for _, c := range []struct {
		name    string
		records []Record
		more    []topology.Entity
		reason  Reason
		text    string
	}{
		{"nothing", nil, nil, LostOnTheWay, "no agent has seen the packet"},
		{"down", lost, []topology.Entity{topology.Absence{Chassis: "hv2", Since: 1}}, ChassisDown,
			"sent from hv1 to hv2 (192.168.1.11), which is down since 1970-01-01T00:00:01Z, and not seen there; it may have arrived, as Open vSwitch works on without an agent; start its agent, or its host"},
		{"stopped", lost, []topology.Entity{topology.Presence{Chassis: "hv2", Stopped: true}}, ChassisDown,
			"sent from hv1 to hv2 (192.168.1.11), whose agent has been stopped, and not seen there; it may have arrived, as Open vSwitch works on without an agent; start its agent"},
		{"unknown", lost, nil, LostOnTheWay, "sent from hv1 to hv2 (192.168.1.11) and not seen there; it is not known whether the agent there runs"},
		{"runs", lost, []topology.Entity{presence}, LostOnTheWay, "sent from hv1 to hv2 (192.168.1.11) and not seen there"},
		{"refused", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{{Ends: []End{{Kind: Refused, Why: "the flows are not in yet"}}}}}}, nil, AwaitsAgent,
			`not sent by the agent of hv1: the flows are not in yet; "tuplenet doctor" on hv1 tells more`},
		{"astray", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{
			{Table: flows.TableSwitchLookup, Datapath: 2, From: alice, Object: "switch port LS-B/lsp-bob", Astray: true},
			step(flows.TableDrop, 2, alice, 0, End{Kind: Drop})}}}, nil, FlowsDiffer,
			"dropped in switch LS-B on hv1: in table switch-lookup the packet took another flow than the agent made for switch port LS-B/lsp-bob; " +
				`run "tuplenet doctor --only flows" on hv1`},
		{"not shown", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{{Ends: []End{{Kind: Lost}}}}}}, nil, FlowsDiffer, notShown},
		{"not shown, says the agent", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{{Ends: []End{{Kind: Lost, Why: "has not seen it"}}}}}}, nil, LostOnTheWay,
			"the agent of hv1 has sent the packet, and has not seen it"},
		{"lost between tables", []Record{{Chassis: "hv1", Sequence: 1, Stage: SwitchEgressIn, Steps: []Step{step(flows.TableSwitchLoopback, 2, alice, bob)}},
			{Chassis: "hv1", Sequence: 2, Steps: []Step{step(flows.TableSwitchLoopback, 2, alice, bob, End{Kind: Lost, Next: flows.TableSwitchDeliver})}}}, nil, FlowsDiffer,
			"vanished in switch LS-B on hv1: after table switch-loopback the packet should have come to table switch-deliver and was not seen there: " +
				`flows of one of the two are not the agent's; run "tuplenet doctor --only flows" on hv1`},
		{"hook", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{
			{Table: flows.TableSwitchHook, Datapath: 2, From: alice, Astray: true, Ends: []End{{Kind: Lost}}}}}}, nil, ThirdParty,
			"vanished in switch LS-B on hv1: in table switch-hook, which is left to third parties, the packet took a flow of theirs"},
		{"held", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{
			{Table: flows.TableSwitchLookup, Datapath: 2, From: alice, Header: &Header{EthDst: topology.MAC{0xf2, 1, 0, 0, 0, 2}}}, step(flows.TableRedirect, 2, alice, 0), step(flows.TableDrop, 2, alice, 0, End{Kind: Drop}),
			step(flows.TableWanted, 2, alice, 0, End{Kind: Wanted})}}}, nil, AwaitsAgent,
			"held by the agent of hv1, which makes the flows to its destination; the next one should arrive"},
		{"arp", []Record{{Chassis: "hv1", Sequence: 1, Steps: []Step{
			{Table: flows.TableRouterRoute, Datapath: 3, From: fromLSA, Object: "static route LR-1/out"},
			step(flows.TableNeighbour, 2, fromLSB, 0, End{Kind: Waits, Why: "no_neighbour"})}}},
			[]topology.Entity{topology.StaticRoute{Router: "LR-1", Name: "out", Net: prefix("0.0.0.0/0"), NextHop: addr("10.20.2.254"), OutPort: "LR-1_to_LS-B"}}, AwaitsARP,
			"held by the agent of hv1, as nobody in the physical network behind switch LS-B has answered ARP for 10.20.2.254 yet; see whether 10.20.2.254 is up"},
		{"original", []Record{
			{Chassis: "hv1", Sequence: 1, Original: true, Stage: SwitchIngressIn, Datapath: 2, From: alice},
			{Chassis: "hv1", Sequence: 2, Original: true, Stage: DropPacket, Datapath: 2, From: alice}}, nil, NotTold,
			"dropped in switch LS-B on hv1, whose agent, of the original TupleNet, does not say why"},
		{"original sent", []Record{
			{Chassis: "hv1", Sequence: 1, Original: true, Stage: OutputPacket, Datapath: 2, From: alice, To: bob, Iface: "hv2"}}, nil, LostOnTheWay,
			"sent from hv1 to hv2 (192.168.1.11) and not seen there; it is not known whether the agent there runs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := Assemble(c.records, model(t, twoHosts, c.more...))
			if p.End.OK() || p.End.Reason != c.reason || p.End.String() != c.text {
				t.Errorf("%s: %s\nwant %s: %s", p.End.Reason, p.End, c.reason, c.text)
			}
			if len(p.Warnings) > 0 {
				t.Errorf("told twice: %v", p.Warnings)
			}
			for _, h := range p.Hops {
				if h.Device == "" {
					t.Errorf("a hop that is none: %+v", h)
				}
			}
		})
	}
}

// TestWarnings tells once of flows that are not the agent's and did no harm.
func TestWarnings(t *testing.T) {
	t.Parallel()
	records := toBob()
	for _, r := range []int{0, 1} {
		records[r].Steps[0].Table, records[r].Steps[0].Astray = flows.TableSwitchLookup, true
	}
	p := Assemble(records, model(t, twoHosts))
	want := []string{`hv1: in table switch-lookup the packet took another flow than the agent made there; run "tuplenet doctor --only flows" on hv1`}
	if !p.End.OK() || !slices.Equal(p.Warnings, want) {
		t.Errorf("%s, warnings %q, want %q", p.End, p.Warnings, want)
	}
}

// TestHeard asks the agent how it is that has not told of a packet.
func TestHeard(t *testing.T) {
	t.Parallel()
	m := model(t, twoHosts, topology.Presence{Chassis: "hv1"}, topology.Presence{Chassis: "hv2"})
	behind, silent := Assemble(toBob()[:3], m).End, Silent(m, "lsp-alice", 2*time.Second)
	const sent = "sent from hv1 to hv2 (192.168.1.11) and not seen there"
	for _, c := range []struct {
		before    Verdict
		silent    string
		condition Condition
		outcome   Outcome
		reason    Reason
		text      string
	}{
		{behind, "hv2", Condition{}, Vanished, LostOnTheWay,
			sent + `: the agent of hv2 does not answer, so nobody can tell what became of it there; it may have arrived; "tuplenet doctor" on hv2 tells more`},
		{behind, "hv2", Condition{Answers: true}, Vanished, NotThere,
			sent + `: the bridge of hv2 does not hold the flows that it should, as its agent says; see whether ovs-vswitchd runs there: "tuplenet doctor" on hv2 tells more`},
		{behind, "hv2", Condition{Answers: true, InSync: true, Amiss: true}, Vanished, FlowsDiffer,
			sent + ": the bridge of hv2 did not hold the flows of its agent, which makes them right now; trace it again"},
		{behind, "hv2", Condition{Answers: true, InSync: true}, Vanished, LostOnTheWay,
			sent + ", though the agent there answers and its bridge holds all flows: the network between them loses it; " +
				`"tuplenet doctor" on hv1 and on hv2 tells more`},
		{silent, "hv1", Condition{}, Unsent, AwaitsAgent, `the agent of hv1 has not answered within 2s; "tuplenet doctor" on hv1 tells more`},
		{silent, "hv1", Condition{Answers: true, InSync: true}, Vanished, FlowsDiffer, notShown},
	} {
		v := c.before
		if v.Silent != c.silent {
			t.Errorf("asked is the agent of %q, want %s", v.Silent, c.silent)
		}
		v.Heard(c.condition)
		if v.OK() || v.Outcome != c.outcome || v.Reason != c.reason || v.String() != c.text {
			t.Errorf("%+v: %s, %s: %s\nwant %s, %s: %s", c.condition, v.Outcome, v.Reason, v, c.outcome, c.reason, c.text)
		}
	}
	if v := Assemble(toBob()[:3], model(t, twoHosts)).End; v.Silent != "" {
		t.Errorf("an agent is asked of which nothing was ever heard: %+v", v)
	}
}

// TestWidth cuts names so that lines have room.
func TestWidth(t *testing.T) {
	t.Parallel()
	p := Assemble(toBob(), model(t, twoHosts))
	p.Hops[1].To, p.Hops[1].Object = "lsp-of-the-workload-of-bob", "switch port LS-B/lsp-of-the-workload-of-bob"
	p.Hops[1].Visits[0].Object = p.Hops[1].Object
	cut := func(name string, columns int) string { return name[:min(len(name), columns)] }
	for _, tables := range []bool{false, true} {
		var wide, narrow strings.Builder
		for w, width := range map[*strings.Builder]int{&wide: 0, &narrow: 70} {
			if err := p.WriteText(w, TextOptions{Tables: tables, Width: width, Cut: cut}); err != nil {
				t.Fatal(err)
			}
		}
		long := func(s string) bool {
			return slices.ContainsFunc(strings.Split(s, "\n"), func(line string) bool { return len(line) > 70 })
		}
		if !long(wide.String()) || long(narrow.String()) || !strings.Contains(narrow.String(), " -> lsp-of-the") {
			t.Errorf("tables %v: it is\n%s\nwant no line over 70 columns of\n%s", tables, narrow.String(), wide.String())
		}
	}
}

// TestMixed joins what agents of both kinds tell.
func TestMixed(t *testing.T) {
	t.Parallel()
	m := model(t, twoHosts)
	records := append(toBob()[:3],
		Record{Chassis: "hv2", Sequence: 4, Original: true, Stage: SwitchEgressIn, Datapath: 2, From: alice, To: bob},
		Record{Chassis: "hv2", Sequence: 5, Original: true, Stage: OutputPacket, Datapath: 2, From: alice, To: bob, Iface: "lsp-bob"})
	p := Assemble(records, m)
	if !p.End.OK() || len(p.Hops) != 2 || !p.Hops[1].Original || p.Hops[1].To != "lsp-bob" {
		t.Errorf("the path is\n%s", text(t, p))
	}
	if p.Complete() {
		t.Error("of the records of an original agent nobody knows whether they are all")
	}
}

func TestSpoil(t *testing.T) {
	t.Parallel()
	p := Assemble(toBob(), model(t, twoHosts))
	p.Spoil("bad ICMP checksum")
	if p.End.OK() || p.End.Reason != BadChecksum || p.End.Text != "delivered to lsp-bob on hv2, where it is dropped: bad ICMP checksum" {
		t.Errorf("%+v", p.End)
	}
}

// TestWriteOriginal prints the lines that the original's tool prints.
func TestWriteOriginal(t *testing.T) {
	t.Parallel()
	m := model(t, twoHosts)
	records := []Record{
		{Chassis: "hv1", Sequence: 1, Stage: SwitchIngressIn, Datapath: 1, From: alice, To: 77},
		{Chassis: "hv1", Sequence: 2, Stage: RouterIngressIn, Datapath: 3, From: fromLSA, To: fromLSA},
		{Chassis: "hv1", Sequence: 3, Stage: RouterEgressIn, Datapath: 3, From: fromLSA, To: fromLSB},
		{Chassis: "hv1", Sequence: 4, Stage: RouterEgressOut, Datapath: 2, From: fromLSB, To: fromLSB},
		{Chassis: "hv1", Sequence: 5, Stage: OutputPacket, Datapath: 2, From: fromLSB, To: bob,
			Steps: []Step{step(flows.TableTunnel, 2, fromLSB, bob, End{Kind: Tunnel, Chassis: "hv2"})}},
		{Chassis: "hv2", Sequence: 6, Original: true, Stage: OutputPacket, Datapath: 2, From: fromLSB, To: bob, Iface: "lsp-bob"},
		{Chassis: "hv2", Sequence: 7, Stage: DropPacket, Datapath: 99},
	}
	var b strings.Builder
	if err := WriteOriginal(&b, records, m); err != nil {
		t.Fatal(err)
	}
	const want = `type:LS,pipeline:LS-A,from:lsp-alice,to:<UNKNOW>,stage:TABLE_LSP_TRACE_INGRESS_IN,chassis:hv1,output_iface_id:<UNK_PORT>
type:LR,pipeline:LR-1,from:LR-1_to_LS-A,to:<UNKNOW>,stage:TABLE_LRP_TRACE_INGRESS_IN,chassis:hv1,output_iface_id:<UNK_PORT>
type:LR,pipeline:LR-1,from:LR-1_to_LS-A,to:LR-1_to_LS-B,stage:TABLE_LRP_TRACE_EGRESS_IN,chassis:hv1,output_iface_id:<UNK_PORT>
type:LR,pipeline:LR-1,from:LR-1_to_LS-B,to:LR-1_to_LS-B,stage:TABLE_LRP_TRACE_EGRESS_OUT,chassis:hv1,output_iface_id:<UNK_PORT>
type:LS,pipeline:LS-B,from:LS-B_to_LR-1,to:lsp-bob,stage:TABLE_OUTPUT_PKT,chassis:hv1,output_iface_id:hv2
type:LS,pipeline:LS-B,from:LS-B_to_LR-1,to:lsp-bob,stage:TABLE_OUTPUT_PKT,chassis:hv2,output_iface_id:lsp-bob
<ERROR>
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.Reset()
	if err := WriteOriginal(&b, nil, m); err != nil || b.String() != "error no traces\n" {
		t.Errorf("without records it prints %q, %v", b.String(), err)
	}
}

func TestWriteGraph(t *testing.T) {
	t.Parallel()
	p := Assemble(toBob(), model(t, twoHosts))
	var b strings.Builder
	if err := p.WriteGraph(&b, "lsp-alice", false); err != nil {
		t.Fatal(err)
	}
	const want = `lsp-alice
  │
┌─▼─ hv1 ─────┐
│ switch LS-B │
└─┬───────────┘
  │ Geneve to hv2 (192.168.1.11)
  │
┌─▼─ hv2 ─────┐
│ switch LS-B │
└─┬───────────┘
  ▼
delivered to lsp-bob on hv2
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.Reset()
	if err := p.WriteGraph(&b, "lsp-alice", true); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(b.String(), func(r rune) bool { return r > '~' }); i >= 0 {
		t.Errorf("character %d is no ASCII:\n%s", i, b.String())
	}
	b.Reset()
	if err := p.WriteDot(&b, "lsp-alice"); err != nil || !strings.Contains(b.String(), `hop0 -> hop1 [label="Geneve to hv2 (192.168.1.11)"];`) {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// Ids of Docker are shown as Docker shows them, but in commands, and but for tools.
func TestDockerIDs(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("4f7eaf3175f10e2d", 4)
	m := model(t, strings.NewReplacer("LS-B", id, "lsp-bob", id).Replace(twoHosts))
	records := toBob()
	records[len(records)-1].Steps[0].Ends[0].Iface = id
	records[1].Steps[0].Object = "switch port " + id + "/" + id
	p := Assemble(records, m)
	p.Warnings = []string{"a warning about " + id}
	p.End.Remedy = "tpctl lsp del " + id + " " + id
	shown := map[string]func(io.Writer) error{
		"text":   func(w io.Writer) error { return p.WriteText(w, TextOptions{}) },
		"tables": func(w io.Writer) error { return p.WriteText(w, TextOptions{Tables: true}) },
		"graph":  func(w io.Writer) error { return p.WriteGraph(w, id, true) },
		"dot":    func(w io.Writer) error { return p.WriteDot(w, id) },
	}
	for name, write := range shown {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(b.String(), p.End.Remedy, "")
		if strings.Contains(got, id[:13]) || !strings.Contains(got, "delivered to 4f7eaf3175f1 on hv2") || got == b.String() {
			t.Errorf("%s:\n%s", name, b.String())
		}
	}
	if last := p.Hops[len(p.Hops)-1]; last.To != id || p.End.Port != id || p.Warnings[0] != "a warning about "+id {
		t.Errorf("the path itself has changed: %+v", p)
	}
	d := Difference{Chassis: "hv1", Want: "gone to " + id, Got: "stayed"}
	if got := d.String(); got != "on hv1: the packet should have gone to 4f7eaf3175f1, and has stayed" {
		t.Error(got)
	}
}

// TestLoop draws a circle once; testdata/path/loops.txtar prints it.
func TestLoop(t *testing.T) {
	t.Parallel()
	n := NewNetwork(basedOn(t, "two-edges", ""), nil)
	p := Assemble(tracePacket(t, n, []string{"lsp-alice", "icmp", "10.20.7.1"})[0], n.model)
	if p.End.OK() || p.End.Reason != Loops || p.Loop == nil || *p.Loop != (Loop{From: 3, Rounds: 31}) || len(p.Hops) != 7 {
		t.Errorf("%s: %s; the loop is %+v, and there are %d hops", p.End.Reason, p.End, p.Loop, len(p.Hops))
	}
	var graph, dot strings.Builder
	if err := p.WriteGraph(&graph, "lsp-alice", false); err != nil || strings.Count(graph.String(), "router LR-edge1") != 1 ||
		!strings.Contains(graph.String(), "  │ goes round 31 times, from switch m1 on edge1-node\n  ✗\n") {
		t.Errorf("%v\n%s", err, graph.String())
	}
	if err := p.WriteDot(&dot, "lsp-alice"); err != nil || !strings.Contains(dot.String(), `hop6 -> hop3 [label="31 times"];`) {
		t.Errorf("%v\n%s", err, dot.String())
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		more []topology.Entity
		text string
	}{
		{nil, "the agent of hv1 has not answered within 2s, and it is not known whether it runs; start it there, or see how the path ought to be with --dry"},
		{[]topology.Entity{topology.Presence{Chassis: "hv1"}}, `the agent of hv1 has not answered within 2s; "tuplenet doctor" on hv1 tells more`},
	} {
		if v := Silent(model(t, twoHosts, c.more...), "lsp-alice", 2*time.Second); v.OK() || v.String() != c.text {
			t.Errorf("%s\nwant %s", v, c.text)
		}
	}
}
