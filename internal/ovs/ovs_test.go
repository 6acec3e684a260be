package ovs

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/ovs/ovstest"
)

// patience bounds every wait; only what is broken takes that long.
const patience = 20 * time.Second

// logBuffer collects what the driver logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// open opens a driver that is closed with the test.
func open(t testing.TB, o *ovstest.OVS) (*Driver, *logBuffer) {
	t.Helper()
	return openWith(t, Config{RunDir: o.RunDir()})
}

func openWith(t testing.TB, cfg Config) (*Driver, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if t.Failed() {
			t.Logf("the driver logged:\n%s", log.buf.String())
		}
	})
	return d, log
}

// await waits for a condition, and looks at it again only when the driver has
// announced a change.
func await(t testing.TB, d *Driver, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-d.Events():
		case <-deadline:
			t.Fatalf("not seen within %s: %s", patience, what)
		}
	}
}

// bound returns an interface that stands for a logical port.
func bound(name, ifaceID string, ofport uint32) Interface {
	return Interface{Name: name, IfaceID: ifaceID, OFPort: ofport}
}

// awaitInterfaces waits until the driver has these interfaces.
func awaitInterfaces(t *testing.T, d *Driver, want ...Interface) {
	t.Helper()
	deadline := time.After(patience)
	for {
		diff := cmp.Diff(want, d.Interfaces())
		if diff == "" {
			return
		}
		select {
		case <-d.Events():
		case <-deadline:
			t.Fatalf("interfaces (-want +got):\n%s", diff)
		}
	}
}

func TestOpenMakesBridge(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	open(t, o)
	if got := o.Vsctl("get", "Bridge", "br-int", "fail_mode", "datapath_type"); got != "secure\n\"\"" {
		t.Errorf("fail mode and datapath type are %q", got)
	}
	o.Vsctl("wait-until", "Interface", "br-int", "type=internal", "ofport=65534")
	// Another name, and a datapath type that is not the default.
	openWith(t, Config{RunDir: o.RunDir(), Bridge: "br-two", DatapathType: "dummy"})
	if got := o.Vsctl("get", "Bridge", "br-two", "datapath_type"); got != "dummy" {
		t.Errorf("datapath type of br-two is %s, want dummy", got)
	}
}

// TestTransactFails: libovsdb itself takes a transaction that breaks a
// constraint for one that worked.
func TestTransactFails(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	s, err := d.currentSession()
	if err != nil {
		t.Fatal(err)
	}
	ops, err := d.createBridgeOps(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.transact(t.Context(), ops); err == nil || !strings.Contains(err.Error(), "constraint violation") {
		t.Errorf("a second bridge of one name: error %v, want a constraint violation", err)
	}
	ops[0].Row["type"] = 5
	if err := s.transact(t.Context(), ops); err == nil || !strings.Contains(err.Error(), "expected string") {
		t.Errorf("a row of a wrong type: error %v, want the server's words", err)
	}
}

func TestOpenKeepsBridge(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "fail_mode=standalone", "protocols=OpenFlow10",
		"other_config:hwaddr=02:00:00:00:00:01", "--", "add-port", "br-int", "p1", "--", "set", "Interface", "p1", "ofport_request=7")
	before := o.Vsctl("get", "Bridge", "br-int", "_uuid", "ports", "other_config", "datapath_id")
	open(t, o)
	if after := o.Vsctl("get", "Bridge", "br-int", "_uuid", "ports", "other_config", "datapath_id"); after != before {
		t.Errorf("the bridge became\n%s\nfrom\n%s", after, before)
	}
	if got := o.Vsctl("get", "Bridge", "br-int", "fail_mode", "protocols"); got != "secure\n[OpenFlow10, OpenFlow14]" {
		t.Errorf("fail mode and protocols are %q", got)
	}
	if got := o.Vsctl("get", "Interface", "p1", "ofport"); got != "7" {
		t.Errorf("ofport of p1 is %s, want 7", got)
	}
}

func TestOpenWithoutSystemID(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "system-id")
	_, err := Open(t.Context(), Config{RunDir: o.RunDir()})
	if err == nil || !strings.Contains(err.Error(), "ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME") {
		t.Errorf("the error is %v, want one with the remedy", err)
	}
	if got := o.Vsctl("list-br"); got != "" {
		t.Errorf("made bridge %s for a chassis without a name", got)
	}
}

func TestOpenWaitsForDatabase(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.StopDB()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	log := &logBuffer{}
	_, err := Open(ctx, Config{RunDir: o.RunDir(), Log: slog.New(slog.NewTextHandler(log, nil))})
	if err == nil || !strings.Contains(err.Error(), o.DBSock()) {
		t.Errorf("the error is %v, want one with the socket", err)
	}
	if n := log.count("waiting for OVSDB"); n != 1 {
		t.Errorf("said %d times that it waits, want once", n)
	}

	opened := make(chan *Driver)
	go func() {
		d, err := Open(t.Context(), Config{RunDir: o.RunDir()})
		if err != nil {
			t.Error(err)
		}
		opened <- d
	}()
	o.StartDB()
	select {
	case d := <-opened:
		if got := d.SystemID(); got != "hv-test" {
			t.Errorf("system-id is %q, want hv-test", got)
		}
		d.Close()
	case <-time.After(patience):
		t.Fatal("the driver is not open though the database is there")
	}
}

func TestInterfaces(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, log := open(t, o)
	add := func(bridge, name, ofport string, more ...string) {
		o.Vsctl(append([]string{"add-port", bridge, name, "--", "set", "Interface", name, "ofport_request=" + ofport}, more...)...)
	}
	o.Vsctl("add-br", "br-other")
	add("br-int", "no-id", "4")
	add("br-other", "other", "5", "external_ids:iface-id=lsp-other")
	add("br-int", "eth-a", "7", "external_ids:iface-id=lsp-a")
	awaitInterfaces(t, d, bound("eth-a", "lsp-a", 7))

	o.Vsctl("set", "Interface", "eth-a", "external_ids:iface-id=lsp-b")
	awaitInterfaces(t, d, bound("eth-a", "lsp-b", 7))
	o.Vsctl("set", "Interface", "eth-a", "ofport_request=9")
	awaitInterfaces(t, d, bound("eth-a", "lsp-b", 9))

	// Two interfaces for one port: both, the lower OpenFlow port first.
	add("br-int", "eth-c", "3", "external_ids:iface-id=lsp-b")
	awaitInterfaces(t, d, bound("eth-c", "lsp-b", 3), bound("eth-a", "lsp-b", 9))
	o.Vsctl("remove", "Interface", "eth-c", "external_ids", "iface-id")
	awaitInterfaces(t, d, bound("eth-a", "lsp-b", 9))

	// What Open vSwitch cannot use is no interface, and is reported once.
	o.Vsctl("--no-wait", "add-port", "br-int", "bad", "--", "set", "Interface", "bad", "type=nonsense", "external_ids:iface-id=lsp-bad")
	await(t, d, "the report of the bad interface", func() bool {
		add("br-int", "tick", "11", "external_ids:iface-id=lsp-tick")
		o.Vsctl("del-port", "br-int", "tick")
		return log.count("interface=bad") > 0
	})
	if n := log.count("interface=bad"); n != 1 {
		t.Errorf("the bad interface was reported %d times, want once", n)
	}
	awaitInterfaces(t, d, bound("eth-a", "lsp-b", 9))

	o.Vsctl("del-port", "br-int", "eth-a")
	awaitInterfaces(t, d)
}

// TestQuietWithoutChange shows that what does not concern the caller does not
// wake it.
func TestQuietWithoutChange(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-other", "--", "add-port", "br-other", "other")
	d, _ := open(t, o)
	awaitInterfaces(t, d)
	await(t, d, "the connections to the bridge", func() bool { return d.NeedsSync() && d.packet.conn.Load() != nil })
	o.Ofctl("show", "br-int") // by now they are announced
	for len(d.Events()) > 0 {
		<-d.Events()
	}
	o.Vsctl("set", "Interface", "other", "external_ids:iface-id=x", "mtu_request=1400")
	o.Vsctl("set", "Interface", "br-int", "external_ids:note=x")
	o.Vsctl("add-port", "br-int", "no-id")
	// The wake-up of a change that does concern it comes after any of those.
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "external_ids:iface-id=lsp-a", "ofport_request=7")
	wakeups := 0
	await(t, d, "the interface", func() bool { wakeups++; return len(d.Interfaces()) == 1 })
	if wakeups > 2 {
		t.Errorf("%d wake-ups for one change", wakeups-1)
	}
}
