package host

import (
	"testing"

	"cni.tuplenet/attach"
)

// An endpoint of Docker is an attachment like any other, under Docker's names.
func TestDocker(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	endpoint := func(r *attach.Request) {
		r.Plugin, r.Bridge = attach.CNM, "br-int"
		r.ID = attach.ID{Network: "n1", Container: "e1", Ifname: "eth"}
		r.Device = r.ID.Device()
	}
	elsewhere := func(r *attach.Request) { endpoint(r); r.Bridge = "br-other" }
	b.wantError(m.add("-", elsewhere), attach.CodeConfig, "bridge is br-other, but this host's agent works with br-int")
	b.wantError(m.ask(request(attach.Status, "-", elsewhere)), attach.CodeConfig, "bridge is br-other")
	if a := m.ask(request(attach.Status, "-", endpoint)); a.Error != nil || a.Chassis != "hv1" || a.Bridge != "br-int" {
		t.Errorf("status: %+v", a)
	}
	for _, test := range []struct {
		sw, subnet string
		routed     bool
	}{{"LS-A", "10.0.0.1/29", true}, {"LS-A", "10.0.0.0/29", true}, {"LS-A", "", true}, {"LS-B", "10.0.5.1/24", false}} {
		of := func(r *attach.Request) { r.Switches = []attach.Switch{{Name: test.sw, Subnet: test.subnet}} }
		if a := m.ask(request(attach.Status, "-", endpoint, of)); a.Error != nil || a.Routed != test.routed {
			t.Errorf("status of %+v: %+v", test, a)
		}
	}
	if a := m.mustAdd("-", endpoint); a.Port != "e1" || a.IP != "10.0.0.2/29" {
		t.Errorf("got %+v", a)
	}
	b.wantOwned("e1 10.0.0.2 cnm:n1/e1/eth")
	m.wantAttached("e1")

	// What has lost its device is released, whichever plugin has made it.
	m.stop()
	m.start()
	m.wantAttached("e1")
	b.wantOwned("e1 10.0.0.2 cnm:n1/e1/eth")
	m.stop()
	device := attach.ID{Network: "n1", Container: "e1", Ifname: "eth"}.Device()
	m.device(device, false)
	m.Vsctl("set", "Interface", device, "type=nonsense")
	m.start()
	b.eventually("it is released", func() bool { return len(b.owned()) == 0 && len(m.host.Attachments()) == 0 })
}
