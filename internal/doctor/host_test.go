package doctor

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/embedded"
	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/status"
	"tuplenet/internal/store"
)

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// hostOf is a host with an Open vSwitch and no etcd.
func hostOf(o *ovstest.OVS) *Env {
	return &Env{OVS: ovs.Config{RunDir: o.RunDir()}, Reach: env().Reach}
}

func TestAgent(t *testing.T) {
	e := env()
	e.RunDir = t.TempDir()
	if got := found(t, e, "agent"); !strings.HasPrefix(got, "BAD agent: none holds the run directory "+e.RunDir) {
		t.Errorf("without an agent it says %q", got)
	}
	running, err := agent.TakeRunDir(t.Context(), e.RunDir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fmt.Sprintf("ok  agent: runs with pid %d in %s\n", os.Getpid(), e.RunDir), found(t, e, "agent")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	running.Release()
	if got := found(t, e, "agent"); !strings.HasPrefix(got, "BAD") {
		t.Errorf("after the agent it says %q", got)
	}
}

func TestRunDirectory(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nope")
	e := &Env{RunDir: nowhere, OVS: ovs.Config{RunDir: nowhere}}
	if diff := cmp.Diff(fmt.Sprintf("BAD agent: there is no run directory %s, so that no agent runs with it; name the agent's with --rundir, or start an agent\n", nowhere),
		found(t, e, "agent")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := found(t, e, "permissions"); got != "ok  permissions: runs with all that the agent needs\n" {
		t.Errorf("as root it says %q", got)
	}
	if err := os.WriteFile(nowhere, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := found(t, e, "agent"); !strings.HasPrefix(got, "BAD agent: "+nowhere+" is no directory") {
		t.Errorf("with a file for a directory it says %q", got)
	}
	e.RunDir = t.TempDir()
	command(t, "mount", "-t", "tmpfs", "-o", "ro", "none", e.RunDir)
	defer command(t, "umount", e.RunDir)
	if got := found(t, e, "permissions"); !strings.Contains(got, "BAD permissions "+e.RunDir+": the run directory cannot be written to") {
		t.Errorf("with a run directory that is read-only it says %q", got)
	}
}

// Nobody waits long for an Open vSwitch that hangs, or is told to start one that
// he may not speak to.
func TestOpenVSwitchSilent(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	o.PauseVswitchd()
	defer o.ResumeVswitchd()
	begun := time.Now()
	got := found(t, hostOf(o), "Open vSwitch", "flows", "BFD")
	if took := time.Since(begun); took > 2*ovsPatience+2*time.Second {
		t.Errorf("it takes %s", took)
	}
	if !strings.HasPrefix(got, "BAD Open vSwitch: ovsdb-server answers, and ovs-vswitchd does not: ") || !strings.Contains(got, "\nBAD flows: ") || strings.Count(got, "\n") != 2 {
		t.Errorf("it says %q", got)
	}

	e := env()
	e.health = once[ovs.Health]{done: true, err: fmt.Errorf("db.sock: %w", fs.ErrPermission)}
	if got := found(t, e, "Open vSwitch"); got != "BAD Open vSwitch: db.sock: permission denied; run it as root\n" {
		t.Errorf("to one who may not it says %q", got)
	}
}

// An Open vSwitch that is away, that lacks what an agent needs, and that somebody
// has put out of order.
func TestOpenVSwitch(t *testing.T) {
	away := &Env{OVS: ovs.Config{RunDir: t.TempDir()}}
	if got := found(t, away, "Open vSwitch"); !strings.HasPrefix(got, "BAD Open vSwitch: ") || !strings.Contains(got, "; start Open vSwitch") {
		t.Errorf("without Open vSwitch it says %q", got)
	}
	for _, check := range []string{"flows", "interfaces", "checksums", "kernel", "BFD"} {
		if got := found(t, away, check); !strings.HasPrefix(got, "BAD Open vSwitch: ") || strings.Count(got, "\n") != 1 {
			t.Errorf("check %s of an Open vSwitch that is away says %q", check, got)
		}
	}

	o := ovstest.Start(t)
	version := strings.TrimSpace(o.Appctl("version")) // ovs-vswitchd (Open vSwitch) 3.1.0
	version = version[strings.LastIndex(version, " ")+1:]
	says := func(want string) {
		t.Helper()
		e := hostOf(o)
		if diff := cmp.Diff(want, found(t, e, "Open vSwitch", "interfaces", "flows")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	says("BAD Open vSwitch: has no integration bridge br-int; start the agent, which makes it\n")
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	there := "ok  Open vSwitch: " + version + " answers; its system-id is hv-test, and br-int is there, with datapath dummy\n"
	const usable = "ok  interfaces: all of Open vSwitch's can be used\n"
	o.Ofctl("add-flow", "br-int", "cookie=0x1,priority=2,actions=drop") // of others
	says(there + usable + "BAD flows: br-int holds no flows of TupleNet, so that no workload here is reached; start the agent, or see its log if it runs\n")
	o.Ofctl("add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	const unknown = "BAD flows: br-int holds 1 flows of TupleNet; what they should be cannot be told: the tunnel address is not known; see what is bad of it\n"
	says(there + usable + unknown)

	o.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "system-id", "--", "del-fail-mode", "br-int", "--", "set", "Bridge", "br-int", "protocols=OpenFlow10,OpenFlow13")
	o.Ofctl("-OOpenFlow13", "add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	const nameless = "BAD Open vSwitch: has no system-id, so that this host has no name; give it one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME\n"
	const standalone = "BAD Open vSwitch br-int: its fail mode is standalone, in which it forwards without flows, as an ordinary switch does; set it: ovs-vsctl set-fail-mode br-int secure\n"
	got := found(t, hostOf(o), "Open vSwitch")
	if diff := cmp.Diff(nameless+standalone+"BAD Open vSwitch br-int: does not speak OpenFlow 1.4, but OpenFlow10, OpenFlow13; let it: ovs-vsctl add bridge br-int protocols OpenFlow14\n", got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	o.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=a/b", "--", "set-fail-mode", "br-int", "secure", "--", "clear", "Bridge", "br-int", "protocols",
		"--", "add-port", "br-int", "if1", "--", "set", "Interface", "if1", "type=dummy", "external_ids:iface-id=lsp-alice",
		"--", "add-port", "br-int", "if2", "--", "set", "Interface", "if2", "type=dummy", "external_ids:iface-id=lsp-alice",
		"--", "add-port", "br-int", "tupleNet-168430081", "--", "set", "Interface", "tupleNet-168430081", "type=geneve", "options:remote_ip=10.10.10.1", "options:key=flow")
	o.Exec("ovs-vsctl", "--no-wait", "--db=unix:"+o.DBSock(), "add-port", "br-int", "tap7", "--", "set", "Interface", "tap7", "type=nonsense")
	e := hostOf(o)
	var broken string
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(broken, "tap7") && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		e = hostOf(o)
		broken = found(t, e, "interfaces")
	}
	for _, want := range []string{
		"BAD interfaces tap7: Open vSwitch cannot use it: ", "; bring its device back, or take it out: ovs-vsctl del-port tap7\n",
		"BAD interfaces lsp-alice: if1 and if2 have this iface-id, of which the first counts alone; take what is left of before out: ovs-vsctl del-port if2\n",
		"BAD interfaces tupleNet-168430081: the tunnel sends UDP without checksums, so that damaged packets get through and some NICs are slow; " +
			"set it: ovs-vsctl set Interface tupleNet-168430081 options:csum=true\n"} {
		if !strings.Contains(broken, want) {
			t.Errorf("of interfaces that are broken it does not say %q: %s", want, broken)
		}
	}
	if got := found(t, e, "Open vSwitch"); !strings.HasPrefix(got, "BAD Open vSwitch: its system-id is an ") || !strings.Contains(got, "a/b") {
		t.Errorf("of a bad system-id it says %q", got)
	}

	o.StopVswitchd()
	got = found(t, hostOf(o), "Open vSwitch")
	if !strings.Contains(got, "BAD Open vSwitch: ovsdb-server answers, and ovs-vswitchd does not: ") || !strings.Contains(got, "; start ovs-vswitchd, or see its log\n") {
		t.Errorf("without ovs-vswitchd it says %q", got)
	}
}

func TestOldOpenVSwitch(t *testing.T) {
	for version, old := range map[string]bool{"2.9.8": true, "1.11.0": true, "2.10.0": false, "2.17.9": false, "3.1.0": false, "unheard-of": false} {
		e := env()
		e.health.value.Version, e.health.value.FailMode = version, "secure"
		if got := found(t, e, "Open vSwitch"); strings.Contains(got, "install 2.10 or later") != old {
			t.Errorf("of version %s it says %q", version, got)
		}
	}
}

// Who has taken Geneve's port is named.
func TestGenevePort(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:6081")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	owner := fmt.Sprintf("doctor.test (pid %d)", os.Getpid())
	e := env()
	if got, want := found(t, e, "kernel"), "ok  kernel: datapath dummy needs nothing of it\nnote kernel: UDP port 6081, Geneve's, is in use by "+owner+"; stop that if it is no Open vSwitch\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	e.health.value.Datapath = "system"
	if got, want := found(t, e, "kernel"), "BAD kernel: UDP port 6081, Geneve's, is in use by "+owner+", so that no tunnel receives; stop that, or have it use another port\n"; !strings.HasSuffix(got, want) {
		t.Errorf("it says %q, want %q", got, want)
	}
	conn.Close()
	if got := found(t, e, "kernel"); strings.Contains(got, "6081") {
		t.Errorf("the port is free, and it says %q", got)
	}
}

// A veth that leads into the userspace datapath, whose other end is in another
// network namespace.
func TestChecksums(t *testing.T) {
	workload, device := fmt.Sprintf("doctor%d-vm", os.Getpid()), fmt.Sprintf("dr%d", os.Getpid())
	command(t, "ip", "netns", "add", workload)
	t.Cleanup(func() { command(t, "ip", "netns", "del", workload) })
	command(t, "ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", workload)
	// A namespace gets a number here only once somebody asks; this is what makes it.
	command(t, "ip", "link", "set", device, "up")
	e := env()
	e.health.value.Datapath = "netdev"
	e.health.value.Devices = []ovs.Device{{Name: device, Bridge: "br-int"}, {Name: "lo", Bridge: "br-int"}, {Name: "is-not-there", Bridge: "br-int"}}
	want := fmt.Sprintf("BAD checksums %[1]s: eth0 in /run/netns/%[2]s leaves checksums to its device, which the userspace datapath does not compute: "+
		"TCP and UDP get lost, pings do not; have its kernel compute them: nsenter --net=/run/netns/%[2]s ethtool -K eth0 tx off\n", device, workload)
	if diff := cmp.Diff(want, found(t, e, "checksums")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	e.health.value.TSO = true // the datapath knows what to do
	if got := found(t, e, "checksums"); got != "" {
		t.Errorf("with userspace TSO it says %q", got)
	}
	e.health.value.TSO = false
	command(t, "ip", "netns", "exec", workload, "ethtool", "-K", "eth0", "tx", "off")
	if got := found(t, e, "checksums"); got != "ok  checksums: all 1 that send into the userspace datapath compute them\n" {
		t.Errorf("once they are computed it says %q", got)
	}
	e.health.value.Datapath = "system"
	if got := found(t, e, "checksums"); got != "" {
		t.Errorf("of the kernel's datapath it says %q", got)
	}
}

// What time others have, and whether the own record is of the future.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "etcd.sock")
	server, err := embedded.Start(t.Context(), embedded.Config{DataDir: filepath.Join(dir, "data"), Fast: true,
		ClientURLs: []string{endpoint}, PeerURLs: []string{"unix://" + filepath.Join(dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	st, err := store.Open(t.Context(), store.Config{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ahead := map[string]time.Duration{"hv2": 0, "hv3": time.Hour}
	for name, by := range ahead {
		commands := st.Commands(t.Context(), name)
		go func() {
			for c := range commands {
				answer, err := status.Report{Time: time.Now().Add(by)}.Answer(c.ID, name)
				if err == nil {
					err = st.Answer(t.Context(), []store.Answer{answer})
				}
				if err != nil && t.Context().Err() == nil {
					t.Error(err)
				}
			}
		}()
	}
	e := env(chassis("hv1", "192.168.1.10", time.Now().Add(24*time.Hour).Unix(), 0), chassis("hv2", "192.168.1.11", 1, 0), chassis("hv3", "192.168.1.12", 1, 0))
	e.Reach = func() (*store.Store, error) {
		return store.New(store.Config{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)})
	}
	var got string
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(got, "hv3") && time.Now().Before(deadline); {
		got = found(t, e, "clock") // once their watches have begun
	}
	lines := strings.SplitAfter(got, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "BAD clock: this host's record in etcd is of 24h0m0s from now; set the clock right") &&
		!strings.HasPrefix(lines[1], "BAD clock: this host's record in etcd is of 23h59m") ||
		!strings.HasPrefix(lines[2], "BAD clock hv3: its clock says ") || !strings.HasSuffix(lines[2], "; set the wrong one right, and have both kept by NTP\n") {
		t.Errorf("it says %q", got)
	}
	if !strings.HasPrefix(lines[0], "ok  clock: is synchronised") && !strings.HasPrefix(lines[0], "note clock: ") {
		t.Errorf("of this machine it says %q", lines[0])
	}
	if got := found(t, e, "agent"); strings.Contains(got, "does not answer") {
		t.Errorf("nobody holds the run directory, and of its agent it says %q", got)
	}
}
