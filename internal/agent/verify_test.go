package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// verify compares the host with what a fresh agent would make of it.
func (h *host) verify() (Difference, error) {
	open := func(context.Context) (*store.Store, error) {
		return store.New(store.Config{Endpoints: []string{h.site.endpoint}, Log: logTo(h.site.t)})
	}
	return Verify(h.site.t.Context(), open, Config{OVS: ovs.Config{RunDir: h.RunDir()}, TunnelIP: netip.MustParseAddr(h.ip), RunDir: h.RunDir(), Log: logTo(h.site.t)})
}

// A bridge that an agent looks after is as it should be; what others do to it
// while no agent runs is found, by what it is about, and nothing is changed.
func TestVerify(t *testing.T) {
	s := newSite(t)
	a := s.newHost("hv-a", "192.168.1.1")
	if _, err := a.verify(); !errors.Is(err, ErrNotNoted) {
		t.Errorf("before any agent has run: %v", err)
	}
	a.start()
	b := s.host("hv-b", "192.168.1.2")
	s.create(topology.Switch{Name: "LS"})
	one, two := s.port("LS", "one", "10.0.0.1"), s.port("LS", "two", "10.0.0.2")
	a.plug("one")
	b.plug("two")
	a.plug("of-nobody")
	eventually(t, "the ports are bound", func() bool { return s.chassisOf(one) == "hv-a" && s.chassisOf(two) == "hv-b" })
	eventually(t, "both hosts are right", func() bool {
		da, errA := a.verify()
		db, errB := b.verify()
		return errA == nil && errB == nil && da.None() && db.None() && da.Held > 20
	})

	// A port that has moved away is no difference, though its interface is here.
	b.plug("one")
	eventually(t, "port one has moved", func() bool {
		d, err := a.verify()
		return s.chassisOf(one) == "hv-b" && err == nil && d.None()
	})

	a.stop()
	s.port("LS", "three", "10.0.0.3")
	a.plug("three")
	a.plug("two-again")
	a.Vsctl("del-port", "br-int", "tupleNet-3232235778")
	a.Ofctl("add-flow", "-OOpenFlow14", "br-int", "table=250,cookie=0x7e70000000000001,actions=drop")
	a.Ofctl("add-flow", "-OOpenFlow14", "br-int", "table=251,cookie=0x1,actions=drop") // not TupleNet's
	a.Ofctl("del-flows", "-OOpenFlow14", "br-int", "table=252")
	// By hand, which leaves the cookies: a flow changed, and one made of another.
	a.Ofctl("mod-flows", "-OOpenFlow14", "br-int", "table=253,actions=output:99")
	double := regexp.MustCompile(`cookie=0x7e7[0-9a-f]+`).FindString(a.flows("210"))
	a.Ofctl("add-flow", "-OOpenFlow14", "br-int", "table=210,priority=7,metadata=77,"+double+",actions=drop")
	a.Ofctl("add-flow", "-OOpenFlow14", "br-int", "table=204,priority=60000,cookie=0x2,actions=drop") // of others, before ours
	a.Ofctl("add-flow", "-OOpenFlow14", "br-int", "table=201,priority=60000,cookie=0x2,actions=drop") // where others may
	before := a.bridge()
	d, err := a.verify()
	if err != nil {
		t.Fatal(err)
	}
	details := strings.Join(d.Details(), "\n")
	for _, want := range []string{" missing, 2 too many, 2 changed by hand; ", "; no tunnel leads to chassis hv-b; ",
		"missing in table 0 (classify) of interface three; ", "too many in table 210 (switch-deliver), " + strings.Replace(double, "=", " ", 1) + "; ",
		"changed in table 253 (foreign) of this host",
		"switch port LS/three is not bound, and its interface if-three is here"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("it does not say %q: %s", want, d)
		}
	}
	for _, want := range []string{"missing in table 252 (drop) of this host: priority=0,table=252,", "too many in table 250 (unknown), cookie 0x7e70000000000001",
		"changed in table 253 (foreign) of this host: table:253 priority=0 cookie:0x7e7", " actions=output:99, and should be table:253 priority=0 cookie:0x7e7"} {
		if !strings.Contains(details, want) {
			t.Errorf("its details do not say %q: %s", want, details)
		}
	}
	if strings.Contains(details, "cookie 0x1") || strings.Contains(details, "cookie 0x2") {
		t.Errorf("it minds a flow that is not TupleNet's: %s", details)
	}
	if diff := cmp.Diff(map[flows.Table]int{flows.TableSwitchLookup: 1}, d.Foreign); diff != "" || d.Unsaid != nil {
		t.Errorf("%v; flows of others that stand before ours (-want +got)\n%s", d.Unsaid, diff)
	}
	if after := a.bridge(); after != before {
		t.Errorf("it has changed flows:\n%s\nwere\n%s", after, before)
	}

	if len(d.Stuck) != 3 {
		t.Errorf("an agent cannot mend %#x, want those that were changed and the double", d.Stuck)
	}
	for _, cookie := range d.Stuck {
		a.Ofctl("del-flows", "-OOpenFlow14", "br-int", fmt.Sprintf("cookie=%#x/-1", cookie))
	}
	a.start()
	eventually(t, "a fresh agent has made it right", func() bool {
		d, err := a.verify()
		return err == nil && d.None()
	})
}
