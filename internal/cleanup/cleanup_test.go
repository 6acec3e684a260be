package cleanup

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
)

var hold = Item{"hold", "flow-restore-wait", "an ovs-vswitchd that starts forwards nothing until an agent runs"}

var told = Item{"ipfix", "br-int", "one packet in 400 is told to 192.0.2.9:4739, with observation domain 0 and point 0"}

var attached = Item{"port", "tp1", "in br-int, used by container cni:n/1/eth0"}

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// newHost returns the configuration of a host, in a network namespace of its
// own, that an agent in untunnel mode has been at work on.
func newHost(t *testing.T) (*ovstest.OVS, Config) {
	t.Helper()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure",
		"--", "add-port", "br-int", "br-int-dsrgw", "--", "set", "Interface", "br-int-dsrgw", "type=internal",
		"--", "add-port", "br-int", "vm1", "--", "set", "Interface", "vm1", "type=dummy", "external_ids:iface-id=lsp1",
		"--", "add-port", "br-int", "tp1", "--", "set", "Interface", "tp1", "type=dummy", `external_ids={iface-id=lsp-eth0-1,tuplenet-owner="cni:n/1/eth0"}`)
	o.Vsctl("--id=@i", "create", "IPFIX", `targets="192.0.2.9:4739"`, "external_ids:tuplenet-owner=agent", "--", "set", "Bridge", "br-int", "ipfix=@i")
	o.Ofctl("add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	// An agent that was killed while ovs-vswitchd was away.
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true", "external_ids:tuplenet-restore=true")

	// This thread is never used for anything else.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace (needs root): %v", err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	err := os.Mkdir(dir, 0o755)
	for path, text := range map[string]string{
		filepath.Join(dir, "tuplenet.pid"):  "",
		filepath.Join(dir, "untunnel.json"): `[{"name": "net.ipv4.ip_forward", "was": "0", "set": "1"}]`,
		forwarding:                          "1",
	} {
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return o, Config{OVS: ovs.Config{RunDir: o.RunDir()}, RunDir: dir}
}

func find(t *testing.T, cfg Config) []Item {
	t.Helper()
	r, err := Find(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Chassis != "hv-test" {
		t.Errorf("chassis %q, want hv-test", r.Chassis)
	}
	return r.Items
}

func remove(t *testing.T, cfg Config) []Item {
	t.Helper()
	r, err := Remove(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r.Items
}

func wantItems(t *testing.T, when string, got []Item, want ...Item) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func TestCleanup(t *testing.T) {
	_, cfg := newHost(t)
	ovsItems := []Item{{"flows", "br-int", "1 of TupleNet's"}, {"port", "br-int-dsrgw", "internal, in br-int"}, attached, told, hold}
	files := []Item{
		{Kind: "file", Name: filepath.Join(cfg.RunDir, "untunnel.json")},
		{Kind: "file", Name: filepath.Join(cfg.RunDir, "tuplenet.pid")},
	}
	wantItems(t, "found", find(t, cfg), slices.Concat(ovsItems, []Item{{"sysctl", "net.ipv4.ip_forward", "1, to be 0 again"}}, files)...)
	wantItems(t, "removed", remove(t, cfg), slices.Concat(ovsItems, []Item{{"sysctl", "net.ipv4.ip_forward", "as it was before"}}, files)...)
	if got, err := os.ReadFile(forwarding); err != nil || string(got) != "0\n" {
		t.Errorf("ip_forward is %q, %v, want 0", got, err)
	}
	if _, err := os.Stat(cfg.RunDir); !os.IsNotExist(err) {
		t.Errorf("the run directory is still there: %v", err)
	}
	wantItems(t, "found afterwards", find(t, cfg))
	wantItems(t, "removed afterwards", remove(t, cfg))

	cfg.Bridge = true
	bridge := Item{"bridge", "br-int", "with the other ports vm1"}
	wantItems(t, "found with the bridge", find(t, cfg), bridge)
	wantItems(t, "removed with the bridge", remove(t, cfg), bridge)
	wantItems(t, "removed with the bridge afterwards", remove(t, cfg))
}

// TestCleanupAway shows that without Open vSwitch the rest is removed, and what
// is left the next time.
func TestCleanupAway(t *testing.T) {
	o, cfg := newHost(t)
	o.StopVswitchd()
	o.StopDB()
	r, err := Remove(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "is Open vSwitch running?") {
		t.Errorf("without Open vSwitch: %v", err)
	}
	if len(r.Items) != 3 { // a sysctl and two files
		t.Errorf("removed %v", r.Items)
	}
	o.StartDB()
	o.StartVswitchd()
	wantItems(t, "removed when it is back", remove(t, cfg), Item{"port", "br-int-dsrgw", "internal, in br-int"}, attached, told, hold)
}

// TestCleanupKeepsWhatRestoringNeeds shows that a setting that cannot be
// restored is not forgotten.
func TestCleanupKeepsWhatRestoringNeeds(t *testing.T) {
	_, cfg := newHost(t)
	path := filepath.Join(cfg.RunDir, "untunnel.json")
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Remove(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("with a damaged file: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
