package ovs

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

func TestCounters(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	await(t, d, "the flow connection", d.NeedsSync)
	to := func(table flows.Table, n byte) *flows.Flow {
		return &flows.Flow{Table: table, Priority: 1, Match: []flows.Match{flows.Exact(flows.EthSrc, 0x020000000000|uint64(n))}}
	}
	all := &flows.Flow{Table: 0, Priority: 1, Actions: []flows.Action{flows.Resubmit{Table: 30}, flows.Resubmit{Table: 31}}}
	ms := mods(all, to(30, 1), to(30, 2), to(31, 1))
	syncFlows(t, d, ms)
	o.Ofctl("add-flow", "br-int", "cookie=1,table=30,priority=0,actions=drop")
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "ofport_request=7")
	for range 5 {
		o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(1)))
	}
	want := map[uint64]uint64{ms[1].Cookie: 5, ms[2].Cookie: 0}
	var got map[uint64]uint64
	for deadline := time.Now().Add(patience); !maps.Equal(got, want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counters are %v, want %v", got, want)
		}
		var err error
		if got, err = d.Counters(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
	}
	cookies := []uint64{ms[2].Cookie, ms[1].Cookie, 12345}
	if got, err := d.CountPackets(t.Context(), cookies); err != nil || !maps.Equal(got, map[uint64]uint64{ms[1].Cookie: 5, ms[2].Cookie: 0, 12345: 0}) {
		t.Errorf("packets by cookie are %v, %v", got, err)
	}
	if got, err := d.CountPackets(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("packets of no flow are %v, %v", got, err)
	}
	many := make([]uint64, 2*countAtOnce+1)
	for i := range many {
		many[i] = uint64(1000 + i)
	}
	many[0] = ms[1].Cookie
	if got, err := d.CountPackets(t.Context(), many); err != nil || len(got) != len(many) || got[many[0]] != 5 {
		t.Errorf("packets of %d flows are those of %d, %v", len(many), len(got), err)
	}
	if got, err := d.Counters(t.Context(), 99); err != nil || len(got) != 0 {
		t.Errorf("counters of an empty table are %v, %v", got, err)
	}
	if n, err := d.CountFlows(t.Context(), d.FlowAge()); n != len(ms) || err != nil {
		t.Errorf("the bridge holds %d flows, %v, want %d", n, err, len(ms))
	}
	o.Ofctl("del-flows", "br-int", "table=31")
	age := d.FlowAge()
	if n, err := d.CountFlows(t.Context(), age); n != len(ms)-1 || err != nil {
		t.Errorf("without one the bridge holds %d flows, %v, want %d", n, err, len(ms)-1)
	}
	if !d.InSync() {
		t.Error("reading counters has cost the connection")
	}
	if r, err := d.Sync(t.Context(), sequence(ms)); err != nil || r.Added != 1 {
		t.Errorf("the flow that was deleted is made again: %+v, %v", r, err)
	}
	if n, err := d.CountFlows(t.Context(), age); !errors.Is(err, ErrChanging) {
		t.Errorf("flows of before are %d, %v, want %v", n, err, ErrChanging)
	}
	o.StopVswitchd()
	await(t, d, "the loss of the connection", func() bool { return !d.InSync() && !d.NeedsSync() })
	if _, err := d.Counters(t.Context(), 30); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Counters returns %v, want ErrNotConnected", err)
	}
	if _, err := d.CountPackets(t.Context(), cookies); !errors.Is(err, ErrNotConnected) {
		t.Errorf("CountPackets returns %v, want ErrNotConnected", err)
	}
}
