package trace

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// notebook is surroundings that write down what happens.
type notebook struct {
	visited []flows.Table
	out     []uint32
	toAgent []flows.Reason
	dead    []uint32
	picked  int // what pick returns
	last    flows.State
}

func (n *notebook) visit(p *transit, t flows.Table, _ *flows.Flow) bool {
	n.visited, n.last = append(n.visited, t), p.state
	return len(n.visited) < 20
}
func (n *notebook) sent(_ *transit, ofport uint32) { n.out = append(n.out, ofport) }
func (n *notebook) punted(_ *transit, why flows.Reason) bool {
	n.toAgent = append(n.toAgent, why)
	return true
}
func (n *notebook) alive(ofport uint32) bool { return !slices.Contains(n.dead, ofport) }
func (n *notebook) pick(int) int             { return n.picked }

// The tables of the tests below, by their order.
const (
	t0, t1, t2, t3 = flows.TableClassify, flows.TableArrival, flows.TableSwitchARP, flows.TableSwitchHook
)

func TestTransit(t *testing.T) {
	t.Parallel()
	ttl, tunnel, next := flows.All(flows.IPTTL), flows.All(flows.RegTunnel), flows.All(flows.RegNextHop)
	choose := flows.Choose{Fields: flows.HashSymmetricL4, Ports: []uint32{7, 8, 9}, Dst: tunnel}
	for name, test := range map[string]struct {
		flows  []*flows.Flow
		packet func(*transit)
		book   notebook // to begin with
		want   notebook // visited, out and toAgent
		last   map[flows.Field]uint64
	}{
		"what a resubmit changes stays": {
			flows: []*flows.Flow{
				at(t0, flows.Resubmit{Table: t2}, flows.Output{Port: 5}, flows.Goto{Table: t3}),
				at(t2, flows.Load{Dst: next, Value: 77}),
			},
			want: notebook{visited: []flows.Table{t0, t2, t3}, out: []uint32{5}},
			last: map[flows.Field]uint64{flows.RegNextHop: 77},
		},
		"a resubmit can lead back": {
			flows: []*flows.Flow{
				at(t2, flows.Resubmit{Table: t1}),
				at(t1, flows.Punt{Why: flows.Wanted}),
				at(t0, flows.Goto{Table: t2}),
			},
			want: notebook{visited: []flows.Table{t0, t2, t1}, toAgent: []flows.Reason{flows.Wanted}},
		},
		"never out of the port that it came in by, unless told so": {
			flows: []*flows.Flow{at(t0, flows.Load{Dst: tunnel, Value: 3},
				flows.Output{Port: 3}, flows.OutputField{Src: tunnel}, flows.OutputInPort{}, flows.Output{Port: 4})},
			packet: func(p *transit) { p.state.Set(flows.All(flows.InPort), 3) },
			want:   notebook{visited: []flows.Table{t0}, out: []uint32{3, 4}},
		},
		"a TTL that is used up ends the flow, and no other": {
			flows: []*flows.Flow{
				at(t0, flows.Resubmit{Table: t1}, flows.Goto{Table: t2}),
				at(t1, flows.DecTTL{}, flows.Goto{Table: t3}),
			},
			packet: func(p *transit) { p.state.Set(flows.All(flows.EthType), etherIPv4); p.state.Set(ttl, 1) },
			want:   notebook{visited: []flows.Table{t0, t1, t2}},
			last:   map[flows.Field]uint64{flows.EthType: etherIPv4, flows.IPTTL: 1},
		},
		"only IP has a TTL": {
			flows:  []*flows.Flow{at(t0, flows.DecTTL{}, flows.Goto{Table: t1})},
			packet: func(p *transit) { p.state.Set(flows.All(flows.EthType), etherARP) },
			want:   notebook{visited: []flows.Table{t0, t1}},
			last:   map[flows.Field]uint64{flows.EthType: etherARP},
		},
		"among live ports": {
			flows: []*flows.Flow{at(t0, choose, flows.Goto{Table: t1})},
			book:  notebook{dead: []uint32{7}, picked: 1},
			want:  notebook{visited: []flows.Table{t0, t1}},
			last:  map[flows.Field]uint64{flows.RegTunnel: 9},
		},
		"no live port": {
			flows: []*flows.Flow{at(t0, choose, flows.Goto{Table: t1})},
			book:  notebook{dead: []uint32{7, 8, 9}},
			want:  notebook{visited: []flows.Table{t0, t1}},
			last:  map[flows.Field]uint64{flows.RegTunnel: flows.NoPort},
		},
		"the size of a tunnel": {
			flows: []*flows.Flow{at(t0, flows.CheckLarger{Size: 100, Dst: flows.BitsTooLarge}, flows.Goto{Table: t1})},
			want:  notebook{visited: []flows.Table{t0, t1}},
		},
		"one byte more": {
			flows:  []*flows.Flow{at(t0, flows.CheckLarger{Size: 100, Dst: flows.BitsTooLarge}, flows.Goto{Table: t1})},
			packet: func(p *transit) { p.size++ },
			want:   notebook{visited: []flows.Table{t0, t1}},
			last:   map[flows.Field]uint64{flows.RegRouter: 1 << flows.BitsTooLarge.Ofs},
		},
		"a tag that comes off makes a frame shorter": {
			flows: []*flows.Flow{at(t0, flows.PopVLAN{}, flows.CheckLarger{Size: 100, Dst: flows.BitsTooLarge}, flows.Goto{Table: t1})},
			packet: func(p *transit) {
				p.state.Set(flows.All(flows.VLAN), flows.VLANPresent|7)
				p.size = 104
			},
			want: notebook{visited: []flows.Table{t0, t1}},
		},
		"and one that is put on, longer": {
			flows: []*flows.Flow{at(t0, flows.PushVLAN{ID: 7}, flows.CheckLarger{Size: 100, Dst: flows.BitsTooLarge}, flows.Goto{Table: t1})},
			want:  notebook{visited: []flows.Table{t0, t1}},
			last:  map[flows.Field]uint64{flows.VLAN: flows.VLANPresent | 7, flows.RegRouter: 1 << flows.BitsTooLarge.Ofs},
		},
		"one register shows in the other": {
			flows: []*flows.Flow{at(t0, flows.Load{Dst: flows.BitsDstPort, Value: 9},
				flows.Move{Src: flows.All(flows.RegOption), Dst: flows.All(flows.TunMetadata0)}, flows.Goto{Table: t1})},
			want: notebook{visited: []flows.Table{t0, t1}},
			last: map[flows.Field]uint64{flows.RegPorts: 9 << 16, flows.RegOption: 9 << 16, flows.TunMetadata0: 9 << 16},
		},
		"no flow": {
			want: notebook{visited: []flows.Table{t0}},
		},
		"circles end": {
			flows: []*flows.Flow{at(t0, flows.Resubmit{Table: t1}), at(t1, flows.Resubmit{Table: t1}, flows.Output{Port: 1})},
			want:  notebook{visited: append([]flows.Table{t0}, slices.Repeat([]flows.Table{t1}, 19)...)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := test.book
			p := &transit{surroundings: &book, tables: tablesOf(test.flows...), size: 100}
			if test.packet != nil {
				test.packet(p)
			}
			in := p.state.Get(flows.All(flows.InPort))
			p.enter(t0)
			test.want.picked, test.want.dead = test.book.picked, test.book.dead
			if diff := cmp.Diff(test.want, book, cmp.AllowUnexported(notebook{}), cmpopts.IgnoreFields(notebook{}, "last")); diff != "" {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
			var want flows.State
			want[flows.InPort] = in
			for f, v := range test.last {
				want[f] = v
			}
			if book.last != want {
				t.Errorf("in the last table the state is %v, want %v", book.last, want)
			}
		})
	}
}

// TestEndsTag holds which tag a frame leaves with.
func TestEndsTag(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		had     uint64
		actions []flows.Action
		want    []uint16
	}{
		"none":                 {0, []flows.Action{flows.Output{Port: 2}}, []uint16{0}},
		"its own":              {7, []flows.Action{flows.Output{Port: 2}, flows.OutputInPort{}}, []uint16{7, 7}},
		"another":              {7, []flows.Action{flows.PopVLAN{}, flows.Output{Port: 2}, flows.PushVLAN{ID: 8}, flows.Output{Port: 2}}, []uint16{0, 8}},
		"not where it came in": {0, []flows.Action{flows.PushVLAN{ID: 8}, flows.Output{Port: 1}}, nil},
		"unless that is forgotten": {0, []flows.Action{flows.Load{Dst: flows.All(flows.InPort)},
			flows.PushVLAN{ID: 8}, flows.Output{Port: 1}}, []uint16{8}},
	} {
		var s flows.State
		s.Set(flows.All(flows.InPort), 1)
		if test.had != 0 {
			s.Set(flows.All(flows.VLAN), flows.VLANPresent|test.had)
		}
		var got []uint16
		Ends(at(t0, test.actions...), &s, false, func(_ uint32, tag uint16) End {
			got = append(got, tag)
			return End{}
		})
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: it leaves with tags %d, want %d", name, got, test.want)
		}
	}
}

func tablesOf(all ...*flows.Flow) *Tables {
	return NewTables(func(yield func(uint64, *flows.Flow) bool) {
		for _, f := range all {
			if _, cookie, _ := f.Hash(nil); !yield(cookie, f) {
				return
			}
		}
	})
}

func TestTrack(t *testing.T) {
	t.Parallel()
	src, dst := ip4(0x0a000001), ip4(0xac100001)
	external := ip4(0xc0a8011e)
	nat := func(typ topology.NATType, commit bool) flows.Track {
		return flows.Track{Zone: 5, Commit: commit, Table: t1, NAT: flows.Translation{Type: typ, Addr: external, MinPort: 1024, MaxPort: 65535}}
	}
	for name, test := range map[string]struct {
		track   flows.Track
		damaged bool
		src     uint64
		dst     uint64
		state   uint64
	}{
		"a new connection":               {nat(topology.SNAT, true), false, ipv4(external), ipv4(dst), ctTracked | ctNew | ctSNAT},
		"to an external address":         {nat(topology.DNAT, true), false, ipv4(src), ipv4(external), ctTracked | ctNew | ctDNAT},
		"none is begun":                  {nat(topology.SNAT, false), false, ipv4(src), ipv4(dst), ctTracked | ctNew},
		"nothing to translate":           {flows.Track{Commit: true, Table: t1}, false, ipv4(src), ipv4(dst), ctTracked | ctNew},
		"a bad checksum makes it no one": {nat(topology.SNAT, true), true, ipv4(src), ipv4(dst), ctTracked | ctInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := &notebook{}
			p := &transit{surroundings: book, damaged: test.damaged, srcPort: 40000,
				tables: tablesOf(at(t0, flows.Resubmit{Table: t2}, flows.Goto{Table: t3}), at(t2, test.track))}
			p.state.Set(flows.All(flows.IPSrc), ipv4(src))
			p.state.Set(flows.All(flows.IPDst), ipv4(dst))
			before := p.state
			visit := &tracked{notebook: book}
			p.surroundings = visit
			p.enter(t0)
			want := before
			want[flows.IPSrc], want[flows.IPDst], want[flows.CTState] = test.src, test.dst, test.state
			if visit.behind != want {
				t.Errorf("behind connection tracking the state is %v, want %v", visit.behind, want)
			}
			if book.last != before || p.srcPort != 40000 {
				t.Errorf("what stands behind the resubmit sees the state %v and port %d, want those of before", book.last, p.srcPort)
			}
		})
	}
}

// tracked notes the state in the table behind connection tracking.
type tracked struct {
	*notebook
	behind flows.State
}

func (v *tracked) visit(p *transit, t flows.Table, f *flows.Flow) bool {
	if t == t1 {
		v.behind = p.state
	}
	return v.notebook.visit(p, t, f)
}

// TestTables changes flows at random, and looks packets up in all ways.
func TestTables(t *testing.T) {
	t.Parallel()
	match := func(f flows.Field, v, mask uint64) flows.Match { return flows.Masked(f, v, mask) }
	low := &flows.Flow{Table: t1, Priority: 1, Actions: []flows.Action{flows.Goto{Table: t2}}}
	exact := &flows.Flow{Table: t1, Priority: 9, Match: []flows.Match{match(flows.Reg0, 5, 0xff)}}
	wide := &flows.Flow{Table: t1, Priority: 7, Match: []flows.Match{match(flows.Reg0, 4, 0xfc)}}
	same := &flows.Flow{Table: t1, Priority: 9, Match: exact.Match, Actions: []flows.Action{flows.Output{Port: 3}}}
	above := &flows.Flow{Table: t1, Priority: 11, Match: exact.Match}
	tables := tablesOf(low, exact, wide)
	look := func(reg0 uint64) *flows.Flow {
		var s flows.State
		s.Set(flows.All(flows.Reg0), reg0)
		f, _ := tables.Lookup(t1, &s)
		return f.Flow
	}
	check := func(what string, want map[uint64]*flows.Flow) {
		t.Helper()
		for reg0, flow := range want {
			if got := look(reg0); got != flow {
				t.Errorf("%s: a packet with reg0=%d takes %v, want %v", what, reg0, got, flow)
			}
		}
	}
	cookie := func(f *flows.Flow) uint64 { _, c, _ := f.Hash(nil); return c }
	check("at first", map[uint64]*flows.Flow{5: exact, 6: wide, 9: low})
	tables.Apply(flows.Delta{Put: []flows.CookieFlow{{Cookie: cookie(same), Flow: same}, {Cookie: cookie(above), Flow: above}}})
	check("one came above", map[uint64]*flows.Flow{5: above, 6: wide})
	tables.Apply(flows.Delta{Gone: []uint64{cookie(above)}})
	check("other actions", map[uint64]*flows.Flow{5: same})
	tables.Apply(flows.Delta{Gone: []uint64{cookie(same), cookie(low)}})
	check("few are left", map[uint64]*flows.Flow{5: wide, 9: nil})
}
