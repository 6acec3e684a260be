package agent

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

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
	before := a.bridge()
	d, err := a.verify()
	if err != nil {
		t.Fatal(err)
	}
	said := d.String() + strings.Join(append(d.Missing, d.Other...), "\n")
	for _, want := range []string{"missing of ", "table=252", "too many: table=250", "no tunnel leads to chassis hv-b",
		"switch port LS/three is not bound, and its interface if-three is here"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	if strings.Contains(said, "cookie=0x1,") {
		t.Errorf("it minds a flow that is not TupleNet's: %s", said)
	}
	if after := a.bridge(); after != before {
		t.Errorf("it has changed flows:\n%s\nwere\n%s", after, before)
	}

	a.start()
	eventually(t, "a fresh agent has made it right", func() bool {
		d, err := a.verify()
		return err == nil && d.None()
	})
}
