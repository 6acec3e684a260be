package modes

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	o.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=here")
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
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
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ends with %v, want status 1", err)
	}
	const away = "BAD path MTU away (10.0.1.99): does not answer pings, so that the path to it is unknown; " +
		"see whether that host is up, and let ICMP echo requests through to it\n"
	const far = "BAD path MTU far (10.0.2.11): the path takes IP packets of at most 1400 bytes, and eth0 here sends up to 1500; " +
		"raise the MTU on the path to 1500, or set workloads to 1338\n"
	want := "ok  permissions: runs with all that the agent needs\n" +
		fmt.Sprintf("ok  agent: runs with pid %d in %s\n", os.Getpid(), dir) +
		"ok  Open vSwitch: VERSION answers; its system-id is here, and br-int is there, with datapath dummy\n" +
		"ok  kernel: datapath dummy needs nothing of it\n" +
		"ok  interfaces: all of Open vSwitch's can be used\n" +
		"ok  tunnel address: 10.0.1.10 of eth0, whose MTU of 1500 leaves workloads 1438\n" +
		"BAD flows: br-int holds no flows of TupleNet, so that no workload here is reached; start the agent, or see its log if it runs\n" +
		"ok  etcd default (" + endpoint + "): VERSION, leads, answers in TIME\n" +
		"ok  etcd: knows 4 chassis\n" +
		"ok  chassis here (10.0.1.10): is this host\n" +
		"clock\n" +
		"ok  workload MTU: 1438 bytes on every host that tells it (4 of 4)\n" +
		"ok  tunnel source: 10.0.1.10, to each of 3 chassis\n" +
		away + far +
		"ok  path MTU near (10.0.1.1): 1500 bytes\n" +
		"BAD containers: the agent attaches none: nobody answers at " + dir + "/attach.sock; " +
		"see its log: it may wait for etcd or Open vSwitch; if it is of an earlier version, start it anew\n"
	if diff := cmp.Diff(want, unvarying(out)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	// The way is wide, and nobody is away: all is well with the paths.
	command(t, "ip", "-n", ns("router"), "link", "set", "eth1", "mtu", "1500")
	command(t, "ip", "-n", ns("far"), "link", "set", "eth0", "mtu", "1500")
	command(t, "ip", "-n", ns("router"), "address", "add", "10.0.1.99/24", "dev", "eth0")
	command(t, "ip", "-n", ns("here"), "neighbour", "flush", "all") // that there is nobody at 10.0.1.99
	out, _, err = doctor("--json", "--interface", "10.0.1.10", "--only", "tunnel address", "--only", "path MTU", "--only", "chassis")
	want = `{"check":"tunnel address","ok":true,"text":"10.0.1.10 of eth0, whose MTU of 1500 leaves workloads 1438"}
{"check":"chassis","ok":true,"subject":"here (10.0.1.10)","text":"is this host"}
{"check":"path MTU","ok":true,"subject":"away (10.0.1.99)","text":"1500 bytes"}
{"check":"path MTU","ok":true,"subject":"far (10.0.2.11)","text":"1500 bytes"}
{"check":"path MTU","ok":true,"subject":"near (10.0.1.1)","text":"1500 bytes"}
`
	if diff := cmp.Diff(want, out); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}

	// A second address, which a route prefers.
	command(t, "ip", "-n", ns("here"), "address", "add", "10.0.1.11/24", "dev", "eth0")
	command(t, "ip", "-n", ns("here"), "route", "add", "10.0.2.0/24", "via", "10.0.1.1", "src", "10.0.1.11")
	out, _, _ = doctor("--interface", "10.0.1.10", "--only", "tunnel source")
	want = "BAD tunnel source far (10.0.2.11): what is sent to it leaves with the source address 10.0.1.11, from which it takes nothing, instead of 10.0.1.10; " +
		"give the route to 10.0.2.11 the source 10.0.1.10 (ip route replace ... src 10.0.1.10), or name the other address with --interface\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	command(t, "ip", "-n", ns("here"), "route", "del", "10.0.2.0/24")
	command(t, "ip", "-n", ns("here"), "address", "del", "10.0.1.11/24", "dev", "eth0")

	// Without a tunnel address, or an etcd, it goes on with what does not need
	// them; so also with a NIC that is not what the record says, or down.
	expect := func(args []string, lines ...string) {
		t.Helper()
		out, _, err := doctor(args...)
		// The kernel takes its time to notice that a link is gone.
		for range 20 {
			if !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(out, line+"\n") }) {
				break
			}
			time.Sleep(100 * time.Millisecond)
			out, _, err = doctor(args...)
		}
		for _, line := range lines {
			if !strings.Contains(out, line+"\n") || err == nil {
				t.Errorf("%v: %v, it does not say %q:\n%s", args, err, line, out)
			}
		}
	}
	expect([]string{"--interface", "eth9"},
		"BAD tunnel address: none of the interfaces eth9 has an IPv4 address that others could reach; name the one that carries the tunnels, or its address, with --interface",
		"ok  chassis here (10.0.1.10): is this host", "ok  workload MTU: 1438 bytes on every host that tells it (4 of 4)")
	expect([]string{"--endpoints", "10.0.1.10:1"}, "ok  interfaces: all of Open vSwitch's can be used",
		"BAD etcd 10.0.1.10:1: etcd member does not work (dial tcp 10.0.1.10:1: connect: connection refused); see whether it runs and can be reached from here")
	expect([]string{"--rundir", filepath.Join(dir, "nope")},
		"BAD agent: there is no run directory "+filepath.Join(dir, "nope")+", so that no agent runs with it; name the agent's with --rundir, or start an agent")
	command(t, "ip", "-n", ns("here"), "link", "set", "eth0", "mtu", "1400")
	expect([]string{"--only", "tunnel address"}, "BAD tunnel address: eth0 has MTU 1400, which leaves workloads 1338, and the chassis record says 1438; "+
		"see whether the agent runs, which brings the record up to date; workloads have to be set to what is left")
	o.Ofctl("add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	expect([]string{"--only", "flows"}, "BAD flows: br-int holds 1 flows of TupleNet; what they should be cannot be told: no agent has noted how it runs in "+dir+
		"; name the agent's run directory with --rundir, or start the agent anew if it is of an earlier version")
	command(t, "ip", "-n", ns("router"), "link", "set", "eth0", "down")
	expect([]string{"--only", "Tunnel ADDRESS"}, "BAD tunnel address: eth0, which has it, has no link; see its cable, or the bridge that it is in")
	command(t, "ip", "-n", ns("here"), "link", "set", "eth0", "down")
	expect([]string{"--only", "tunnel address"}, "BAD tunnel address: eth0, which has it, is down; take it up: ip link set eth0 up")
	if err := st.PutChassis(t.Context(), topology.Chassis{Name: "twin", IP: netip.MustParseAddr("10.0.1.10"), Tick: 2}); err != nil {
		t.Fatal(err)
	}
	expect([]string{"--only", "chassis"}, "BAD chassis here (10.0.1.10): chassis twin has the same address and a newer record, so that this one does not count; "+
		"give one of the hosts another address; if twin is no more, tpctl ch del twin")

	for _, wrong := range []struct{ flag, value, says string }{
		{"--only", "flow", `unknown check "flow"; did you mean "flows"?`},
		{"--timeout", "0s", "invalid --timeout 0s"},
		{"--endpoints", "10.0.1.10", `invalid --endpoints "10.0.1.10", want HOST:PORT`},
	} {
		if out, stderr, err := doctor(wrong.flag, wrong.value); err == nil || out != "" || !strings.Contains(stderr, wrong.says) {
			t.Errorf("%s %s: %v, %q, %q", wrong.flag, wrong.value, err, out, stderr)
		}
	}
}

// unvarying returns what the doctor says without what differs from machine to
// machine and from run to run.
func unvarying(out string) string {
	for _, r := range []struct{ pattern, with string }{
		{`Open vSwitch: \S+ answers`, "Open vSwitch: VERSION answers"},
		{`: 3\.\S+, leads, answers in \S+`, ": VERSION, leads, answers in TIME"},
		{`(ok |note) clock: .*`, "clock"},
	} {
		out = regexp.MustCompile(r.pattern).ReplaceAllString(out, r.with)
	}
	return out
}

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
