package agent

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ownNetwork moves the test into a network namespace of its own, which ends
// with it: its thread is never used for anything else.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace (needs root): %v", err)
	}
}

// addDevice makes a device. A bridge is one that every kernel has.
func addDevice(t *testing.T, name string) netlink.Link {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := writeSysctl(name, value); err != nil {
		t.Fatal(err)
	}
}

func wantSysctls(t *testing.T, when string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got, err := readSysctl(name); err != nil || got != value {
			t.Errorf("%s: %s is %q, %v, want %q", when, name, got, err, value)
		}
	}
}

// The network of a test begins with these values.
var (
	untouched = map[string]string{
		"net.ipv4.ip_forward":                  "0",
		"net.ipv4.conf.all.accept_redirects":   "0",
		"net.ipv4.conf.all.rp_filter":          "2",
		"net.ipv4.conf.eth0/100.forwarding":    "1",
		"net.ipv4.conf.eth1.forwarding":        "0",
		"net.ipv4.conf.br-int-dsrgw.rp_filter": "1",
	}
	untunnelled = map[string]string{
		"net.ipv4.ip_forward":                     "1",
		"net.ipv4.conf.all.rp_filter":             "0",
		"net.ipv4.conf.br-int-dsrgw.rp_filter":    "0",
		"net.ipv4.conf.br-int-dsrgw.forwarding":   "1",
		"net.ipv6.conf.br-int-dsrgw.disable_ipv6": "1",
	}
)

func untunnelNetwork(t *testing.T) {
	t.Helper()
	ownNetwork(t)
	for _, name := range []string{hostStackDevice, "eth0.100", "eth1"} {
		addDevice(t, name)
	}
	setSysctl(t, "net.ipv4.ip_forward", "0")
	for name, value := range untouched {
		if name != "net.ipv4.ip_forward" {
			setSysctl(t, name, value)
		}
	}
	wantSysctls(t, "before", untouched)
}

func enable(t *testing.T, rundir string) {
	t.Helper()
	if err := enableUntunnel(rundir); err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, rundir string) []string {
	t.Helper()
	restored, err := RestoreSysctls(rundir)
	if err != nil {
		t.Fatal(err)
	}
	return restored
}

func TestUntunnelSysctls(t *testing.T) {
	untunnelNetwork(t)
	dir := t.TempDir()
	enable(t, dir)
	wantSysctls(t, "enabled", untunnelled)
	link, err := netlink.LinkByName(hostStackDevice)
	if err != nil || link.Attrs().RawFlags&unix.IFF_UP == 0 {
		t.Errorf("the device is not up (%v)", err)
	}
	kept, err := os.ReadFile(keptPath(dir))
	if err != nil {
		t.Fatal(err)
	}

	enable(t, dir) // as when the agent starts again
	if again, err := os.ReadFile(keptPath(dir)); err != nil || string(again) != string(kept) {
		t.Errorf("the second start keeps %s, %v, the first %s", again, err, kept)
	}
	changed, err := ChangedSysctls(dir)
	if err != nil {
		t.Fatal(err)
	}
	restored := restore(t, dir)
	wantSysctls(t, "restored", untouched)
	var names []string
	for _, s := range changed {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, restored) || !slices.Contains(restored, ipForward) {
		t.Errorf("restored %q, announced %q", restored, names)
	}
	if again := restore(t, dir); again != nil {
		t.Errorf("restored a second time: %q", again)
	}
	if _, err := os.Stat(keptPath(dir)); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", keptPath(dir), err)
	}
}

// TestUntunnelChangedByOthers shows that a value that somebody has set meanwhile
// stays, and so does one that was right from the start.
func TestUntunnelChangedByOthers(t *testing.T) {
	untunnelNetwork(t)
	setSysctl(t, ipForward, "1") // somebody else routes, too
	dir := t.TempDir()
	enable(t, dir)
	setSysctl(t, "net.ipv4.conf.all.rp_filter", "1")
	if restored := restore(t, dir); slices.Contains(restored, ipForward) || slices.Contains(restored, "net.ipv4.conf.all.rp_filter") {
		t.Errorf("restored %q", restored)
	}
	wantSysctls(t, "restored", map[string]string{
		ipForward: "1", "net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.br-int-dsrgw.rp_filter": "1"})
}

// TestUntunnelDeviceGone shows that the device may go first, or come anew.
func TestUntunnelDeviceGone(t *testing.T) {
	untunnelNetwork(t)
	dir := t.TempDir()
	enable(t, dir)
	remove := func() {
		t.Helper()
		link, err := netlink.LinkByName(hostStackDevice)
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remove()
	if err := enableUntunnel(dir); err == nil || !strings.Contains(err.Error(), hostStackDevice) {
		t.Errorf("without the device: %v", err)
	}
	addDevice(t, hostStackDevice)
	enable(t, dir)
	wantSysctls(t, "enabled again", untunnelled)
	remove()
	restore(t, dir)
	wantSysctls(t, "restored", map[string]string{ipForward: "0", "net.ipv4.conf.all.rp_filter": "2", acceptRedirects: "0"})
}

// TestUntunnelKeepsFirst shows that nothing is changed that could not be
// restored.
func TestUntunnelKeepsFirst(t *testing.T) {
	untunnelNetwork(t)
	dir := t.TempDir()
	if err := enableUntunnel(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "writable") {
		t.Errorf("without a run directory: %v", err)
	}
	wantSysctls(t, "not kept", untouched)
	if err := os.WriteFile(keptPath(dir), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := enableUntunnel(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("with a damaged file: %v", err)
	}
	if _, err := RestoreSysctls(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("restore from a damaged file: %v", err)
	}
	wantSysctls(t, "damaged", untouched)
}

func TestSysctlErrors(t *testing.T) {
	const name = "net.ipv4.conf.none0.forwarding"
	if _, err := readSysctl(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("read: %v", err)
	}
	if err := writeSysctl(name, "1"); err == nil || !strings.Contains(err.Error(), "sysctl -w "+name+"=1") {
		t.Errorf("write: %v", err)
	}
}
