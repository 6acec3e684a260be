package trace

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/flows"
)

// at is a flow of a table that leads on to others.
func at(table flows.Table, actions ...flows.Action) *flows.Flow {
	return &flows.Flow{Table: table, Actions: actions}
}

// walk adds steps of a packet in a switch to a trail.
func walk(t *Trail, path ...*flows.Flow) (records []Record) {
	var s flows.State
	s.Set(flows.BitsDatapath, 7)
	s.Set(flows.All(flows.TunSrc), 0xc0a80102)
	for _, f := range path {
		step := Step{Table: f.Table}
		for _, a := range f.Actions {
			if _, out := a.(flows.Output); out {
				step.Ends = []End{{Kind: Output, Iface: "lsp-bob"}}
			}
		}
		if len(f.Actions) == 0 {
			step.Ends = []End{{Kind: Drop}}
		}
		records = append(records, t.Add(step, Header{TTL: 64}, &s, f, 0)...)
	}
	return records
}

// told lists the stages of records, and behind each the tables of its steps.
func told(records []Record) (out []any) {
	for _, r := range records {
		out = append(out, r.Stage)
		for _, s := range r.Steps {
			out = append(out, s.Table)
			if s.Astray {
				out = append(out, "astray")
			}
			for _, e := range s.Ends {
				out = append(out, e.Kind)
				if e.Next != 0 {
					out = append(out, e.Next)
				}
			}
		}
	}
	return out
}

func TestTrail(t *testing.T) {
	t.Parallel()
	const hook, lookup, loopback, deliver = flows.TableSwitchHook, flows.TableSwitchLookup, flows.TableSwitchLoopback, flows.TableSwitchDeliver
	within := []*flows.Flow{at(hook, flows.Goto{Table: lookup}), at(lookup, flows.Goto{Table: loopback}), at(loopback, flows.Goto{Table: deliver})}
	for name, test := range map[string]struct {
		path []*flows.Flow
		want []any
	}{
		"delivered": {
			append(within[:3:3], at(deliver, flows.Output{Port: 1})),
			[]any{SwitchIngressIn, SwitchIngressOut, hook, lookup, SwitchEgressIn, SwitchEgressOut, loopback, OutputPacket, deliver, Output},
		},
		"dropped": {
			[]*flows.Flow{within[0], at(lookup, flows.Goto{Table: flows.TableDrop}), at(flows.TableDrop)},
			[]any{SwitchIngressIn, DropPacket, hook, lookup, flows.TableDrop, Drop},
		},
		"by another flow than the agent's": {
			[]*flows.Flow{within[0], within[1], at(flows.TableDrop)},
			[]any{SwitchIngressIn, DropPacket, hook, lookup, "astray", flows.TableDrop, Drop},
		},
		"by one that does more with it": {
			[]*flows.Flow{within[0], within[1], at(flows.TableRedirect, flows.Goto{Table: flows.TableDrop}), at(flows.TableDrop), at(flows.TableWanted)},
			[]any{SwitchIngressIn, DropPacket, hook, lookup, "astray", flows.TableRedirect, flows.TableDrop, Drop, DropPacket, flows.TableWanted, Drop},
		},
		"by another flow when it had arrived": {
			append(within[:3:3], at(deliver, flows.Output{Port: 1}), at(flows.TableDrop)),
			[]any{SwitchIngressIn, SwitchIngressOut, hook, lookup, SwitchEgressIn, SwitchEgressOut, loopback, OutputPacket, deliver, Output,
				DropPacket, deliver, "astray", Output, flows.TableDrop, Drop},
		},
		"dropped elsewhere": { // which the original's tools are told, too
			[]*flows.Flow{within[0], within[1], at(loopback)},
			[]any{SwitchIngressIn, SwitchIngressOut, hook, lookup, SwitchEgressIn, DropPacket, loopback, Drop},
		},
		"gone": {
			within[:1],
			[]any{SwitchIngressIn, Stage(0), hook, "astray", Lost, lookup},
		},
		"back again": { // a packet that an edge has sent back
			append(within[:3:3], at(deliver, flows.Output{Port: 1}), at(flows.TableArrival, flows.Goto{Table: loopback}), within[2]),
			[]any{SwitchIngressIn, SwitchIngressOut, hook, lookup, SwitchEgressIn, SwitchEgressOut, loopback, OutputPacket, deliver, Output,
				SwitchEgressIn, flows.TableArrival, Stage(0), loopback, Lost, deliver},
		},
	} {
		t.Run(name, func(t *testing.T) {
			trail := NewTrail("hv1")
			records := walk(trail, test.path...)
			records = append(records, trail.Flush()...)
			if diff := cmp.Diff(test.want, told(records)); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			for i, r := range records {
				if r.Sequence != i+1 || r.Chassis != "hv1" {
					t.Errorf("record %d is %d of %s", i+1, r.Sequence, r.Chassis)
				}
			}
			if again := trail.Flush(); len(again) > 0 {
				t.Errorf("told twice: %v", told(again))
			}
		})
	}
}

// Both copies of a packet are followed, that for an edge and that for the agent,
// and then the packet goes on from where the agent sends it.
func TestTrailOfAWantedPacket(t *testing.T) {
	t.Parallel()
	trail := NewTrail("hv1")
	records := walk(trail,
		at(flows.TableSwitchLookup, flows.Resubmit{Table: flows.TableRedirect}, flows.Goto{Table: flows.TableWanted}),
		at(flows.TableRedirect, flows.Goto{Table: flows.TableDrop}), at(flows.TableDrop),
		at(flows.TableWanted, flows.Punt{Why: flows.Wanted}),
		at(flows.TableSwitchLookup, flows.Goto{Table: flows.TableSwitchLoopback}))
	for _, r := range records {
		for _, s := range r.Steps {
			if s.Astray {
				t.Errorf("astray in %s", s.Table)
			}
		}
	}
}

// Of a packet that goes round in circles is told for a while, and then that it
// does.
func TestTrailEnds(t *testing.T) {
	t.Parallel()
	trail := NewTrail("hv1")
	circle := at(flows.TableSwitchHook, flows.Resubmit{Table: flows.TableSwitchHook}, flows.Goto{Table: flows.TableDrop})
	var records []Record
	for n := 0; !trail.Endless(); n++ {
		if n > maxSteps {
			t.Fatalf("followed over %d tables", n)
		}
		records = walk(trail, circle)
	}
	if diff := cmp.Diff([]any{DropPacket, circle.Table, Lost}, told(records)[2:]); diff != "" {
		t.Errorf("told last (-want +got):\n%s", diff)
	}
	if more := trail.Flush(); len(more) > 0 {
		t.Errorf("told after the end: %v", told(more))
	}
}

// A packet that is not seen again for another reason has not gone astray.
func TestTrailExcused(t *testing.T) {
	t.Parallel()
	trail := NewTrail("hv1")
	walk(trail, at(flows.TableSwitchHook, flows.Goto{Table: flows.TableSwitchLookup}))
	trail.Excuse()
	if diff := cmp.Diff([]any{Stage(0), flows.TableSwitchHook}, told(trail.Flush())); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	r := Record{Chassis: "hv1", Sequence: 3, Stage: SwitchEgressOut, Datapath: 5, From: 266, To: 65535,
		TunnelSrc: netip.MustParseAddr("192.168.1.2"), Iface: "lsp-bob",
		Steps: []Step{
			{Table: 204, Datapath: 5, From: 1, Priority: 100, Rule: "switch-port", Object: "switch port LS,A/lsp=b",
				Header: &Header{IPSrc: netip.MustParseAddr("10.0.0.1"), IPDst: netip.MustParseAddr("10.0.0.2"), TTL: 64, Proto: 1}},
			{Table: 210, Astray: true, Ends: []End{{Kind: Output, Iface: "lsp-bob"}}},
		}}
	same := cmpopts.EquateComparable(netip.Addr{})
	got, err := ParseRecord("hv1", 3, r.Properties())
	if diff := cmp.Diff(r, got, same); diff != "" || err != nil {
		t.Errorf("read back (-want +got):\n%s%v", diff, err)
	}
	// As an agent of the original writes it.
	original := map[string]string{"cmd_type": "pkt_trace", "table_id": "1", "datapath_id": "5", "src_port_id": "266", "dst_port_id": "0",
		"tun_src": "0", "output_iface_id": "<UNK_PORT>"}
	got, err = ParseRecord("hv0", 1, original)
	if diff := cmp.Diff(Record{Chassis: "hv0", Sequence: 1, Original: true, Stage: SwitchIngressIn, Datapath: 5, From: 266}, got, same); diff != "" || err != nil {
		t.Errorf("the original's (-want +got):\n%s%v", diff, err)
	}
	for name, value := range map[string]string{"cmd_type": "other", "table_id": "x", "src_port_id": "70000", "hop": "%", "datapath_id": ""} {
		bad := map[string]string{}
		for k, v := range original {
			bad[k] = v
		}
		bad[name] = value
		if _, err := ParseRecord("hv0", 1, bad); err == nil {
			t.Errorf("%s=%s was read", name, value)
		}
	}
}

// TestReadMalformed holds that flows see nothing of what Open vSwitch does not
// read.
func TestReadMalformed(t *testing.T) {
	t.Parallel()
	ip := func(header string) string { return "f20100000001f201000000020800" + header }
	for name, test := range map[string]struct {
		frame string
		ok    bool
		want  map[flows.Field]uint64
	}{
		"whole": {ip("4500001c0000000040010000 0a000001 0a000002 0800000000000000"), true,
			map[flows.Field]uint64{flows.IPDst: 0x0a000002, flows.IPTTL: 64, flows.ICMPType: 8}},
		"padded": {ip("4500001c0000000040010000 0a000001 0a000002 0800000000000000 0000"), true,
			map[flows.Field]uint64{flows.IPDst: 0x0a000002, flows.ICMPType: 8}},
		"less than it says": {ip("4500001d0000000040010000 0a000001 0a000002 0800000000000000"), false, map[flows.Field]uint64{flows.IPDst: 0, flows.IPTTL: 0}},
		"says nothing":      {ip("450000000000000040010000 0a000001 0a000002 0800000000000000"), false, map[flows.Field]uint64{flows.IPDst: 0}},
		"half an ICMP header": {ip("450000180000000040010000 0a000001 0a000002 08000000"), true,
			map[flows.Field]uint64{flows.IPDst: 0x0a000002, flows.ICMPType: 0}},
		"with a VLAN tag": {"f20100000001f20100000002 8100 6007 0800 4500001c0000000040010000 0a000001 0a000002 0800000000000000", true,
			map[flows.Field]uint64{flows.VLAN: 0x1007, flows.EthType: 0x0800, flows.IPDst: 0x0a000002}},
		"with two": {"f20100000001f20100000002 88a8 0007 8100 0008 0800 4500001c0000000040010000 0a000001 0a000002 0800000000000000", true,
			map[flows.Field]uint64{flows.VLAN: 0x1007, flows.EthType: 0x8100, flows.IPDst: 0}},
		"ARP of another network": {"f20100000001f201000000020806 0006 0800 06 04 0001 f20100000002 0a000001 000000000000 0a000002", false,
			map[flows.Field]uint64{flows.ARPOp: 0, flows.ARPTpa: 0}},
	} {
		frame, err := hex.DecodeString(strings.ReplaceAll(test.frame, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := Read(frame)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		for f, want := range test.want {
			if got := s.Get(flows.All(f)); got != want {
				t.Errorf("%s: %s is %#x, want %#x", name, f, got, want)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{0xf2, 1, 0, 0, 0, 1, 0xf2, 1, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0})
	f.Add([]byte{0xf2, 1, 0, 0, 0, 1, 0xf2, 1, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 1, 2, 3, 4, 5, 6, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2})
	f.Fuzz(func(t *testing.T, frame []byte) {
		s, h, err := Read(frame)
		if err == nil && s.Get(flows.All(flows.EthDst)) != h.EthDst.Uint64() {
			t.Errorf("the destination is %x for flows and %s for people", s.Get(flows.All(flows.EthDst)), h.EthDst)
		}
	})
}
