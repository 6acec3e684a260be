package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A run of the test binary with these in its environment brings a lab up and
// stays, so that a test can kill it midway.
const (
	helperLab    = "TUPLENET_LAB_TEST_UP"
	helperBinary = "TUPLENET_LAB_TEST_BINARY"
)

// binDir is where tuplenet is built for the tests.
var binDir string

func TestMain(m *testing.M) {
	if name := os.Getenv(helperLab); name != "" {
		if _, err := Up(context.Background(), TwoHosts(), Options{Name: name, Binary: os.Getenv(helperBinary), Datapath: Userspace}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	var err error
	if binDir, err = os.MkdirTemp("", "labtest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(binDir)
	os.Exit(status)
}

var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", binDir, "tuplenet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tuplenet: %w\n%s", err, out)
	}
	return nil
})

// options returns those of a lab with a name that no other one has, of which
// nothing may be left when the test ends.
func options(t *testing.T) Options {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a lab makes network namespaces: run the tests as root (sudo make test)")
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("t%dl%d", os.Getpid(), labs.Add(1))
	t.Cleanup(func() {
		if err := Down(context.Background(), name, nil); err != nil {
			t.Error(err)
		}
		checkGone(t, name)
	})
	return Options{Name: name, Binary: filepath.Join(binDir, "tuplenet"), Datapath: Userspace}
}

var labs atomic.Int64

func up(t *testing.T, spec Spec) *Lab {
	t.Helper()
	opts := options(t)
	l, err := Up(t.Context(), spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// checkGone looks for what a lab may leave: files, namespaces, processes.
func checkGone(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(labsDir, name)); err == nil {
		t.Errorf("the directory of lab %s is still there", name)
	}
	left, err := filepath.Glob(filepath.Join(netnsDir, name+"-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces are still there: %v %v", left, err)
	}
	// What was on its way into a namespace when that was removed ends by itself.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for left := processesOf(t, name); len(left) > 0; left = processesOf(t, name) {
		if pause(ctx) != nil {
			t.Errorf("processes of lab %s still run: %q", name, left)
			return
		}
	}
}

// processesOf returns the command lines of a lab's processes, as their environment
// tells.
func processesOf(t *testing.T, name string) (left []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Error(err)
	}
	for _, file := range environs {
		env, err := os.ReadFile(file)
		if err == nil && bytes.Contains(env, []byte("TUPLENET_LAB="+name+"\x00")) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			left = append(left, string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return left
}

func checkPing(t *testing.T, l *Lab, from, to string, answered bool) {
	t.Helper()
	p, err := l.Ping(t.Context(), from, to, 3, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if answered && p.Lost() > 0 || !answered && p.Received > 0 {
		t.Errorf("want an answer: %v; %s", answered, p)
	}
}

// TestTwoLabs brings two equal labs up at once, takes one down, and shows that
// the other one does not notice.
func TestTwoLabs(t *testing.T) {
	t.Parallel()
	both := []Options{options(t), options(t)}
	ready := make([]*Lab, len(both))
	var group errgroup.Group
	for i, opts := range both {
		group.Go(func() (err error) {
			if ready[i], err = Up(t.Context(), TwoHosts(), opts); err != nil {
				return err
			}
			return ready[i].WaitReady(t.Context())
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	first, second := ready[0], ready[1]
	checkPing(t, first, "lsp-alice", "lsp-bob", true)
	if err := first.Down(); err != nil {
		t.Fatal(err)
	}
	checkGone(t, first.Name)
	checkPing(t, second, "lsp-bob", "lsp-alice", true)
	if err := first.Down(); err != nil {
		t.Errorf("down again: %v", err)
	}
	if _, err := Open(first.Name, nil); err == nil || !strings.Contains(err.Error(), "is not up") {
		t.Errorf("opening a lab that is down: %v", err)
	}
	if _, err := Up(t.Context(), TwoHosts(), both[1]); !errors.Is(err, ErrUp) {
		t.Errorf("a second lab of the same name: %v", err)
	}
	checkPing(t, second, "lsp-alice", "lsp-bob", true)
}

// TestComponents stops and starts what a lab consists of, and plugs workloads
// in, through a Lab that was opened like in another process.
func TestComponents(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, err := Open(up(t, TwoHosts()).Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, c := range hostComponents {
		do("stop", l.Stop(ctx, "host-bob", c))
		do("stop what is stopped", l.Stop(ctx, "host-bob", c))
		do("start", l.Start(ctx, "host-bob", c))
		if err := l.Start(ctx, "host-bob", c); err == nil || !strings.Contains(err.Error(), "runs already") {
			t.Errorf("start %s twice: %v", c, err)
		}
		do("kill", l.Kill(ctx, "host-bob", c))
		do("start", l.Start(ctx, "host-bob", c))
	}
	do("kill etcd", l.KillEtcd(ctx, "etcd"))
	if err := l.WaitReady(ctx); err == nil || !strings.Contains(err.Error(), "etcd does not run") {
		t.Errorf("ready without etcd: %v", err)
	}
	do("start etcd", l.StartEtcd(ctx, "etcd"))
	do("wait", l.WaitReady(ctx))
	checkPing(t, l, "lsp-alice", "lsp-bob", true)

	do("cut", l.CutLink(ctx, "host-bob", ""))
	checkPing(t, l, "host-alice", "host-bob", false)
	do("join", l.JoinLink(ctx, "host-bob", ""))
	checkPing(t, l, "host-alice", "host-bob", true)

	const carol = "a-port-with-a-name-of-more-than-fifteen-bytes"
	if err := l.AddWorkload(ctx, carol, "host-bob"); err == nil || !strings.Contains(err.Error(), "tpctl lsp add") {
		t.Errorf("a workload in a port that nobody made: %v", err)
	}
	_, err = l.Exec(ctx, "host-alice", "tpctl", "lsp", "add", "LS-A", carol, "10.20.1.11")
	do("tpctl on a host", err)
	do("plug", l.AddWorkload(ctx, carol, "host-bob"))
	if err := l.AddWorkload(ctx, carol, "host-alice"); err == nil || !strings.Contains(err.Error(), "has a workload already") {
		t.Errorf("a second workload in a port: %v", err)
	}
	do("wait", l.WaitReady(ctx))
	checkPing(t, l, "lsp-alice", carol, true)
	do("unplug", l.RemoveWorkload(ctx, carol))
	do("plug elsewhere", l.AddWorkload(ctx, carol, "host-alice"))
	do("wait", l.WaitReady(ctx))
	checkPing(t, l, "lsp-bob", carol, true)

	path, err := l.Exec(ctx, "phy", "tpctl", "trace", "lsp-bob", "--to", carol)
	do("trace", err)
	if !strings.HasSuffix(path, "\ndelivered to "+carol+" on host-alice\n") {
		t.Errorf("the path is\n%s", path)
	}
	status, err := l.Status(ctx)
	do("status", err)
	if w := status.Workloads[2]; w.Chassis != "host-alice" || w.Address != "10.20.1.11" || status.Hosts[1].Agent == 0 {
		t.Errorf("status is %+v", status)
	}
}

// TestUpFails shows that a lab that cannot come up says in one sentence why,
// and leaves nothing.
func TestUpFails(t *testing.T) {
	t.Parallel()
	opts := options(t)
	fail := filepath.Join(t.TempDir(), "tuplenet")
	if err := os.WriteFile(fail, []byte("#!/bin/sh\necho no disk >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	opts.Binary = fail
	_, err := Up(t.Context(), TwoHosts(), opts)
	if want := "lab " + opts.Name + " did not come up: etcd ended: no disk"; err == nil || err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	checkGone(t, opts.Name)

	opts.Binary = filepath.Join(binDir, "tuplenet")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Up(ctx, TwoHosts(), opts); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lab that was interrupted: %v", err)
	}
	checkGone(t, opts.Name)

	ns := opts.Name + "-host-bob"
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := Up(t.Context(), TwoHosts(), opts); err == nil || !strings.Contains(err.Error(), ns+" exists already") {
		t.Errorf("a namespace in the way: %v", err)
	}
	if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
		t.Errorf("somebody else's namespace was removed: %v: %s", err, out)
	}
}

// TestUpKilled kills the process that builds a lab at several stages, and
// shows that nothing is left after Down.
func TestUpKilled(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"", "bin/tpctl", "etcd", "host-alice/conf.db", "host-bob/vswitchd.process", "host-alice/agent.process"} {
		opts := options(t)
		dir := filepath.Join(labsDir, opts.Name)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperLab+"="+opts.Name, helperBinary+"="+opts.Binary)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		for {
			if _, err := os.Stat(filepath.Join(dir, stage)); err == nil {
				break
			}
			if err := pause(ctx); err != nil {
				t.Errorf("the lab does not get as far as %q: %v", stage, err)
				break
			}
		}
		cancel()
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
		if _, err := Up(t.Context(), TwoHosts(), opts); err == nil || !strings.Contains(err.Error(), "tuplenet lab down --name "+opts.Name) {
			t.Errorf("killed at %q: up again: %v", stage, err)
		}
		if err := Down(t.Context(), opts.Name, nil); err != nil {
			t.Errorf("killed at %q: %v", stage, err)
		}
		checkGone(t, opts.Name)
	}
}

// TestDownByName shows that a lab is taken down also when its directory is
// lost, with a namespace that somebody added, and without another lab's.
func TestDownByName(t *testing.T) {
	t.Parallel()
	l, other := up(t, Spec{Hosts: []Host{{Name: "hv1"}}}), up(t, Spec{Hosts: []Host{{Name: "hv1"}}})
	if out, err := exec.Command("ip", "netns", "add", l.namespace("mine")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), l.Name, nil); err != nil {
		t.Fatal(err)
	}
	checkGone(t, l.Name)
	if _, err := other.Exec(t.Context(), "hv1", "ovs-vsctl", "show"); err != nil {
		t.Errorf("the other lab suffered: %v", err)
	}
}
