package modes

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/embedded"
	"tuplenet/internal/agent"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// TestDoctor has the doctor look at three hosts: one that is near, one behind a
// router whose link to it is narrower than the NICs, and one that is away.
//
//	here 10.0.1.10 ── 1500 ── 10.0.1.1 router ── 1400 ── 10.0.2.11 far
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "etcd.sock") // is reached from any network namespace
	server, err := embedded.Start(t.Context(), embedded.Config{DataDir: filepath.Join(dir, "data"), Fast: true,
		ClientURLs: []string{endpoint}, PeerURLs: []string{"unix://" + filepath.Join(dir, "peer.sock")},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	st, err := store.Open(t.Context(), store.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for name, ip := range map[string]string{"here": "10.0.1.10", "near": "10.0.1.1", "far": "10.0.2.11", "away": "10.0.1.99"} {
		if err := st.PutChassis(t.Context(), topology.Chassis{Name: name, IP: netip.MustParseAddr(ip), Tick: 1, MTU: 1438}); err != nil {
			t.Fatal(err)
		}
	}

	ns := func(name string) string { return fmt.Sprintf("doctor%d-%s", os.Getpid(), name) }
	for _, name := range []string{"here", "router", "far"} {
		command(t, "ip", "netns", "add", ns(name))
		t.Cleanup(func() { command(t, "ip", "netns", "del", ns(name)) })
		command(t, "ip", "-n", ns(name), "link", "set", "lo", "up")
	}
	command(t, "ip", "-n", ns("here"), "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", ns("router"))
	command(t, "ip", "-n", ns("far"), "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", ns("router"))
	for _, end := range []struct{ host, nic, address, mtu string }{
		{"here", "eth0", "10.0.1.10/24", "1500"}, {"router", "eth0", "10.0.1.1/24", "1500"},
		{"router", "eth1", "10.0.2.1/24", "1400"}, {"far", "eth0", "10.0.2.11/24", "1400"},
	} {
		command(t, "ip", "-n", ns(end.host), "address", "add", end.address, "dev", end.nic)
		command(t, "ip", "-n", ns(end.host), "link", "set", end.nic, "mtu", end.mtu, "up")
	}
	command(t, "ip", "-n", ns("here"), "route", "add", "default", "via", "10.0.1.1")
	command(t, "ip", "-n", ns("far"), "route", "add", "default", "via", "10.0.2.1")
	command(t, "ip", "netns", "exec", ns("router"), "sysctl", "-qw", "net.ipv4.ip_forward=1")

	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	o.Ofctl("add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	running, err := agent.TakeRunDir(t.Context(), dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Release()

	doctor := func(args ...string) (stdout, stderr string, err error) {
		cmd := exec.Command("ip", append([]string{"netns", "exec", ns("here"), "tuplenet", "doctor", "--timeout", "600ms"}, args...)...)
		cmd.Env = append(os.Environ(), "TUPLENET_ENDPOINTS="+endpoint, "TUPLENET_CONFIG=/dev/null", "TUPLENET_RUNDIR="+dir, "OVS_RUNDIR="+o.RunDir())
		var out, errors strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errors
		err = cmd.Run()
		return out.String(), errors.String(), err
	}

	out, _, err := doctor()
	const away = "BAD path MTU away (10.0.1.99): does not answer pings, so that the path to it is unknown; " +
		"see whether that host is up, and let ICMP echo requests through to it\n"
	const far = "BAD path MTU far (10.0.2.11): the path takes IP packets of at most 1400 bytes, and eth0 here sends up to 1500; " +
		"raise the MTU on the path to 1500, or set workloads to 1338\n"
	want := fmt.Sprintf("ok  agent: runs with pid %d in %s\n", os.Getpid(), dir) +
		"ok  Open vSwitch: answers; its system-id is hv-test, and br-int is there\n" +
		"ok  flows: br-int holds 1 of TupleNet's\n" +
		"ok  etcd: answers, and knows 4 chassis\n" +
		"ok  chassis here (10.0.1.10): is this host\n" +
		"ok  workload MTU: 1438 bytes on every host that tells it (4 of 4)\n" +
		away + far +
		"ok  path MTU near (10.0.1.1): 1500 bytes\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ends with %v, want status 1", err)
	}

	// The way is wide, and nobody is away: all is well.
	command(t, "ip", "-n", ns("router"), "link", "set", "eth1", "mtu", "1500")
	command(t, "ip", "-n", ns("far"), "link", "set", "eth0", "mtu", "1500")
	command(t, "ip", "-n", ns("router"), "address", "add", "10.0.1.99/24", "dev", "eth0")
	command(t, "ip", "-n", ns("here"), "neighbour", "flush", "all") // that there is nobody at 10.0.1.99
	out, _, err = doctor("--json", "--interface", "10.0.1.10")
	want = fmt.Sprintf(`{"check":"agent","ok":true,"text":"runs with pid %d in %s"}
`, os.Getpid(), dir) + `{"check":"Open vSwitch","ok":true,"text":"answers; its system-id is hv-test, and br-int is there"}
{"check":"flows","ok":true,"text":"br-int holds 1 of TupleNet's"}
{"check":"etcd","ok":true,"text":"answers, and knows 4 chassis"}
{"check":"chassis","ok":true,"subject":"here (10.0.1.10)","text":"is this host"}
{"check":"workload MTU","ok":true,"text":"1438 bytes on every host that tells it (4 of 4)"}
{"check":"path MTU","ok":true,"subject":"away (10.0.1.99)","text":"1500 bytes"}
{"check":"path MTU","ok":true,"subject":"far (10.0.2.11)","text":"1500 bytes"}
{"check":"path MTU","ok":true,"subject":"near (10.0.1.1)","text":"1500 bytes"}
`
	if diff := cmp.Diff(want, out); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}

	for _, wrong := range []struct{ flag, value, says string }{
		{"--interface", "eth9", "none of the interfaces eth9 has an IPv4 address"},
		{"--timeout", "0s", "invalid --timeout 0s"},
		{"--endpoints", "10.0.1.10", "invalid endpoint"},
	} {
		if out, stderr, err := doctor(wrong.flag, wrong.value); err == nil || out != "" || !strings.Contains(stderr, wrong.says) {
			t.Errorf("%s %s: %v, %q, %q", wrong.flag, wrong.value, err, out, stderr)
		}
	}
}

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
