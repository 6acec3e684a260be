package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestScenarios runs docs/scenarios: what a user would do, on a lab of several
// hosts with real Open vSwitch and real packets. Each script has a lab name of
// its own in TUPLENET_LAB, and its lab is taken down whatever happens. Before that the
// live and the dry trace have to agree on the ways between all its ports.
//
// Beside testscript's commands there are
//
//	[!] eventually [-stdout PATTERN] COMMAND...   run it until it succeeds (!: fails), and prints what matches
//	fill FILE                                     write what FILE lists into etcd, as others than our tools would: lines of a key under the prefix and its value
func TestScenarios(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("the scenarios make network namespaces: run them as root (sudo make test)")
	}
	bin := buildBinary(t)
	var labs atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir: "../../docs/scenarios",
		Setup: func(env *testscript.Env) error {
			name := fmt.Sprintf("t%dn%d", os.Getpid(), labs.Add(1))
			env.Setenv("TUPLENET_LAB", name)
			env.Setenv("TUPLENET_ENDPOINTS", "unix:///run/tuplenet/lab/"+name+"/etcd/etcd.sock")
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Defer(func() {
				if out, err := exec.Command(filepath.Join(bin, "tuplenet"), "lab", "down", "--name", name).CombinedOutput(); err != nil {
					t.Errorf("lab %s is not down: %v\n%s", name, err, out)
				}
			})
			scenario := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			env.Defer(func() { // before the lab is taken down
				if disagreeing[scenario] != "" {
					return
				}
				if err := checkAgreement(commandIn(filepath.Join(bin, "tpctl"), env.Vars)); err != nil {
					t.Errorf("%s: %v", scenario, err)
				}
			})
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"eventually": eventually, "fill": fill},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// patience is how long a scenario waits for what it expects.
const scenarioPatience = 20 * time.Second

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	var want *regexp.Regexp
	if len(args) > 2 && args[0] == "-stdout" {
		want, args = regexp.MustCompile("(?m)"+args[1]), args[2:]
	}
	if len(args) == 0 {
		ts.Fatalf("usage: [!] eventually [-stdout PATTERN] COMMAND...")
	}
	deadline := time.Now().Add(scenarioPatience)
	for {
		err := ts.Exec(args[0], args[1:]...)
		holds := err == nil
		if want != nil {
			holds = holds && want.MatchString(ts.ReadFile("stdout"))
		}
		if holds != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("gave up after %s: %v", scenarioPatience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{ts.Getenv("TUPLENET_ENDPOINTS")}})
	ts.Check(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), scenarioPatience)
	defer cancel()
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		_, err := client.Put(ctx, "/tuplenet/"+key, value)
		ts.Check(err)
	}
}

// buildBinary returns a directory with tuplenet and its names. Where there is
// no Go, TUPLENET_SCENARIO_BIN says where they are.
func buildBinary(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("TUPLENET_SCENARIO_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "tuplenet"), "tuplenet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tuplenet: %v\n%s", err, out)
	}
	if err := os.Symlink("tuplenet", filepath.Join(dir, "tpctl")); err != nil {
		t.Fatal(err)
	}
	return dir
}
