package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// A demo's lab is named by its process, so that several can run and what a
// killed one left is known.
var demoLab = regexp.MustCompile(`^demo([0-9]+)$`)

// sweepDemos takes down what demos left that were killed.
func sweepDemos(ctx context.Context) error {
	names, err := Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		m := demoLab.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err == nil && syscall.Kill(pid, 0) == nil {
			continue
		}
		if err := Down(ctx, name, nil); err != nil {
			return err
		}
	}
	return nil
}

const demoDrawing = `
   lsp-alice            lsp-bob        workloads: network namespaces
       |                    |
     LS-A -- LR-central -- LS-B        logical: on every host
       |                    |
   host-alice           host-bob       hosts: a namespace and an Open vSwitch each
       |                    |
       +-- physical switch -+          Geneve tunnels cross it
`

// Demo shows the lab of the tutorial's first section: it brings it up, prints
// what a person would type and what comes of it, sends pings both ways, and
// takes it down. It fails if a ping got no answer.
func Demo(ctx context.Context, w io.Writer, opts Options) (err error) {
	opts.Name, opts.Echo = fmt.Sprint("demo", os.Getpid()), w
	if err := thisMachine().checkRoot(); err != nil {
		return err
	}
	if err := sweepDemos(ctx); err != nil {
		return err
	}
	spec := TwoHosts()
	d := demo{w: w}
	d.title("Two hosts, a switch and a router for each other's workloads. A prompt says where a command is typed.")
	d.text(demoDrawing)
	start := time.Now()
	l, err := Up(ctx, spec, opts)
	if err != nil {
		return err
	}
	defer func() {
		d.title("Everything is taken down.")
		// Also when ctx is what ended the demo.
		if rest := Down(context.WithoutCancel(ctx), l.Name, w); rest != nil && err == nil {
			err = rest
		}
	}()
	if err := l.WaitReady(ctx); err != nil {
		return err
	}
	d.text(fmt.Sprintf("\nThe lab is up after %.1f s.\n", time.Since(start).Seconds()))

	d.title("The logical topology, as any host sees it.")
	for _, argv := range [][]string{{"tpctl", "ls", "show"}, {"tpctl", "lsp", "show", "LS-A"}, {"tpctl", "lsp", "show", "LS-B"},
		{"tpctl", "lr", "show"}, {"tpctl", "lrp", "show", "LR-central"}, {"tpctl", "ch", "show"}} {
		out, err := l.Exec(ctx, "host-alice", argv...)
		if err != nil {
			return err
		}
		d.text(out)
	}
	d.title("Alice pings Bob, Bob pings Alice.")
	sent, lost, err := d.pings(ctx, l, [][2]string{{"lsp-alice", "lsp-bob"}, {"lsp-bob", "lsp-alice"}})
	if err != nil {
		return err
	}
	d.title("The way of a packet: where it enters, it is switched and routed; one tunnel takes it to its host.")
	path, err := l.Exec(ctx, "host-alice", "tpctl", "trace", "lsp-alice", "--to", "lsp-bob")
	if err != nil {
		return err
	}
	d.text(path)
	if lost > 0 {
		return fmt.Errorf("%d of %d pings were lost", lost, sent)
	}
	d.title(fmt.Sprintf("All of %d pings were answered.", sent))
	return nil
}

// demo prints the demonstration.
type demo struct{ w io.Writer }

func (d demo) title(s string) { d.text("\n== " + s + "\n") }

func (d demo) text(s string) { io.WriteString(d.w, s) }

// pings sends pings between some pairs, one pair after the other.
func (d demo) pings(ctx context.Context, l *Lab, pairs [][2]string) (sent, lost int, err error) {
	for _, pair := range pairs {
		p, err := l.Ping(ctx, pair[0], pair[1], 10, 100*time.Millisecond)
		if err != nil {
			return sent, lost, err
		}
		d.text(p.String() + "\n")
		sent, lost = sent+p.Sent, lost+p.Lost()
	}
	return sent, lost, nil
}
