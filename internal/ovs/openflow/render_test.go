package openflow

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// option is the TLV that tun_metadata0 needs.
var option = TLV{Class: 0xffee, Type: 0, Length: 8, Index: 0}

// presupposes returns the matches without which a field cannot be used.
func presupposes(f flows.Field) []flows.Match {
	switch f {
	case flows.IPProto, flows.IPTTL, flows.IPSrc, flows.IPDst, flows.CTState:
		return []flows.Match{flows.Exact(flows.EthType, 0x0800)}
	case flows.ICMPType, flows.ICMPCode:
		return []flows.Match{flows.Exact(flows.EthType, 0x0800), flows.Exact(flows.IPProto, 1)}
	case flows.ARPOp, flows.ARPSpa, flows.ARPTpa, flows.ARPSha, flows.ARPTha:
		return []flows.Match{flows.Exact(flows.EthType, 0x0806)}
	}
	return nil
}

// allFields returns every field that package flows knows.
func allFields() []flows.Field {
	var fs []flows.Field
	for f := flows.Field(1); !strings.HasPrefix(f.String(), "field("); f++ {
		fs = append(fs, f)
	}
	return fs
}

// sampleFlows covers every field and every action. Their priorities differ, so
// that no two are the same flow.
func sampleFlows() []*flows.Flow {
	var fs []*flows.Flow
	add := func(match []flows.Match, actions ...flows.Action) {
		fs = append(fs, &flows.Flow{
			Table: 7, Priority: uint16(len(fs) + 1), Match: match, Actions: actions,
		})
	}
	unmaskable := []flows.Field{flows.InPort, flows.EthType, flows.IPProto, flows.IPTTL, flows.ICMPType, flows.ICMPCode, flows.ARPOp}
	readOnly := []flows.Field{flows.EthType, flows.IPProto, flows.VLAN} // of these PushVLAN writes the last
	// Of ct_state only some bits exist, and none can be written.
	tracked := presupposes(flows.CTState)
	add(append(tracked, flows.Masked(flows.CTState, 0x2b, 0x3f)))
	add(append(tracked, flows.Masked(flows.CTState, 0, 0x18)))
	for _, f := range allFields() {
		if f == flows.CTState {
			continue
		}
		w := f.Width()
		value := uint64(0x0123456789abcdef) >> (64 - w)
		switch f {
		case flows.InPort:
			value = 0x1234
		case flows.ARPOp:
			value = 2 // Open vSwitch knows those up to 255
		case flows.VLAN:
			value = flows.VLANPresent | 0x123
		}
		before := presupposes(f)
		add(append(before, flows.Exact(f, value)))
		add(append(before, flows.Exact(f, 0)))
		if !slices.Contains(unmaskable, f) {
			high := ^uint64(0) << (w - w/4) & (1<<(w-1)<<1 - 1)
			add(append(before, flows.Masked(f, value, high)))
			add(append(before, flows.Masked(f, value, 0x5)))
		}
		if slices.Contains(readOnly, f) {
			continue
		}
		add(before, flows.Load{Dst: flows.All(f), Value: value})
		add(before, flows.Load{Dst: flows.Bits{Field: f, Ofs: 3, N: 1}, Value: 1})
		add(before, flows.Load{Dst: flows.Bits{Field: f, Ofs: 2, N: 5}, Value: 0x15})
		if w <= 32 {
			add(before, flows.Move{Src: flows.Bits{Field: flows.Reg0, Ofs: 0, N: w}, Dst: flows.All(f)})
		}
		add(before, flows.Move{Src: flows.Bits{Field: f, Ofs: 1, N: 7}, Dst: flows.Bits{Field: flows.Reg7, Ofs: 13, N: 7}})
		if f != flows.InPort {
			add(before, flows.OutputField{Src: flows.Bits{Field: f, Ofs: 0, N: min(w, 16)}})
		}
	}
	ip := presupposes(flows.IPDst)
	add(nil)
	add(nil, flows.Goto{Table: 8})
	add(nil, flows.Resubmit{Table: 3})
	add(nil, flows.OutputInPort{})
	add(nil, flows.Output{Port: 1}, flows.Output{Port: portLocal})
	add(nil, flows.OutputField{Src: flows.All(flows.Reg6)})
	add([]flows.Match{flows.Exact(flows.InPort, portLocal)})
	add([]flows.Match{flows.Masked(flows.EthDst, 0x010000000000, 0x010000000000)}, flows.Output{Port: 1})
	for h := range flows.Hash(len(flows.Hashes)) {
		add(nil, flows.Choose{Fields: h, Ports: []uint32{1, 65279, 2}, Dst: flows.All(flows.RegTunnel)})
		add(nil, flows.Spread{Fields: h, N: 3, Dst: flows.BitsMember})
	}
	add(nil, flows.Choose{Ports: []uint32{3, 4, 5, 6}, Dst: flows.All(flows.RegTunnel)}, flows.OutputField{Src: flows.All(flows.RegTunnel)})
	add(nil, flows.Choose{Dst: flows.Bits{Field: flows.Reg0, Ofs: 8, N: 16}})
	add(nil, flows.Spread{N: 1, Dst: flows.BitsMember}, flows.Goto{Table: 9})
	add(nil, flows.Spread{N: 128, Dst: flows.BitsMember})
	add(nil, flows.CheckLarger{Size: 1514, Dst: flows.BitsTooLarge}, flows.Resubmit{Table: 9})
	add(nil, flows.CheckLarger{Size: 65535, Dst: flows.Bits{Field: flows.XReg2, Ofs: 63, N: 1}})
	add(nil, flows.LimitTo{Meter: flows.MeterErrors})
	add(nil, flows.LimitTo{Meter: flows.MeterErrors}, flows.Goto{Table: 9})
	for why := flows.NoNeighbour; why <= flows.QuotedAddress; why++ {
		add(nil, flows.LimitTo{Meter: flows.MeterErrors}, flows.Punt{Why: why}, flows.Output{Port: 1}, flows.Goto{Table: 9})
	}
	add(nil, flows.Punt{Why: 255})
	add(nil, flows.LimitTo{Meter: flows.MeterTraced}, flows.Hold{Why: flows.Traced, Table: 9}, flows.Resubmit{Table: 7})
	external := netip.MustParseAddr("192.0.2.1")
	add(ip, flows.Track{Zone: 1, Table: 9})
	add(ip, flows.DecTTL{}, flows.Track{Zone: 65535, Commit: true, Table: 254})
	add(ip, flows.Track{Zone: 5, Commit: true, Table: 9, NAT: flows.Translation{
		Type: topology.SNAT, Addr: external, MinPort: 1024, MaxPort: 65535}})
	add(ip, flows.Track{Zone: 5, Commit: true, Table: 9, NAT: flows.Translation{Type: topology.SNAT, Addr: external}})
	add(ip, flows.Track{Zone: 5, Commit: true, Table: 9, NAT: flows.Translation{Type: topology.DNAT, Addr: external}})
	add(ip, flows.DecTTL{}, flows.Load{Dst: flows.All(flows.InPort)}, flows.Resubmit{Table: 9}, flows.Goto{Table: 10})
	add([]flows.Match{flows.Exact(flows.VLAN, flows.VLANPresent|7)}, flows.PopVLAN{}, flows.Goto{Table: 9})
	add([]flows.Match{flows.Masked(flows.VLAN, 0, flows.VLANPresent)}, flows.PushVLAN{ID: 1}, flows.Output{Port: 3})
	add([]flows.Match{flows.Masked(flows.VLAN, flows.VLANPresent, flows.VLANPresent)}, flows.PushVLAN{ID: topology.MaxTag})
	add([]flows.Match{flows.Exact(flows.InPort, 3), flows.Exact(flows.EthType, 0x8100)})
	add([]flows.Match{flows.Exact(flows.InPort, 3), flows.Exact(flows.EthType, 0x88a8)})
	return fs
}

// TestRenderings sends every sample to one bridge as bytes and to another as
// text; Open vSwitch must then print the same flows for both.
func TestRenderings(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	conns := bridges(t, o, "bytes", "text")
	for _, c := range conns {
		if err := errors.Join(c.EnsureTLV(t.Context(), option), c.EnsureMeters(t.Context(), flows.Meters)); err != nil {
			t.Fatal(err)
		}
	}
	samples := sampleFlows()
	var mods []Mod
	var texts strings.Builder
	for i, f := range samples {
		cookie := 0x7e70_0000_0000_0000 | uint64(i)
		mods = append(mods, Mod{Add, f, cookie})
		text, err := Text(f, cookie)
		if err != nil {
			t.Fatalf("text of %+v: %v", f, err)
		}
		texts.WriteString(text + "\n")
	}
	if err := conns[0].Commit(t.Context(), mods); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.RunDir(), "flows.txt")
	if err := os.WriteFile(file, []byte(texts.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Ofctl("add-flows", "text", file)
	fromBytes, fromText := dumpText(o, "bytes"), dumpText(o, "text")
	if diff := cmp.Diff(fromBytes, fromText); diff != "" {
		t.Errorf("flows differ, sent as bytes (-) and as text (+):\n%s", diff)
	}
	if want := len(samples) + 1; len(fromBytes) != want { // and Open vSwitch's own
		t.Errorf("the bridge has %d flows, want %d", len(fromBytes), want)
	}
}

// dumpText returns the flows of a bridge as ovs-ofctl prints them, sorted.
func dumpText(o *ovstest.OVS, bridge string) []string {
	lines := strings.Split(o.Ofctl("dump-flows", "--no-stats", "--no-names", bridge), "\n")
	slices.Sort(lines)
	return lines
}

func TestText(t *testing.T) {
	tests := []struct {
		flow flows.Flow
		want string
	}{
		{
			flows.Flow{Table: 7, Priority: 100},
			"priority=100,table=7,idle_timeout=0,cookie=0x000000000000002a,actions=drop",
		},
		{
			flows.Flow{Table: 0, Priority: 1, Match: []flows.Match{
				flows.Exact(flows.InPort, 3), flows.Masked(flows.Reg4, 1, 1), flows.Masked(flows.TunID, 9, 0xffffff),
				flows.Exact(flows.EthDst, 0xf2010a000001), flows.Masked(flows.EthSrc, 0, 1<<40),
				flows.Exact(flows.EthType, 0x0800), flows.Exact(flows.IPProto, 1),
				flows.Masked(flows.IPSrc, 0x0a010200, 0xffffff00), flows.Exact(flows.IPDst, 0x0a010203), flows.Exact(flows.ICMPType, 8),
			}, Actions: []flows.Action{flows.OutputInPort{}}},
			"priority=1,in_port=3,reg4=0x1/0x1,tun_id=0x9/0xffffff,eth_dst=f2:01:0a:00:00:01,eth_src=00:00:00:00:00:00/01:00:00:00:00:00," +
				"eth_type=0x800,nw_proto=1,ip_src=10.1.2.0/24,ip_dst=10.1.2.3,icmp_type=8,table=0,idle_timeout=0,cookie=0x000000000000002a,actions=in_port",
		},
		{
			flows.Flow{Table: 1, Priority: 3, Actions: []flows.Action{
				flows.LimitTo{Meter: flows.MeterErrors}, flows.Punt{Why: flows.NoNeighbour},
				flows.CheckLarger{Size: 1514, Dst: flows.BitsTooLarge},
				flows.Spread{Fields: flows.HashIPSrc, N: 5, Dst: flows.BitsMember},
				flows.Choose{Fields: flows.HashIPDst, Ports: []uint32{1, 2}, Dst: flows.All(flows.RegTunnel)},
				flows.Track{Zone: 7, Commit: true, Table: 3, NAT: flows.Translation{
					Type: topology.SNAT, Addr: netip.MustParseAddr("192.0.2.1"), MinPort: 1024, MaxPort: 65535}},
			}},
			"priority=3,table=1,idle_timeout=0,cookie=0x000000000000002a,actions=meter:32369,controller(userdata=01)," +
				"check_pkt_larger(1514)->reg3[24],multipath(nw_src,0,hrw,5,0,reg3[25..31])," +
				"bundle_load(nw_dst,0,hrw,ofport,reg6[],members:1,2),ct(commit,table=3,zone=7,nat(src=192.0.2.1:1024-65535,random))",
		},
		{
			flows.Flow{Table: 1, Priority: 4, Actions: []flows.Action{flows.Track{Zone: 7, Table: 3}}},
			"priority=4,table=1,idle_timeout=0,cookie=0x000000000000002a,actions=ct(table=3,zone=7,nat)",
		},
		{
			flows.Flow{Table: 1, Priority: 5, Actions: []flows.Action{flows.Track{Zone: 7, Commit: true, Table: 3,
				NAT: flows.Translation{Type: topology.DNAT, Addr: netip.MustParseAddr("10.0.0.2")}}}},
			"priority=5,table=1,idle_timeout=0,cookie=0x000000000000002a,actions=ct(commit,table=3,zone=7,nat(dst=10.0.0.2))",
		},
		{
			flows.Flow{Table: 1, Priority: 2, Match: []flows.Match{
				flows.Exact(flows.EthType, 0x0806), flows.Exact(flows.ARPOp, 1),
				flows.Masked(flows.ARPTpa, 0, 0), flows.Masked(flows.ARPSpa, 0x0a000001, 0xff0000ff),
			}, Actions: []flows.Action{
				flows.Load{Dst: flows.BitsDstPort, Value: 258}, flows.Move{Src: flows.All(flows.ARPSpa), Dst: flows.All(flows.RegNextHop)},
				flows.Load{Dst: flows.Bits{Field: flows.RegFlags, Ofs: 0, N: 1}, Value: 1}, flows.Load{Dst: flows.All(flows.InPort)},
				flows.OutputField{Src: flows.All(flows.RegTunnel)}, flows.DecTTL{}, flows.Output{Port: 5}, flows.Resubmit{Table: 0}, flows.Goto{Table: 238},
			}},
			"priority=2,eth_type=0x806,arp_op=1,arp_tpa=0.0.0.0/0,arp_spa=10.0.0.1/255.0.0.255,table=1,idle_timeout=0,cookie=0x000000000000002a," +
				"actions=load:0x102->reg5[16..31],move:arp_spa[]->reg0[],load:0x1->reg4[0],load:0x0->in_port_oxm[]," +
				"output:reg6[],dec_ttl,output:5,resubmit(,0),goto_table:238",
		},
		{
			flows.Flow{Table: 1, Priority: 6, Match: []flows.Match{flows.Exact(flows.VLAN, flows.VLANPresent|7)},
				Actions: []flows.Action{flows.PopVLAN{}, flows.PushVLAN{ID: 8}, flows.Output{Port: 5}}},
			"priority=6,vlan_vid=0x1007,table=1,idle_timeout=0,cookie=0x000000000000002a," +
				"actions=pop_vlan,push_vlan:0x8100,set_field:4104->vlan_vid,output:5",
		},
	}
	for _, test := range tests {
		got, err := Text(&test.flow, 42)
		if err != nil || got != test.want {
			t.Errorf("Text returned %v and\n%s, want\n%s", err, got, test.want)
		}
	}
}

// TestMessages lets ovs-ofctl judge the messages of which the bridge shows no
// trace, and one flow-mod.
func TestMessages(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	f := &flows.Flow{Table: 7, Priority: 9,
		Match:   append(presupposes(flows.IPDst), flows.Exact(flows.IPDst, 0x0a000001)),
		Actions: []flows.Action{flows.Goto{Table: 8}}}
	msgs, err := AppendFlowMods(nil, []Mod{{Add, f, 0x7e7}, {Delete, nil, 0x7e7}})
	if err != nil {
		t.Fatal(err)
	}
	msgs = appendBundleControl(msgs, 5, 4, bundleOpen)
	msgs, err = appendBundleAdd(msgs, 4, 6, &Mod{Add, f, 0x7e7})
	if err != nil {
		t.Fatal(err)
	}
	msgs = appendBundleControl(msgs, 7, 4, bundleDiscard)
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...)
	msgs, err = appendPacketOut(msgs, frame, []flows.Action{
		flows.Load{Dst: flows.All(flows.RegDatapath), Value: 5}, flows.Resubmit{Table: 9}, flows.Output{Port: 3}})
	if err != nil {
		t.Fatal(err)
	}
	request := func(typ uint8, body []byte) {
		start := len(msgs)
		msgs = append(appendHeader(msgs, typ, 9), body...)
		if err := endMessage(msgs[start:], 0); err != nil {
			t.Fatal(err)
		}
	}
	request(typeMeterMod, appendMeterMod(nil, meterAdd, flows.MeterInfo{Meter: flows.MeterErrors, Rate: 200, Burst: 300}))
	request(typeExperimenter, appendFlush(nil, 5, Reply, netip.MustParseAddr("192.0.2.1")))
	request(typeExperimenter, appendFlush(nil, 5, Original, netip.MustParseAddr("192.0.2.1")))
	request(typeExperimenter, appendFlushZone(nil, 5))
	msgs = appendDumpRequest(msgs, 8, 204, 0x7e70, 0xfff0)
	file := filepath.Join(o.RunDir(), "messages")
	if err := os.WriteFile(file, msgs, 0o600); err != nil {
		t.Fatal(err)
	}
	want := `OFPT_FLOW_MOD (OF1.4) (xid=0x0): ADD table:7 priority=9,ip,nw_dst=10.0.0.1 cookie:0x7e7 actions=goto_table:8
OFPT_FLOW_MOD (OF1.4) (xid=0x0): DEL table:255 priority=0 cookie:0x7e7/0xffffffffffffffff actions=drop
OFPT_BUNDLE_CONTROL (OF1.4) (xid=0x5):
 bundle_id=0x4 type=OPEN_REQUEST flags=atomic ordered
OFPT_BUNDLE_ADD_MESSAGE (OF1.4) (xid=0x6):
 bundle_id=0x4 flags=atomic ordered
OFPT_FLOW_MOD (OF1.4) (xid=0x6): ADD table:7 priority=9,ip,nw_dst=10.0.0.1 cookie:0x7e7 actions=goto_table:8
OFPT_BUNDLE_CONTROL (OF1.4) (xid=0x7):
 bundle_id=0x4 type=DISCARD_REQUEST flags=atomic ordered
OFPT_PACKET_OUT (OF1.4) (xid=0x0): in_port=LOCAL actions=load:0x5->OXM_OF_METADATA[],resubmit(,9),output:3 data_len=60
vlan_tci=0x0000,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
OFPT_METER_MOD (OF1.4) (xid=0x9): ADD meter=32369 pktps burst bands=
type=drop rate=200 burst_size=300
NXT_CT_FLUSH (OF1.4) (xid=0x9): zone=5 'ct_nw_src=::,ct_nw_dst=::,ct_tp_src=0,ct_tp_dst=0,ct_nw_proto=0' 'ct_nw_src=::,ct_nw_dst=192.0.2.1,ct_tp_src=0,ct_tp_dst=0'
NXT_CT_FLUSH (OF1.4) (xid=0x9): zone=5 'ct_nw_src=::,ct_nw_dst=192.0.2.1,ct_tp_src=0,ct_tp_dst=0,ct_nw_proto=0' 'ct_nw_src=::,ct_nw_dst=::,ct_tp_src=0,ct_tp_dst=0'
NXT_CT_FLUSH_ZONE (OF1.4) (xid=0x9): zone_id=5
OFPST_FLOW request (OF1.4) (xid=0x8): table=204`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(o.Ofctl("ofp-parse", file), "\n")); diff != "" {
		t.Errorf("want (-), printed (+):\n%s", diff)
	}
}

func TestEncodeErrors(t *testing.T) {
	flow := func(a ...flows.Action) *flows.Flow { return &flows.Flow{Actions: a} }
	nat := func(commit bool, typ topology.NATType, addr string, minPort, maxPort uint16) flows.Track {
		return flows.Track{Zone: 1, Commit: commit, Table: 9, NAT: flows.Translation{
			Type: typ, Addr: netip.MustParseAddr(addr), MinPort: minPort, MaxPort: maxPort}}
	}
	tests := map[string]struct {
		flow *flows.Flow
		want string
	}{
		"unknown field":    {&flows.Flow{Match: []flows.Match{{Field: 200}}}, "no encoding of field(200)"},
		"wide value":       {&flows.Flow{Match: []flows.Match{flows.Exact(flows.EthType, 0x10800)}}, "wider than the field's 16 bits"},
		"wide mask":        {&flows.Flow{Match: []flows.Match{{Field: flows.Metadata, Mask: flows.Value{Hi: 1}}}}, "wider than the field's 64 bits"},
		"wide load":        {flow(flows.Load{Dst: flows.BitsSrcPort, Value: 1 << 16}), "load of 0x10000 into 16 bits"},
		"empty bits":       {flow(flows.Load{Dst: flows.Bits{Field: flows.Reg0}}), "of reg0, which has 32"},
		"bits beyond":      {flow(flows.OutputField{Src: flows.Bits{Field: flows.Reg0, Ofs: 31, N: 2}}), "bits 31 to 32 of reg0"},
		"unequal move":     {flow(flows.Move{Src: flows.All(flows.Reg0), Dst: flows.All(flows.EthDst)}), "move of 32 bits of reg0 to 48 of eth_dst"},
		"goto not last":    {flow(flows.Goto{Table: 1}, flows.Output{Port: 1}), "goto of table 1 is not the last action"},
		"no VLAN tag":      {flow(flows.PushVLAN{}), "push of VLAN tag 0, want 1 to 4094"},
		"no action at all": {flow(nil), "no encoding of action <nil>"},
		"limit not first":  {flow(flows.Output{Port: 1}, flows.LimitTo{Meter: 1}), "limit to meter 1 is not the first action"},
		"wide port":        {flow(flows.Choose{Ports: []uint32{0x10000}, Dst: flows.All(flows.Reg0)}), "choice of port 65536"},
		"unknown hash":     {flow(flows.Choose{Fields: 99, Dst: flows.All(flows.Reg0)}), "no encoding of hash 99"},
		"unknown hash too": {flow(flows.Spread{Fields: 99, N: 1, Dst: flows.All(flows.Reg0)}), "no encoding of hash 99"},
		"spread of none":   {flow(flows.Spread{Dst: flows.BitsMember}), "spread over nothing into reg3"},
		"wide check":       {flow(flows.CheckLarger{Dst: flows.All(flows.Reg0)}), "into 32 bits of reg0, want one"},
		"no commit":        {flow(nat(false, topology.SNAT, "192.0.2.1", 0, 0)), "translation to 192.0.2.1 in zone 1 without commit"},
		"IPv6":             {flow(nat(true, topology.SNAT, "2001:db8::1", 0, 0)), "2001:db8::1, which is no IPv4 address"},
		"ports":            {flow(nat(true, topology.SNAT, "192.0.2.1", 2, 1)), "translation to ports 2 to 1"},
		"unknown NAT":      {flow(nat(true, "xnat", "192.0.2.1", 0, 0)), `no encoding of translation type "xnat"`},
		"many members":     {flow(flows.Choose{Ports: make([]uint32, 40000), Dst: flows.All(flows.Reg0)}), "longer than an OpenFlow message"},
		"too long":         {flow(slices.Repeat([]flows.Action{flows.Output{Port: 1}}, 4096)...), "longer than an OpenFlow message"},
	}
	for name, test := range tests {
		mods := []Mod{{Delete, nil, 1}, {Add, test.flow, 1}}
		_, err := AppendFlowMods(nil, mods)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "flow-mod 1") {
			t.Errorf("%s: error is %v, want one about flow-mod 1 with %q", name, err, test.want)
		}
	}
}
