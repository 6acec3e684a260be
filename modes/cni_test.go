package modes

import (
	"bytes"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"cni.tuplenet/attach"
)

// TestInstallAsksAgent: the agent knows before a runtime does that a network
// cannot work.
func TestInstallAsksAgent(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TUPLENET_RUNDIR", dir)
	listener, err := net.Listen("unix", filepath.Join(dir, attach.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan attach.Request, 2)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var r attach.Request
			var a attach.Answer
			if err := json.NewDecoder(conn).Decode(&r); err != nil || r.Op != attach.Status {
				a.Error = attach.Errorf(attach.CodeUnsupported, "no %s, %v", r.Op, err)
			} else if r.Switches[0].Name != "LS-A" {
				a.Error = attach.Errorf(attach.CodeUnavailable, "switch %s not found in etcd", r.Switches[0].Name)
			}
			asked <- r
			_ = json.NewEncoder(conn).Encode(a)
			conn.Close()
		}
	}()
	for name, want := range map[string]string{
		"LS-A": "",
		"LS-X": "note: no pod can be attached now, says this host's agent: switch LS-X not found in etcd\n",
	} {
		var stdout, stderr bytes.Buffer
		argv := []string{"tuplenet", "cni", "install", "--bin-dir", dir, "--conf-dir", dir, "--switch", name, "--subnet", "10.20.1.1/24", "--prefix", "/other", "--dry-run"}
		if status := Run(argv, "", nil, &stdout, &stderr); status != 0 {
			t.Fatalf("status %d: %s", status, &stderr)
		}
		if got := stderr.String(); !strings.Contains(got, want) || (want == "") == strings.Contains(got, "agent:") {
			t.Errorf("%s: it says %q, want %q", name, got, want)
		}
		if r := <-asked; r.Switches[0].Subnet != "10.20.1.1/24" || r.Etcd == nil || r.Etcd.Prefix != "/other" || len(r.Etcd.Endpoints) > 0 {
			t.Errorf("%s: the agent was asked %+v", name, r)
		}
	}
}
