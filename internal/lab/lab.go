package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say how a lab is brought up, in contrast to what it consists of.
type Options struct {
	Name     string    // default DefaultName
	Binary   string    // the tuplenet that the lab runs; default this program
	Datapath Datapath  // default: the kernel's where it can be used
	Echo     io.Writer // is shown the commands; may be nil
}

// ErrUp is in the error of Up when a lab of that name is there already.
var ErrUp = errors.New("is up already")

// Up brings a lab up. When that fails, or ctx ends, it takes everything down
// again. The ports are plugged when it returns; that their flows are in is for
// WaitReady.
func Up(ctx context.Context, spec Spec, opts Options) (*Lab, error) {
	l, err := newLab(cmp.Or(opts.Name, DefaultName))
	if err != nil {
		return nil, err
	}
	if err := spec.complete(); err != nil {
		return nil, err
	}
	l.setup = setup{Binary: opts.Binary, Datapath: opts.Datapath, Spec: spec}
	if l.Binary == "" {
		if l.Binary, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("lab %s: find this program: %w", l.Name, err)
		}
	}
	switch l.Datapath {
	case "":
		l.Datapath = bestDatapath()
	case Kernel, Userspace:
	default:
		return nil, fmt.Errorf("lab %s: invalid datapath %q, want %s or %s", l.Name, l.Datapath, Kernel, Userspace)
	}
	if err := thisMachine().check(l.Datapath); err != nil {
		return nil, err
	}
	unlock, err := l.claim(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	err = l.record(opts.Echo)
	if err == nil {
		err = l.build(ctx)
	}
	if err != nil {
		// What ended ctx must not end the cleaning up.
		if rest := l.remove(context.WithoutCancel(ctx)); rest != nil {
			err = fmt.Errorf("%w (and afterwards: %w)", err, rest)
		}
		return nil, fmt.Errorf("lab %s did not come up: %w", l.Name, err)
	}
	return l, nil
}

// claim makes the lab's directory, which nobody else can make then.
func (l *Lab) claim(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(l.Dir), 0o755); err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.Name, err)
	}
	if err := os.Mkdir(l.Dir, 0o755); errors.Is(err, fs.ErrExist) {
		if _, err := Open(l.Name, nil); err != nil {
			return nil, err // it says what to do with what is left of a lab
		}
		return nil, fmt.Errorf("lab %s %w: look at it with `tuplenet lab status --name %s`", l.Name, ErrUp, l.Name)
	} else if err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.Name, err)
	}
	unlock, err = l.lock(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.save(state{setup: l.setup}); err != nil {
		unlock()
		return nil, err
	}
	foreign, err := l.namespaces()
	if err == nil && len(foreign) > 0 {
		err = fmt.Errorf("lab %s: network namespace %s exists already: choose another name with --name, or remove it with `tuplenet lab down --name %[1]s`", l.Name, foreign[0])
	}
	if err != nil {
		defer unlock()
		return nil, errors.Join(err, os.RemoveAll(l.Dir))
	}
	return unlock, nil
}

// build makes the lab, as much as possible at the same time.
func (l *Lab) build(ctx context.Context) error {
	if err := l.linkBinary(); err != nil {
		return err
	}
	if err := l.startSwitch(ctx); err != nil {
		return err
	}
	// A host needs nothing of another one, and all of them nothing of the
	// topology, until agents and workloads come.
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	group.Go(func() error {
		if err := l.StartEtcd(gctx, string(Etcd)); err != nil {
			return err
		}
		return l.makeTopology(gctx)
	})
	for _, h := range l.Spec.Hosts {
		group.Go(func() error { return l.startHost(gctx, h) })
	}
	for _, o := range l.Spec.Outside {
		group.Go(func() error { return l.startOutside(gctx, o) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	group, gctx = errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	view, err := l.view(ctx)
	if err != nil {
		return err
	}
	for _, h := range l.Spec.Hosts {
		group.Go(func() error { return l.startAgent(h, l.on(h.Name, l.echo)) })
	}
	workloads := make([]Workload, len(l.Spec.Workloads))
	for i, w := range l.Spec.Workloads {
		group.Go(func() (err error) {
			workloads[i], err = l.plug(gctx, view, w)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return l.save(state{setup: l.setup, Up: true, Workloads: workloads})
}

// linkBinary gives the lab's tuplenet its names in a directory that comes
// first in the PATH of everything that is run in the lab.
func (l *Lab) linkBinary() error {
	if err := os.Mkdir(l.path("bin"), 0o755); err != nil {
		return fmt.Errorf("link the programs: %w", err)
	}
	for _, name := range []string{"tuplenet", "tpctl"} {
		if err := os.Symlink(l.Binary, l.path("bin", name)); err != nil {
			return fmt.Errorf("link the programs: %w", err)
		}
	}
	return nil
}

// Down takes the lab down.
func (l *Lab) Down() error { return Down(context.Background(), l.Name, nil) }

// Down removes a lab, or what is left of one: processes, namespaces, files. It
// needs no more than the lab's name, and does nothing where nothing is.
// Processes are found by the namespaces that they run in, so that no other one
// is hit. Commands are shown to echo, which may be nil.
func Down(ctx context.Context, name string, echo io.Writer) error {
	l, err := newLab(name)
	if err != nil {
		return err
	}
	if echo != nil {
		l.echo = &transcript{w: echo}
	}
	if err := thisMachine().checkRoot(); err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist): // nothing but namespaces, if at all
	case err != nil:
		return err
	default:
		defer unlock()
	}
	return l.remove(ctx)
}

// remove does the work of Down, for the holder of the lock.
func (l *Lab) remove(ctx context.Context) error {
	for {
		namespaces, err := l.namespaces()
		if err != nil {
			return err
		}
		if len(namespaces) == 0 {
			break
		}
		if err := killAll(ctx, namespaces); err != nil {
			return fmt.Errorf("take lab %s down: %w", l.Name, err)
		}
		for _, ns := range namespaces {
			if err := (place{echo: l.echo}).run(ctx, "ip", "netns", "del", ns); err != nil {
				return fmt.Errorf("take lab %s down: %w", l.Name, err)
			}
		}
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("take lab %s down: %w", l.Name, err)
	}
	return nil
}

// killAll ends all processes in some namespaces.
func killAll(ctx context.Context, namespaces []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("its processes do not end"))
	defer cancel()
	for {
		processes, err := processesIn(namespaces)
		if err != nil || len(processes) == 0 {
			return err
		}
		for _, p := range processes {
			if err := p.signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
