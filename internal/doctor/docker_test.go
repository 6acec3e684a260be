package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// What is told of Docker on hosts that have nothing of it, only a socket, or a
// configuration with and without a mistake.
func TestCheckDocker(t *testing.T) {
	dir, runDir := t.TempDir(), fakeAgent(t)
	file, socket := filepath.Join(dir, "cnm.json"), filepath.Join(dir, "tuplenet.sock")
	want := func(want ...string) {
		t.Helper()
		found := checkDocker(t.Context(), file, socket, runDir)
		if len(found) != len(want) {
			t.Fatalf("found %v, want %d", found, len(want))
		}
		for i, f := range found {
			if got := f.String(); !strings.HasPrefix(got, want[i]) {
				t.Errorf("found %q, want it to begin with %q", got, want[i])
			}
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want()
	write(socket, "")
	want("note  of Docker: the plugin tpcnm was started with another configuration than " + file + "; see what it finds: tpcnm --config FILE --check")
	write(file, `{"etcd_cluster": "127.0.0.1:1", "scop": "local"}`)
	want("BAD  of Docker: " + file + `: unknown key "scop"; did you mean "scope"?`)
	write(file, fmt.Sprintf(`{"etcd_cluster": "127.0.0.1:1", "rundir": %q, "socket": %q, "docker_unix_sock": %q}`, runDir, socket, filepath.Join(dir, "docker.sock")))
	want("BAD  of Docker: etcd 127.0.0.1:1: does not answer: ", "BAD  of Docker: Docker: ask the Docker Engine at ", "BAD  of Docker: plugin: nobody answers at "+socket)
	if found := checkDocker(t.Context(), file, socket, t.TempDir()); found != nil {
		t.Errorf("a configuration for another agent: %v", found)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	want() // a host without Docker
	write(socket, "")

	// tpcnm --check has it all, and Open vSwitch.
	found := Docker(t.Context(), file, dir)
	for i, check := range []string{"configuration", "etcd", "agent", "Docker", "plugin", "Open vSwitch"} {
		if i >= len(found) || found[i].Check != check || found[i].OK != (check == "configuration" || check == "agent") {
			t.Fatalf("found %v, want %s there", found, check)
		}
	}
}

// Open vSwitch has to have the bridge that the agent works with; if there is none,
// the one that the configuration names.
func TestBridgeOfDocker(t *testing.T) {
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	file := filepath.Join(t.TempDir(), "cnm.json")
	for runDir, want := range map[string]string{
		fakeAgent(t):   "ok  Open vSwitch: ",
		"/nonexistent": "BAD Open vSwitch: has no integration bridge br-x; start the agent, which makes it",
	} {
		if err := os.WriteFile(file, fmt.Appendf(nil, `{"etcd_cluster": "127.0.0.1:1", "rundir": %q, "docker_unix_sock": "/nonexistent", "bridge": "br-x"}`, runDir), 0o600); err != nil {
			t.Fatal(err)
		}
		found := Docker(t.Context(), file, o.RunDir())
		if last := found[len(found)-1].String(); !strings.HasPrefix(last, want) {
			t.Errorf("found %q, want it to begin with %q", last, want)
		}
	}
}
