package config

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tuplenet/internal/agent"
)

// patience is how long a test waits for what it expects.
const patience = 10 * time.Second

// record is a log that can be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// take returns the lines so far, without times, and forgets them.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.text.String()
	r.text.Reset()
	return text
}

// followed is a file with a Follower.
type followed struct {
	t       *testing.T
	path    string
	log     *record
	level   *slog.LevelVar
	changes chan agent.Settings
	hangup  chan os.Signal
	changed chan struct{}
	read    chan struct{} // gets a value when the file has been read
}

// follow starts a Follower of a file, beside which the environment says BFD_INTERVAL.
func follow(t *testing.T, text string) *followed {
	f := &followed{t: t, path: filepath.Join(t.TempDir(), "agent.yaml"), log: &record{}, level: new(slog.LevelVar),
		changes: make(chan agent.Settings), hangup: make(chan os.Signal), changed: make(chan struct{}), read: make(chan struct{}, 100)}
	f.write(text)
	read := func(must bool) (*Resolved, error) {
		named := ""
		if must {
			named = f.path
		}
		file, unread := ReadFile(named, f.path)
		r, err := Sources{File: file, Env: func(name string) string { return map[string]string{"BFD_INTERVAL": "300"}[name] }}.Resolve(Agent())
		f.read <- struct{}{}
		return r, Join(unread, err)
	}
	running, err := read(false)
	if err != nil {
		t.Fatal(err)
	}
	<-f.read
	f.level.Set(running.LogLevel)
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: f.level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "file" {
			return slog.Attr{}
		}
		return a
	}}))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		(&Follower{Read: read, Running: running, Level: f.level, Changes: f.changes, Log: log}).Run(ctx, f.hangup, f.changed)
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return f
}

func (f *followed) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// tell tells of a change, or asks by SIGHUP, and returns what the log says once the
// follower has done with it.
func (f *followed) tell(asked bool) string {
	f.t.Helper()
	if asked {
		f.hangup <- syscall.SIGHUP
	} else {
		f.changed <- struct{}{}
	}
	<-f.read
	f.changed <- struct{}{} // is taken when the other is done with, and changes nothing
	<-f.read
	f.changed <- struct{}{}
	<-f.read
	return strings.ReplaceAll(f.log.take(), f.path, "agent.yaml")
}

// takes expects the agent to be handed settings.
func (f *followed) takes() agent.Settings {
	f.t.Helper()
	select {
	case s := <-f.changes:
		return s
	case <-time.After(patience):
		f.t.Fatal("the agent is handed no settings")
		return agent.Settings{}
	}
}

func TestFollower(t *testing.T) {
	f := follow(t, "hash_fn: nw_src\nlog_level: info\n")
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the log says\n%swant\n%s", what, got, want)
		}
	}
	expect("nothing has changed", f.tell(false), "")
	expect("nothing has changed, and somebody asks", f.tell(true), "level=INFO msg=\"the configuration was read; the agent has taken over all that it can while it runs\"\n")

	f.write("hash_fn: eth_src\nidle: 60\n")
	expect("live settings", f.tell(false), "level=INFO msg=\"the configuration has changed\" idle=\"300 -> 60\" hash_fn=\"nw_src -> eth_src\"\n")
	// The agent has not taken that yet: it waits for etcd, say. It is handed the last.
	f.write("hash_fn: eth_src\nidle: 90\n")
	expect("another change", f.tell(false), "level=INFO msg=\"the configuration has changed\" idle=\"60 -> 90\"\n")
	if s := f.takes(); s.Hash != "eth_src" || s.IdleTimeout != 90*time.Second || s.BFDMinRx != 300 {
		t.Errorf("the agent is handed %+v", s)
	}

	f.write("hash_fn: eth_scr\nidle: 100\n")
	bad := "level=ERROR msg=\"the configuration cannot be used, the agent goes on as it was\" problem=\"agent.yaml:1: invalid hash_fn \\\"eth_scr\\\", want one of " +
		strings.Join(hashNames(), ", ") + "\"\n"
	expect("what cannot be used", f.tell(false), bad)
	expect("what still cannot be used", f.tell(false), "")
	expect("what still cannot be used, and somebody asks", f.tell(true), bad)
	f.write("hash_fn: eth_src\nidle: 90\n")
	expect("as it was", f.tell(false), "level=INFO msg=\"the configuration was read; the agent has taken over all that it can while it runs\"\n")

	f.write("hash_fn: eth_src\nidle: 90\nmetrics: 9481\nuser: root:secret\n")
	waits := "level=WARN msg=\"settings have changed that the agent takes over when it is started anew\" settings=\"user: none -> root:***; metrics: none -> 9481\"\n"
	expect("what needs a restart", f.tell(false), waits)
	expect("what still needs a restart", f.tell(false), "")
	f.write("hash_fn: eth_src\nidle: 91\nmetrics: 9481\nuser: root:secret\n")
	expect("a live one beside them", f.tell(false), "level=INFO msg=\"the configuration has changed\" idle=\"90 -> 91\"\n")
	f.takes()
	f.write("hash_fn: eth_src\nidle: 91\nbfd_interval: 20\n")
	expect("what the environment says, too", f.tell(false),
		"level=WARN msg=\"what the file says of a setting has no effect, as something else counts before it\" setting=bfd_interval counts=BFD_INTERVAL\n")

	f.write("hash_fn: eth_src\nidle: 91\nlog_level: error\n")
	expect("a quieter log", f.tell(false), "level=INFO msg=\"the configuration has changed\" log_level=\"info -> error\"\n")
	f.takes()
	f.write("hash_fn: eth_src\nidle: 91\nlog_level: debug\n")
	expect("a louder log", f.tell(false), "level=INFO msg=\"the configuration has changed\" log_level=\"error -> debug\"\n")
	if s := f.takes(); f.level.Level() != slog.LevelDebug || s.Hash != "eth_src" {
		t.Errorf("the level is %v, and the agent is handed %+v", f.level, s)
	}

	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if got := f.tell(false); !strings.Contains(got, "no such file") {
		t.Errorf("a file that is gone is taken over: %s", got)
	}
	f.hangup <- syscall.SIGHUP
	if s := f.takes(); s.Hash != "nw_dst" || s.IdleTimeout != 5*time.Minute || s.BFDMinRx != 300 {
		t.Errorf("without a file the agent is handed %+v", s)
	}
}

// TestWatch: whatever the way in which a file is changed, it is told once the file is
// whole, and changes of other files are not.
func TestWatch(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "agent.yaml")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	changed, err := Watch(t.Context(), path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	do(err)
	expect := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("nothing is told of this: %s", what)
		}
	}
	quiet := func(what string) {
		t.Helper()
		select {
		case <-changed:
			t.Fatalf("this is told: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	write := func(path string) { do(os.WriteFile(path, []byte("idle: 3\n"), 0o600)) }

	write(path)
	expect("the file is made")
	write(filepath.Join(dir, ".agent.yaml.swp"))
	quiet("another file is made")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	do(err)
	_, err = f.WriteString("idle: ")
	do(err)
	quiet("half of it is written")
	_, err = f.WriteString("4\n")
	do(err)
	do(f.Close())
	expect("the other half is written")
	do(os.Rename(path, path+"~"))
	quiet("an editor has moved it away")
	do(os.Rename(filepath.Join(dir, ".agent.yaml.swp"), path))
	expect("an editor has replaced it")

	// As configuration management has it, and volumes of Kubernetes.
	target := filepath.Join(elsewhere, "settings")
	write(target)
	do(os.Symlink(target, filepath.Join(dir, "link")))
	do(os.Rename(filepath.Join(dir, "link"), path))
	expect("it is a link now")
	write(target)
	expect("what the link leads to is written")

	do(os.RemoveAll(dir))
	expect("the directory is gone")

	if _, err := Watch(t.Context(), filepath.Join(dir, "none", "agent.yaml"), slog.Default()); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "none")) {
		t.Errorf("a directory that is not there is watched: %v", err)
	}
}

// TestWatchEnds: a watch ends with its context and leaves nothing open.
func TestWatchEnds(t *testing.T) {
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before := open()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Watch(ctx, filepath.Join(t.TempDir(), "agent.yaml"), slog.Default()); err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(patience); open() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("inotify is open still")
		}
	}
}
