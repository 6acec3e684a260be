package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"tuplenet/internal/suggest"
)

// labsDir is where later processes find the labs.
const labsDir = "/run/tuplenet/lab"

// DefaultName is the name of a lab that was given none.
const DefaultName = "tuplenet"

// A hyphen ends the lab's name in the name of a namespace, so the name itself
// has none. Its length is bounded by the 107 bytes of a path to a Unix socket:
// <labsDir>/<lab>/<host>/ovs-vswitchd.<pid>.ctl.
var labName = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// Lab is a lab of this machine. Its methods may be called at the same time,
// also by several processes.
type Lab struct {
	Name string
	Dir  string // state, logs, sockets

	setup // does not change while the lab is up
	echo  *transcript
}

// setup is how a lab was brought up.
type setup struct {
	Binary   string // the tuplenet that the lab runs
	Datapath Datapath
	Spec     Spec
}

// state is what later processes have to know, in <dir>/state.json.
type state struct {
	setup
	Up        bool       // false while it is being built, and for good if that was interrupted
	Workloads []Workload // plugged now
}

// Open finds a lab by its name. Commands are shown to echo, which may be nil.
func Open(name string, echo io.Writer) (*Lab, error) {
	l, err := newLab(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s is not up: bring it up with `tuplenet lab up --name %s`", name, name)
	}
	s, err := l.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !s.Up {
		return nil, fmt.Errorf("lab %s is not complete: it is being built, or what is left of it waits for `tuplenet lab down --name %s`", name, name)
	}
	l.setup = s.setup
	return l, l.record(echo)
}

// Names returns the names of all labs of this machine, complete or not.
func Names() ([]string, error) {
	entries, err := os.ReadDir(labsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && labName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func newLab(name string) (*Lab, error) {
	if !labName.MatchString(name) {
		return nil, fmt.Errorf("invalid lab name %q: 1 to 40 lower-case letters and digits", name)
	}
	return &Lab{Name: name, Dir: filepath.Join(labsDir, name), echo: &transcript{w: io.Discard}}, nil
}

// record shows commands to echo from now on, and keeps them in commands.log.
func (l *Lab) record(echo io.Writer) error {
	log, err := os.OpenFile(l.path("commands.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	// The file stays open as long as the process lives; it is one a lab.
	l.echo = &transcript{w: log}
	if echo != nil {
		l.echo.w = io.MultiWriter(echo, log)
	}
	return nil
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

func (l *Lab) load() (state, error) {
	var s state
	data, err := os.ReadFile(l.path("state.json"))
	if err != nil {
		return s, fmt.Errorf("lab %s: %w", l.Name, err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("lab %s: %s: %w", l.Name, l.path("state.json"), err)
	}
	return s, nil
}

// save writes the state so that a reader sees the old or the new one, whole.
func (l *Lab) save(s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	temp := l.path("state.json.new")
	if err := os.WriteFile(temp, data, 0o644); err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, err)
	}
	return os.Rename(temp, l.path("state.json"))
}

// lock keeps other processes, and other calls, from changing the lab until
// unlock is called. The kernel gives the lock back when its holder dies.
func (l *Lab) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(l.path("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.Name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("another command is changing it"))
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = pause(ctx)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lab %s: %w", l.Name, err)
		}
	}
}

// change runs f on the present state, alone, and saves what it made of it.
func (l *Lab) change(ctx context.Context, f func(*state) error) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return err
	}
	if err := f(&s); err != nil {
		return err
	}
	return l.save(s)
}

// Hosts returns the lab's hosts.
func (l *Lab) Hosts() []Host { return slices.Clone(l.Spec.Hosts) }

// Host returns a host by its name.
func (l *Lab) Host(name string) (Host, error) { return l.Spec.host(name) }

// Workloads returns what is plugged in now.
func (l *Lab) Workloads() ([]Workload, error) {
	s, err := l.load()
	return s.Workloads, err
}

// workload returns the workload in a port.
func (l *Lab) workload(port string) (Workload, error) {
	workloads, err := l.Workloads()
	if err != nil {
		return Workload{}, err
	}
	var ports []string
	for _, w := range workloads {
		if w.Port == port {
			return w, nil
		}
		ports = append(ports, w.Port)
	}
	return Workload{}, fmt.Errorf("no workload is in port %q%s", port, suggest.Among(port, ports))
}
