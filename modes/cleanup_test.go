package modes

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs/ovstest"
)

// TestCleanupScripts runs testdata/ovs/*.txtar, each of which finds an Open
// vSwitch of its own by its environment.
func TestCleanupScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/ovs",
		Setup: func(env *testscript.Env) error {
			o := ovstest.Start(t)
			env.Setenv("OVS_RUNDIR", o.RunDir())
			env.Setenv("TUPLENET_RUNDIR", filepath.Join(env.WorkDir, "run"))
			return os.Mkdir(env.Getenv("TUPLENET_RUNDIR"), 0o755)
		},
	})
}

// TestCleanupRefused shows that nothing is taken from under an agent.
func TestCleanupRefused(t *testing.T) {
	dir := t.TempDir()
	running, err := agent.TakeRunDir(t.Context(), dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Release()
	var stdout, stderr bytes.Buffer
	status := Run([]string{"tuplenet", "cleanup", "--yes", "--rundir", dir, "--ovs-rundir", dir}, "", strings.NewReader(""), &stdout, &stderr)
	if status != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "an agent runs in "+dir+"; stop it first") {
		t.Errorf("status %d, standard output %q, standard error %q", status, &stdout, &stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "tuplenet.pid")); err != nil {
		t.Error(err)
	}
}
