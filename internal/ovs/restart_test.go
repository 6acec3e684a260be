package ovs

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/ovs/ovstest"
)

// TestDatabaseRestart shows that what is known stays known while ovsdb-server
// is away, and what changed is seen when it is back.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	hv1 := spec("hv1", "10.0.0.1")
	setTunnels(t, d, hv1)
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "external_ids:iface-id=lsp-a", "ofport_request=7")
	awaitInterfaces(t, d, bound("eth-a", "lsp-a", 7))
	before := awaitTunnels(t, d, hv1)

	o.StopDB()
	await(t, d, "the loss of OVSDB", func() bool { _, err := d.currentSession(); return err != nil })
	if err := d.SetTunnels(t.Context(), nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("SetTunnels returns %v without a database, want ErrNotConnected", err)
	}
	awaitInterfaces(t, d, bound("eth-a", "lsp-a", 7))
	awaitTunnels(t, d, hv1)

	o.StartDB()
	o.Vsctl("set", "Interface", "eth-a", "external_ids:iface-id=lsp-b")
	awaitInterfaces(t, d, bound("eth-a", "lsp-b", 7))
	if after := awaitTunnels(t, d, hv1); after["hv1"] != before["hv1"] {
		t.Errorf("ofport of hv1 changed from %d to %d", before["hv1"], after["hv1"])
	}
	setTunnels(t, d, hv1, spec("hv2", "10.0.0.2"))
	awaitTunnels(t, d, hv1, spec("hv2", "10.0.0.2"))
	for _, text := range []string{"OVSDB connection lost", "connected to OVSDB"} {
		if n := log.count(text); n != 1 {
			t.Errorf("logged %q %d times, want once", text, n)
		}
	}
}

// TestCloseLeavesNothing is not parallel: no other test then has goroutines.
func TestCloseLeavesNothing(t *testing.T) {
	for _, away := range []bool{false, true} {
		o := ovstest.Start(t)
		d, _ := open(t, o)
		if away {
			o.StopDB()
			await(t, d, "the loss of OVSDB", func() bool { _, err := d.currentSession(); return err != nil })
		} else {
			await(t, d, "the flow connection", d.NeedsSync)
		}
		d.Close()
		checkNothingLeft(t, fmt.Sprintf("OVSDB away %t", away))
	}
}

// checkNothingLeft fails if goroutines of closed drivers go on.
func checkNothingLeft(t *testing.T, when string) {
	t.Helper()
	left := func() string {
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "libovsdb") || strings.Contains(g, "internal/ovs/openflow") {
				return g
			}
		}
		return ""
	}
	for deadline := time.Now().Add(patience); left() != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after Close, %s, there is\n%s", when, left())
		}
	}
}
