package doctor

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cni.tuplenet/attach"
)

// fakeAgent answers STATUS: its bridge is br-int, and there is one switch, LS-A.
func fakeAgent(t *testing.T) (runDir string) {
	t.Helper()
	runDir, err := os.MkdirTemp("", "doctor") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runDir) })
	l, err := net.Listen("unix", filepath.Join(runDir, attach.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var r attach.Request
			var a attach.Answer
			if json.NewDecoder(c).Decode(&r) == nil {
				a.Bridge = "br-int"
				for _, s := range r.Switches {
					if s.Name != "LS-A" {
						a.Error = attach.Errorf(attach.CodeUnavailable, "switch %s not found in etcd", s.Name)
					}
				}
				_ = json.NewEncoder(c).Encode(a)
			}
			c.Close()
		}
	}()
	return runDir
}

func TestNetworks(t *testing.T) {
	dir, plugins := t.TempDir(), t.TempDir()
	t.Setenv("TUPLENET_RUNDIR", fakeAgent(t))
	for name, text := range map[string]string{
		"10-tutorial.conf":      `{"cniVersion":"0.3.0","name":"a","type":"tpcni","mtu":1400,"switchname":"LS-A","subnet":"10.20.1.1/24"}`,
		"20-list.conflist":      `{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"tuning"},{"type":"tpcni","switchname":"LS-X"}]}`,
		"30-bridge.conflist":    `{"cniVersion":"1.0.0","name":"c","plugins":[{"type":"bridge"}]}`,
		"40-broken.conf":        `{"type":"tpcni"`,
		"50-typo.conf":          `{"cniVersion":"1.0.0","name":"d","type":"tpcni","switchnam":"LS-A"}`,
		"60-elsewhere.conf":     `{"cniVersion":"1.0.0","name":"e","type":"tpcni","switchname":"LS-A","rundir":"/nonexistent"}`,
		"10-tutorial.conf.orig": `{"type":"tpcni"`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := &Env{Wait: 10 * time.Second}
	found := checkNetworks(env, dir, []string{plugins})
	want := []string{
		"note  " + dir + "/10-tutorial.conf: the plugin tpcni is not in " + plugins + "; unless the container runtime looks elsewhere, link it: tuplenet cni install",
		"BAD  " + dir + "/20-list.conflist: no container can be attached to this network: switch LS-X not found in etcd; mend the file, or what it names",
		"BAD  " + dir + "/40-broken.conf: no container can be attached to this network: it is no JSON: ",
		"BAD  " + dir + "/50-typo.conf: no container can be attached to this network: ",
		"BAD  " + dir + "/60-elsewhere.conf: no container can be attached to this network: no agent of TupleNet answers at /nonexistent/attach.sock",
	}
	if len(found) != len(want) {
		t.Fatalf("found %v, want %d", found, len(want))
	}
	for i, f := range found {
		if got := f.String(); !strings.HasPrefix(got, want[i]) {
			t.Errorf("found %q, want it to begin with %q", got, want[i])
		}
	}
	if err := os.WriteFile(filepath.Join(plugins, "tpcni"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if f := checkNetworks(env, dir, []string{plugins})[0]; !f.OK || f.Note {
		t.Errorf("with the plugin in its place: %s", f)
	}
	if found := checkNetworks(env, filepath.Join(dir, "none"), nil); len(found) > 0 {
		t.Errorf("found in a directory that is not there: %v", found)
	}
}
