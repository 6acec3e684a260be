package ovs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/ovs/ovstest"
)

func TestAttachments(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	attach := func(a Attachment) {
		t.Helper()
		if err := d.Attach(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...Attachment) {
		t.Helper()
		await(t, d, "the attachments", func() bool { return cmp.Diff(want, d.Attachments()) == "" })
	}
	one, two := Attachment{Device: "tp1", Port: "lsp-1", Owner: "cni:n/c1/eth0"}, Attachment{Device: "tp2", Port: "lsp-2", Owner: "cni:n/c2/eth0"}
	attach(two)
	attach(one)
	if diff := cmp.Diff([]Attachment{one, two}, d.Attachments()); diff != "" {
		t.Errorf("not seen as soon as they are made: %s", diff)
	}
	want(one, two)
	await(t, d, "their numbers", func() bool { return len(d.Interfaces()) == 2 })
	before := o.Vsctl("get", "Interface", "tp1", "_uuid")
	attach(one)
	if after := o.Vsctl("get", "Interface", "tp1", "_uuid"); after != before {
		t.Error("made anew what was there")
	}
	// The device is another container's now.
	three := Attachment{Device: "tp1", Port: "lsp-3", Owner: "cni:n/c3/eth0"}
	attach(three)
	want(three, two)

	// Open vSwitch cannot open a device.
	o.Vsctl("set", "Interface", "tp2", "type=nonsense")
	two.Failed = true
	want(three, two)

	// It is not ours to replace, or to remove.
	o.Vsctl("add-port", "br-int", "vm1", "--", "set", "Interface", "vm1", "external_ids:iface-id=vm1")
	err := d.Attach(t.Context(), Attachment{Device: "vm1", Port: "lsp-4", Owner: "cni:n/c4/eth0"})
	if err == nil || !strings.Contains(err.Error(), "attach device vm1: interface vm1 of bridge br-int") || !strings.Contains(err.Error(), "ovs-vsctl del-port vm1") {
		t.Errorf("the error is %v, want one with the remedy", err)
	}
	for range 2 {
		if err := d.Detach(t.Context(), "tp1", "tp2", "vm1", "nobody"); err != nil {
			t.Fatal(err)
		}
		if n := len(d.Attachments()); n != 0 {
			t.Errorf("%d are seen after all are detached", n)
		}
	}
	if got := o.Vsctl("list-ports", "br-int"); got != "vm1" {
		t.Errorf("the bridge has %q, want vm1", got)
	}
	if d.Userspace() {
		t.Error("the dummy datapath is taken for the userspace one")
	}
}
