package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// bridges makes bridges and connects to each.
func bridges(t testing.TB, o *ovstest.OVS, names ...string) []*Conn {
	t.Helper()
	var conns []*Conn
	for _, name := range names {
		o.Vsctl("add-br", name)
		c, err := Dial(t.Context(), o.Mgmt(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c)
	}
	return conns
}

// adds makes n mods that add flows to a table, with cookies from first on.
func adds(table flows.Table, n int, first uint64) []Mod {
	mods := make([]Mod, n)
	for i := range mods {
		f := &flows.Flow{Table: table, Priority: 100, Match: []flows.Match{
			flows.Masked(flows.Metadata, 7, 0xffffff),
			flows.Exact(flows.EthType, 0x0800),
			flows.Exact(flows.IPDst, 0x0a000000+uint64(i)),
		}, Actions: []flows.Action{
			flows.Load{Dst: flows.BitsDstPort, Value: uint64(i & 0xffff)},
			flows.Load{Dst: flows.All(flows.RegTunnel), Value: 12},
			flows.Goto{Table: table + 1},
		}}
		mods[i] = Mod{Add, f, first + uint64(i)}
	}
	return mods
}

// cookies returns, sorted, the cookies that agree with cookie in mask's bits.
func cookies(t testing.TB, c *Conn, cookie, mask uint64) []uint64 {
	t.Helper()
	var found []uint64
	for s, err := range c.Dump(t.Context(), cookie, mask) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, s.Cookie)
	}
	slices.Sort(found)
	if n, err := c.Count(t.Context(), cookie, mask); n != len(found) || err != nil {
		t.Errorf("%d flows are counted (error %v), and %d dumped", n, err, len(found))
	}
	return found
}

func TestCommit(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	commit := func(mods ...Mod) {
		t.Helper()
		if err := c.Commit(t.Context(), mods); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...uint64) {
		t.Helper()
		if got := cookies(t, c, 1<<60, 0xf<<60); !slices.Equal(got, want) {
			t.Errorf("cookies are %#x, want %#x", got, want)
		}
	}
	const tag = 1 << 60
	mods := adds(3, 3, tag)
	commit()
	commit(mods...)
	expect(tag, tag+1, tag+2)

	// The same identity again replaces the flow; its cookie is the new one.
	mods[1].Cookie = tag + 9
	commit(mods[1])
	expect(tag, tag+2, tag+9)

	// Deletion takes the exact cookie, and order counts within a bundle.
	commit(Mod{Delete, nil, tag + 9}, mods[1], Mod{Delete, nil, tag}, Mod{Delete, nil, 0x123})
	expect(tag+2, tag+9)

	o.Ofctl("add-flow", "br0", "cookie=0x55,table=5,priority=1,actions=drop")
	if got := cookies(t, c, 0x55, ^uint64(0)); !slices.Equal(got, []uint64{0x55}) {
		t.Errorf("flows with cookie 0x55: %#x", got)
	}
	if got := cookies(t, c, 0, 0); len(got) != 4 {
		t.Errorf("all flows of the bridge: %#x, want 4", got)
	}
}

// TestCommitRefused shows what a refused mod leaves behind: its index, its
// error, an untouched bridge, and a connection that works.
func TestCommitRefused(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	outPort := &flows.Flow{Table: 3, Priority: 9, Actions: []flows.Action{flows.Output{Port: 0xffff}}}
	backwards := &flows.Flow{Table: 3, Priority: 9, Actions: []flows.Action{flows.Goto{Table: 2}}}
	noPrereq := &flows.Flow{Table: 3, Match: []flows.Match{flows.Exact(flows.IPDst, 1)}}
	noOption := &flows.Flow{Table: 3, Match: []flows.Match{flows.Exact(flows.TunMetadata0, 1)}}
	badField := &flows.Flow{Table: 3, Match: []flows.Match{{Field: 99}}}
	// Table 9 has no room; Open vSwitch only finds out when it commits.
	o.Vsctl("--", "--id=@t", "create", "Flow_Table", "flow_limit=0", "overflow_policy=refuse", "--",
		"set", "Bridge", "br0", "flow_tables:9=@t")
	full := &flows.Flow{Table: 9}

	for _, test := range []struct {
		bad  *flows.Flow
		want string
	}{
		{outPort, "OFPBAC_BAD_OUT_PORT"},
		{backwards, "OFPBIC_BAD_TABLE_ID"},
		{noPrereq, "OFPBMC_BAD_PREREQ"},
		{noOption, "NXFMFC_INVALID_TLV_FIELD"},
		{full, "OFPFMFC_TABLE_FULL"},
		{badField, "no encoding of field(99)"},
	} {
		mods := adds(3, 20, 0x100)
		mods[13].Flow = test.bad
		err := c.Commit(t.Context(), mods)
		var refused *FlowError
		if !errors.As(err, &refused) || refused.Index != 13 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error is %v, want one about flow-mod 13 with %s", err, test.want)
		}
		if got := cookies(t, c, 0x100, ^uint64(0xff)); len(got) != 0 {
			t.Errorf("%s: the bundle left %d flows behind", test.want, len(got))
		}
		mods = slices.Delete(mods, 13, 14)
		if err := c.Commit(t.Context(), mods); err != nil {
			t.Errorf("%s: the rest of the bundle: %v", test.want, err)
		}
		if got := cookies(t, c, 0x100, ^uint64(0xff)); len(got) != 19 {
			t.Errorf("%s: the rest of the bundle is %d flows, want 19", test.want, len(got))
		}
		for i := range mods {
			mods[i].Command = Delete
		}
		if err := c.Commit(t.Context(), mods); err != nil {
			t.Error(err)
		}
	}

	// So many errors that Open vSwitch stops reading until we have taken them.
	mods := adds(3, 10_000, 0x100)
	for i := range mods {
		mods[i].Flow = outPort
	}
	var refused *FlowError
	if err := c.Commit(t.Context(), mods); !errors.As(err, &refused) || refused.Index != 0 {
		t.Errorf("error is %v, want one about flow-mod 0", err)
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	conns := bridges(t, o, "bundles", "raw")
	const n = 100_000
	mods := adds(3, n, 1)
	for chunk := range slices.Chunk(mods, 10_000) {
		if err := conns[0].Commit(t.Context(), chunk); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := AppendFlowMods(nil, mods)
	if err != nil {
		t.Fatal(err)
	}
	if err := conns[1].WriteRaw(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	if err := conns[1].Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		seen := make(map[uint64]bool, n)
		for s, err := range c.Dump(t.Context(), 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if s.Cookie == 0 {
				continue // Open vSwitch's own
			}
			seen[s.Cookie] = true
			address := binary.BigEndian.AppendUint32(nil, fieldHeaders[flows.IPDst])
			address = binary.BigEndian.AppendUint32(address, uint32(0x0a000000+s.Cookie-1))
			if s.Table != 3 || s.Priority != 100 || !bytes.Contains(s.Match, address) {
				t.Fatalf("dumped %+v, want table 3, priority 100 and a match with %x", s, address)
			}
		}
		if len(seen) != n {
			t.Errorf("dumped %d flows, want %d", len(seen), n)
		}
		// A loop may end early, and the connection goes on.
		for _, err := range c.Dump(t.Context(), 0, 0) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if err := c.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestEnsureTLV(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	for range 2 {
		if err := c.EnsureTLV(t.Context(), option); err != nil {
			t.Fatal(err)
		}
	}
	other := TLV{Class: 0xffee, Type: 3, Length: 4, Index: 1}
	if err := c.EnsureTLV(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if got, err := c.tlvs(t.Context()); err != nil || !slices.Equal(got, []TLV{option, other}) {
		t.Errorf("the map is %v (error %v), want %v and %v", got, err, option, other)
	}
	for _, test := range []struct{ want, inTheWay TLV }{
		{TLV{0xffee, 0, 8, 2}, option},
		{TLV{0xffee, 0, 4, 0}, option},
		{TLV{0xffee, 1, 8, 0}, option},
		{TLV{0x1, 3, 4, 1}, other},
	} {
		err := c.EnsureTLV(t.Context(), test.want)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(test.inTheWay)) ||
			!strings.Contains(err.Error(), "ovs-ofctl del-tlv-map br0") {
			t.Errorf("mapping %v: error is %v, want one that names %v and the remedy", test.want, err, test.inTheWay)
		}
	}
	o.Ofctl("del-tlv-map", "br0")
	if err := c.EnsureTLV(t.Context(), TLV{0xffee, 0, 4, 0}); err != nil {
		t.Errorf("the remedy did not help: %v", err)
	}
	if err := c.EnsureTLV(t.Context(), TLV{1, 1, 3, 2}); err == nil || !strings.Contains(err.Error(), "NXTTMFC_BAD_OPT_LEN") {
		t.Errorf("mapping an option of 3 bytes: error is %v", err)
	}
}

// TestInPort shows what rules count on: a packet whose in_port was cleared
// leaves by the port that it came in by, also after a resubmit.
func TestInPort(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	o.Vsctl("add-port", "br0", "p5", "--", "set", "Interface", "p5", "ofport_request=5")
	out := []flows.Action{flows.Output{Port: 5}}
	clear := flows.Load{Dst: flows.All(flows.InPort), Value: 0}
	port := []flows.Match{flows.Exact(flows.InPort, 5)}
	for name, test := range map[string]struct {
		first flows.Action
		sent  bool
	}{"as it came": {flows.Resubmit{Table: 4}, false}, "cleared": {clear, true}} {
		mods := []Mod{
			{Add, &flows.Flow{Table: 0, Priority: 9, Match: port, Actions: []flows.Action{test.first, flows.Resubmit{Table: 3}}}, 1},
			{Add, &flows.Flow{Table: 3, Priority: 9, Actions: out}, 1},
		}
		if err := c.Commit(t.Context(), mods); err != nil {
			t.Fatal(err)
		}
		trace := o.Appctl("ofproto/trace", "br0", "in_port=5,ip")
		if sent := !strings.Contains(trace, "Datapath actions: drop"); sent != test.sent {
			t.Errorf("%s: packet sent: %v, want %v\n%s", name, sent, test.sent, trace)
		}
	}
}
