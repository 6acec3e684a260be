package ovs

import (
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

func TestHostStack(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	set := func(want bool) {
		t.Helper()
		if err := d.SetHostStack(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	known := func(want bool) func() bool {
		return func() bool { _, ok := d.HostStack(); return ok == want }
	}
	set(false)
	if got := ports(o); got != "" {
		t.Errorf("ports %q where none are wanted", got)
	}
	set(true)
	await(t, d, "the port", known(true))
	h, _ := d.HostStack()
	got := strings.Fields(o.Vsctl("get", "Interface", "br-int-dsrgw", "type", "mac_in_use"))
	if got[0] != "internal" || got[1] != `"`+h.MAC.String()+`"` {
		t.Errorf("type and MAC are %s, the driver says %+v", got, h)
	}
	before := o.Vsctl("get", "Interface", "br-int-dsrgw", "_uuid")
	set(true)
	if after := o.Vsctl("get", "Interface", "br-int-dsrgw", "_uuid"); after != before {
		t.Error("made anew what was there")
	}
	o.Vsctl("del-port", "br-int-dsrgw")
	await(t, d, "the port's end", known(false))
	set(true)
	await(t, d, "the port again", known(true))
	set(false)
	await(t, d, "the port's removal", known(false))
	if got := ports(o); got != "" {
		t.Errorf("ports %q are left", got)
	}

	// The name is another's.
	o.Vsctl("add-br", "br0", "--", "add-port", "br0", "br-int-dsrgw", "--", "set", "Interface", "br-int-dsrgw", "type=internal")
	d2, _ := open(t, o)
	err := d2.SetHostStack(t.Context(), true)
	if err == nil || !strings.Contains(err.Error(), "ovs-vsctl del-port br-int-dsrgw") {
		t.Errorf("the error is %v, want one with the remedy", err)
	}
	if err := d2.SetHostStack(t.Context(), false); err != nil {
		t.Error(err)
	}
	if got := o.Vsctl("list-ports", "br0"); got != "br-int-dsrgw" {
		t.Error("removed the port of another bridge")
	}
	if _, ok := d2.HostStack(); ok {
		t.Error("took the port of another bridge for its own")
	}
}
