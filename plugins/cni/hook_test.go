package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"cni.tuplenet/attach"
)

// echo makes the test binary, called as the plugin, show that the hook has let
// it go.
const echo = "TUPLENET_TEST_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echo) != "" {
		os.Exit(Serve(skel.CNIFuncs{Add: func(args *skel.CmdArgs) error {
			_, err := os.Stdout.Write(append([]byte("let go: "), args.StdinData...))
			return errors.Join(err, attach.Errorf(attach.CodeFull, "no port"))
		}}))
	}
	os.Exit(m.Run())
}

func TestCalled(t *testing.T) {
	for _, test := range []struct {
		argv    string
		command string
		want    bool
	}{
		{"/opt/cni/bin/tpcni", "ADD", true},
		{"tpcni", "", true},
		{"tpctl ls show", "ADD", false},
		{"tpcnm", "ADD", false},
		{"tuplenet", "ADD", true},
		{"tuplenet", "", false},
		{"tuplenet agent", "ADD", false},
		{"tuplenet help", "ADD", false},
		{"tuplenet --help", "ADD", false},
		{"tuplenet -h", "ADD", false},
		{"tuplenet --interface eth0", "ADD", false},
		{"/tmp/modes.test -test.v", "ADD", false},
		{"tuplenet --interface eth0", "", false},
		{"", "ADD", false},
	} {
		if Called(strings.Fields(test.argv), test.command) != test.want {
			t.Errorf("called by %q with CNI_COMMAND=%s is not %t", test.argv, test.command, test.want)
		}
	}
}

// run runs a program as the plugin of that name, and returns its exit status.
func run(t *testing.T, program, name, stdin string, env ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := &exec.Cmd{Path: program, Args: []string{name}, Env: append(os.Environ(), env...), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestUnderlayGoesOn shows that the rest of the program gets to run for the
// configuration of an underlay, with the same standard input, however long that
// is, and for no other.
func TestUnderlayGoesOn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{echo + "=1", "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/none", "CNI_IFNAME=eth0", "CNI_PATH=/none", "TUPLENET_RUNDIR=/nonexistent"}
	config := with(t, `{"underlay_bridge": "br-node", "node": "n", "labels": "`+strings.Repeat("x", 1<<20)+`"}`)
	stdout, _, status := run(t, self, "tpcni", config, env...)
	if rest, ok := strings.CutPrefix(stdout, "let go: "+config); !ok || status != 1 || !strings.Contains(rest, `"code": 100`) || !strings.Contains(rest, `"cniVersion": "0.3.0"`) {
		t.Errorf("status %d, %.200q", status, stdout)
	}
	stdout, _, status = run(t, self, "tpcni", tutorial, env...)
	if status != 1 || !strings.Contains(stdout, `"code": 3`) {
		t.Errorf("status %d, %s", status, stdout)
	}
}

// binary builds the program that the plugin is part of.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tuplenet")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func TestBinary(t *testing.T) {
	program := binary(t)
	s := newSetup(t, tutorial)
	env := func(command string) []string {
		return []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=c1", "CNI_NETNS=" + s.args.Netns, "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin"}
	}

	for _, name := range []string{"tpcni", "/opt/cni/bin/tpcni", "tuplenet"} {
		stdout, stderr, status := run(t, program, name, `{"cniVersion": "1.1.0"}`, "CNI_COMMAND=VERSION")
		if status != 0 || stderr != "" || strings.TrimSpace(stdout) != `{"cniVersion":"1.1.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}` {
			t.Errorf("VERSION as %s: status %d, %s%s", name, status, stdout, stderr)
		}
	}

	stdout, stderr, status := run(t, program, "tpcni", tutorial, env("ADD")...)
	var result struct {
		CNIVersion string
		IPs        []struct{ Version, Address, Gateway string }
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || status != 0 || stderr != "" {
		t.Fatalf("ADD: status %d, %v, %s%s", status, err, stdout, stderr)
	}
	if result.CNIVersion != "0.3.0" || len(result.IPs) != 1 || result.IPs[0].Address != "10.20.1.5/24" || result.IPs[0].Version != "4" {
		t.Errorf("ADD: %s", stdout)
	}
	find(t, s.container, "eth0")
	if _, _, status := run(t, program, "tpcni", tutorial, env("DEL")...); status != 0 {
		t.Errorf("DEL: status %d", status)
	}
	absent(t, s.container, "eth0")

	for _, test := range []struct {
		name, stdin string
		env         []string
		want        string
	}{
		{"no configuration", "", env("ADD"), `"msg": "the network configuration is no JSON: unexpected end of JSON input"`},
		{"a list", "[]", env("ADD"), `"msg": "the network configuration is no JSON object, {...}"`},
		{"a name that is a number", with(t, `{"name": 1}`), env("DEL"), `"msg": "the network configuration has an invalid name, want a string"`},
		{"a version that is a number", with(t, `{"cniVersion": 1}`), env("DEL"), `"msg": "the network configuration has an invalid cniVersion, want a string"`},
		{"a value of the wrong type", with(t, `{"mtu": "1400"}`), env("ADD"), `"msg": "network tpcni-network: invalid mtu: a string, want a whole number"`},
		{"a version that there is not", with(t, `{"cniVersion": "9.0.0"}`), env("ADD"), `"code": 1`},
		{"CHECK before it was known", tutorial, env("CHECK"), `"code": 1`},
		{"no such verb", tutorial, env("add"), `"code": 4`},
		{"no container", tutorial, []string{"CNI_COMMAND=ADD"}, `"code": 4`},
		{"no agent", with(t, `{"rundir": "/nonexistent"}`), env("ADD"), `"code": 11`},
		{"no agent for STATUS", with(t, `{"rundir": "/nonexistent", "cniVersion": "1.1.0"}`), env("STATUS"), `"code": 50`},
	} {
		stdout, _, status := run(t, program, "tpcni", test.stdin, test.env...)
		if status != 1 || !strings.Contains(stdout, test.want) || !strings.Contains(stdout, `"cniVersion": "`) {
			t.Errorf("%s: status %d, %s, want %s", test.name, status, stdout, test.want)
		}
	}

	// What is left is not initialised.
	_, trace, _ := run(t, program, "tpcni", "", "CNI_COMMAND=VERSION", "GODEBUG=inittrace=1")
	if !strings.Contains(trace, "init github.com/containernetworking/cni/") {
		t.Fatalf("inittrace tells nothing: %s", trace)
	}
	for _, heavy := range []string{"go.etcd.io/etcd/server/v3/etcdserver ", "google.golang.org/grpc ", "github.com/prometheus/client_golang/prometheus ", "tuplenet/"} {
		if strings.Contains(trace, "init "+heavy) {
			t.Errorf("%s is initialised before the plugin runs", heavy)
		}
	}
}

// TestKilled shows that the device that an ADD leaves which is killed goes with
// DEL, and that the agent hears of the end.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, tutorial)
	plugged := make(chan struct{})
	s.agent.replies[attach.Plug] = func(io.Writer, attach.Request) bool { close(plugged); return true }
	cmd := &exec.Cmd{Path: self, Args: []string{"tpcni"}, Stdin: strings.NewReader(tutorial),
		Env: append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS="+s.args.Netns, "CNI_IFNAME=eth0", "CNI_PATH=/none")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-plugged
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "the agent hears of the end", func() bool { return s.agent.conversations() == 1 })
	find(t, s.host, s.device)
	if err := del(s.args, io.Discard); err != nil {
		t.Fatal(err)
	}
	absent(t, s.host, s.device)
	absent(t, s.container, "eth0")
}

// TestRuntimeEnded shows that nothing is left of an ADD whose runtime has ended.
func TestRuntimeEnded(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, tutorial)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	cmd := &exec.Cmd{Path: self, Args: []string{"tpcni"}, Stdin: strings.NewReader(tutorial), Stdout: writer,
		Env: append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS="+s.args.Netns, "CNI_IFNAME=eth0", "CNI_PATH=/none")}
	if err := cmd.Run(); err == nil {
		t.Error("ADD has succeeded")
	}
	if asked := s.agent.asked(); asked != "reserve plug keep release" {
		t.Errorf("the agent was asked to %s", asked)
	}
	absent(t, s.host, s.device)
	absent(t, s.container, "eth0")
}

// TestImports shows that the package needs nothing whose path comes late, or
// that takes long to initialise.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "cni.tuplenet").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	allowed := []string{"cni.tuplenet", "github.com/containernetworking/cni/", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys/unix"}
	for path := range strings.FieldsSeq(string(out)) {
		if !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(path, a) }) {
			t.Errorf("package cni imports %s", path)
		}
	}
}
