package lab

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// place is where a command is run: on a host or an outside machine, in a
// workload, on the physical switch, or on the machine itself.
type place struct {
	name string   // the prompt; empty on the machine itself
	ns   string   // network namespace; empty on the machine itself
	env  []string // in addition to ours
	echo *transcript
}

// command prepares a command without showing it.
func (p place) command(ctx context.Context, argv ...string) *exec.Cmd {
	if p.ns != "" {
		argv = append([]string{"ip", "netns", "exec", p.ns}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Env = cmd.Environ() // ours win, also where the caller runs it by other means
	return cmd
}

// output runs a command, shows it, and returns what it prints. Its error holds
// the command and what it complained of.
func (p place) output(ctx context.Context, argv ...string) (string, error) {
	p.show(argv)
	cmd := p.command(ctx, argv...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A command dies with us, so that one that outlives us makes nothing that
	// Down has looked for already. The kernel means this thread by "us".
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		complaint := strings.TrimSpace(cmp.Or(stderr.String(), stdout.String()))
		if complaint != "" {
			err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(complaint, "\n", "; "))
		}
		return stdout.String(), fmt.Errorf("%s: %w", p.line(argv), err)
	}
	return stdout.String(), nil
}

// run is output for what prints nothing of interest.
func (p place) run(ctx context.Context, argv ...string) error {
	_, err := p.output(ctx, argv...)
	return err
}

// all runs commands, given as lines without quotes, one after the other.
func (p place) all(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if err := p.run(ctx, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// show prints a command as it is typed in this place.
func (p place) show(argv []string) { p.echo.print(p.line(argv)) }

// showEnv prints what has to be in the environment here, as it is typed.
func (p place) showEnv() {
	line := p.name + "# export " + strings.Join(p.env, " ")
	p.echo.print(strings.ReplaceAll(line, os.Getenv("PATH"), "$PATH"))
}

func (p place) line(argv []string) string { return p.name + "# " + shellJoin(argv) }

// shellJoin quotes what a shell would take for something else.
func shellJoin(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"`$\\|&;<>(){}*?[]~#!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

// transcript takes down the commands of a lab. What is done at the same time
// in several places goes through a block each, so that it can be read.
type transcript struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *transcript) print(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.w, line+"\n")
}

// block returns a transcript that appears in t as one piece, when it ends.
func (t *transcript) block() (b *transcript, end func()) {
	var buf bytes.Buffer
	return &transcript{w: &buf}, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.w.Write(buf.Bytes())
	}
}
