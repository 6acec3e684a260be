package ovstest

import (
	"strings"
	"testing"
)

// TestStart shows that both daemons run, survive a restart of each other, and
// leave the bridge usable.
func TestStart(t *testing.T) {
	t.Parallel()
	o := Start(t)
	if got := o.Vsctl("get", "Open_vSwitch", ".", "external_ids:system-id"); got != "hv-test" {
		t.Errorf("system-id is %s, want hv-test", got)
	}
	o.Vsctl("add-br", "br0", "--", "add-port", "br0", "p1", "--", "set", "Interface", "p1", "ofport_request=7")
	if got := o.Vsctl("get", "Interface", "p1", "ofport"); got != "7" {
		t.Errorf("ofport is %s, want 7", got)
	}
	o.StopVswitchd()
	o.Vsctl("add-br", "br1")
	o.StartVswitchd()
	o.StopDB()
	o.StartDB()
	o.Ofctl("add-flow", "br1", "priority=3,actions=drop")
	if got := o.Ofctl("dump-flows", "--no-stats", "br1"); !strings.Contains(got, "priority=3") {
		t.Errorf("flows of br1 are %q", got)
	}
	if got := o.Vsctl("list-br"); got != "br0\nbr1" {
		t.Errorf("bridges are %q", got)
	}
	if got := o.Appctl("dpif/show"); !strings.Contains(got, "br0") {
		t.Errorf("dpif/show prints %q", got)
	}
}
