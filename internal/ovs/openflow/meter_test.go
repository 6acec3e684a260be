package openflow

import (
	"errors"
	"strings"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

func TestEnsureMeters(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	want := []flows.MeterInfo{{Meter: 1, Rate: 200, Burst: 300}, {Meter: 2, Rate: 1000, Burst: 1000}}
	ensure := func() {
		t.Helper()
		if err := c.EnsureMeters(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	check := func(wantText ...string) {
		t.Helper()
		got := o.Ofctl("dump-meters", "br0")
		for _, w := range wantText {
			if !strings.Contains(got, w) {
				t.Errorf("the meters lack %q:\n%s", w, got)
			}
		}
	}
	first := "meter=32369 pktps burst bands=\ntype=drop rate=200 burst_size=300"
	second := "meter=32370 pktps burst bands=\ntype=drop rate=1000 burst_size=1000"
	o.Ofctl("add-meter", "br0", "meter=5,kbps,band=type=drop,rate=9")
	ensure()
	check(first, second, "meter=5 kbps")

	// What a meter has counted is lost when it is made again.
	if err := c.Commit(t.Context(), []Mod{{Add, &flows.Flow{Actions: []flows.Action{flows.LimitTo{Meter: 1}, flows.Output{Port: 6}}}, 1}}); err != nil {
		t.Fatal(err)
	}
	o.Vsctl("add-port", "br0", "p5", "--", "add-port", "br0", "p6", "--", "set", "Interface", "p6", "ofport_request=6")
	receive(o, "p5", frame(1, 60))
	counted := func() bool {
		return strings.Contains(o.Ofctl("meter-stats", "br0", "meter=32369"), "packet_in_count:1 ")
	}
	if !counted() {
		t.Fatalf("the meter has not counted the packet:\n%s", o.Ofctl("meter-stats", "br0"))
	}
	ensure()
	if !counted() {
		t.Error("a meter that was there was made again")
	}

	o.Ofctl("mod-meter", "br0", "meter=32370,kbps,band=type=drop,rate=9")
	ensure()
	check(first, second)
	o.Ofctl("del-meter", "br0", "meter=32370")
	ensure()
	check(first, second)
}

// TestNoMeters plays a bridge whose datapath has none.
func TestNoMeters(t *testing.T) {
	c := dial(t, listen(t, func(p *peer) {
		p.hello()
		m := p.receive(typeMultipartRequest)
		p.send(version, typeError, m.xid, 0, meterError, 0, unknownMeter)
		m = p.receive(typeMeterMod)
		p.send(version, typeError, m.xid, 0, meterError, 0, 10)
		m = p.receive(typeBarrierRequest)
		p.send(version, typeBarrierReply, m.xid)
	}))
	err := c.EnsureMeters(t.Context(), flows.Meters)
	if !errors.Is(err, ErrNoMeters) || !strings.Contains(err.Error(), "OFPMMFC_OUT_OF_METERS") || !strings.Contains(err.Error(), c.path) {
		t.Errorf("the error is %v", err)
	}
	if c.Err() != nil {
		t.Errorf("the connection is lost: %v", c.Err())
	}
}
