package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for a daemon; only a broken one takes that long.
const patience = 20 * time.Second

// Component names a daemon of the lab.
type Component string

// The daemons of a host, and etcd, which runs next to the physical switch; of a
// cluster this is all members.
const (
	Agent    Component = "agent"
	Vswitchd Component = "vswitchd"
	OVSDB    Component = "ovsdb"
	Etcd     Component = "etcd"
)

// daemon is a Component in its place. It outlives the process that starts it;
// <dir>/<component>.process says which process it is, <dir>/<component>.out is
// what it prints.
type daemon struct {
	component Component
	place     place
	dir       string
}

func (d daemon) String() string {
	if d.place.name == physical {
		return string(d.component)
	}
	return string(d.component) + " of " + d.place.name
}

func (d daemon) record() string { return filepath.Join(d.dir, string(d.component)+".process") }
func (d daemon) log() string    { return filepath.Join(d.dir, string(d.component)+".out") }

// running returns the daemon's process, if there is one.
func (d daemon) running() (process, bool) { return loadProcess(d.record()) }

// works reports whether the daemon runs and does not hang.
func (d daemon) works() bool {
	p, ok := d.running()
	return ok && !p.hangs()
}

// stopped reports whether the daemon was stopped, or never started, in contrast
// to one that ended by itself.
func (d daemon) stopped() bool {
	_, err := os.Stat(d.record())
	return errors.Is(err, fs.ErrNotExist)
}

// start runs argv in the background. It returns at once; await tells when the
// daemon is ready.
func (d daemon) start(argv ...string) error {
	if p, ok := d.running(); ok {
		return fmt.Errorf("%s runs already, as process %d", d, p.pid)
	}
	d.place.echo.print(d.place.line(argv) + " &")
	out, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", d, err)
	}
	defer out.Close()
	cmd := d.place.command(context.Background(), argv...)
	cmd.Stdout, cmd.Stderr = out, out
	// A session of its own: a Ctrl-C that is meant for us is not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d, err)
	}
	p, ok := findProcess(cmd.Process.Pid)
	// As long as we live we are its parent, and have to take note of its end.
	go cmd.Wait()
	if !ok {
		return d.ended()
	}
	if err := p.save(d.record()); err != nil {
		return fmt.Errorf("start %s: %w", d, err)
	}
	return nil
}

// await waits until the daemon is ready. It fails when the daemon ends.
func (d daemon) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it is not ready after %s", patience))
	defer cancel()
	for !ready() {
		if _, ok := d.running(); !ok {
			return d.ended()
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

// stop sends a signal and waits for the daemon's end. It is no error when the
// daemon does not run. One that hangs goes on, so that it can heed the signal.
func (d daemon) stop(ctx context.Context, sig syscall.Signal) error {
	p, ok := d.running()
	if !ok {
		return nil
	}
	signals := []syscall.Signal{sig}
	if p.hangs() {
		signals = append(signals, syscall.SIGCONT)
	}
	for _, s := range signals {
		if err := d.send(p, s); err != nil {
			return fmt.Errorf("stop %s: %w", d, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it runs on %s after %s", patience, sig))
	defer cancel()
	for p.alive() {
		if err := pause(ctx); err != nil {
			return fmt.Errorf("stop %s: %w", d, err)
		}
	}
	if err := os.Remove(d.record()); err != nil {
		return fmt.Errorf("stop %s: %w", d, err)
	}
	return nil
}

// hang makes the daemon stand still until resume.
func (d daemon) hang(ctx context.Context) error { return d.freeze(ctx, syscall.SIGSTOP, true) }

// resume lets the daemon go on.
func (d daemon) resume(ctx context.Context) error { return d.freeze(ctx, syscall.SIGCONT, false) }

// freeze sends a signal and waits until the daemon hangs, or no longer does.
func (d daemon) freeze(ctx context.Context, sig syscall.Signal, hangs bool) error {
	p, ok := d.running()
	if !ok {
		return fmt.Errorf("%s does not run", d)
	}
	if err := d.send(p, sig); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s has no effect after %s", sig, patience))
	defer cancel()
	for p.alive() && p.hangs() != hangs {
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

// send shows a signal as it is typed, and sends it.
func (d daemon) send(p process, sig syscall.Signal) error {
	d.place.show([]string{"kill", "-" + strings.TrimPrefix(unix.SignalName(sig), "SIG"), fmt.Sprint(p.pid)})
	return p.signal(sig)
}

// ended is the error of a daemon that should run.
func (d daemon) ended() error { return fmt.Errorf("%s ended: %s", d, d.lastWords()) }

// lastWords returns the last line that the daemon printed.
func (d daemon) lastWords() string {
	data, err := os.ReadFile(d.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(data)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return "it printed nothing"
}

// pause lets a short time pass between two looks at something, or says why
// there is no time left.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

// listening reports whether something accepts connections on a Unix socket.
func listening(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
