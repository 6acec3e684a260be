package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// network is a lab: hosts with real Open vSwitch, agents, real packets. All
// hosts have the userspace datapath, which every machine has.
type network struct {
	*lab.Lab
	b *testing.B
}

// newNetwork brings a lab up, which is gone when the benchmark ends.
func newNetwork(b *testing.B, spec lab.Spec) *network {
	b.Helper()
	name := fmt.Sprintf("bench%d", os.Getpid())
	b.Cleanup(func() {
		if err := lab.Down(context.Background(), name, nil); err != nil {
			b.Error(err)
		}
	})
	l, err := lab.Up(b.Context(), spec, lab.Options{Name: name, Binary: binary, Datapath: lab.Userspace})
	if err != nil {
		b.Fatal(err)
	}
	n := &network{l, b}
	n.ready()
	return n
}

func (n *network) ready() {
	n.b.Helper()
	if err := n.WaitReady(n.b.Context()); err != nil {
		n.b.Fatal(err)
	}
}

// must runs a command somewhere in the lab and returns what it prints.
func (n *network) must(where string, argv ...string) string {
	n.b.Helper()
	out, err := n.Exec(n.b.Context(), where, argv...)
	if err != nil {
		n.b.Fatal(err)
	}
	return out
}

// eventually waits for what takes a moment.
func (n *network) eventually(what string, holds func() bool) {
	n.b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			n.b.Fatalf("gave up: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// start starts a command that runs until the benchmark ends.
func (n *network) start(where string, argv ...string) {
	n.b.Helper()
	cmd := n.command(where, argv...)
	if err := cmd.Start(); err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func (n *network) command(where string, argv ...string) *exec.Cmd {
	n.b.Helper()
	cmd, err := n.Command(n.b.Context(), where, argv...)
	if err != nil {
		n.b.Fatal(err)
	}
	return cmd
}

// The machines behind the edges that are talked to: the outside machine "web"
// has their addresses, too.
const destinations = 20

func destination(i int) string { return fmt.Sprintf("172.16.1.%d", 130+i) }

// answer is one ping that came back.
type answer struct {
	seq int
	at  time.Time
}

// series is what became of the pings to one destination.
type series struct {
	sent     int
	answered []answer // by sequence numbers, which begin with 1
}

func (s series) lost() int { return s.sent - len(s.answered) }

// outage returns the time between the last answer before a moment and the
// first one after it, if pings without an answer lie between.
func (s series) outage(at time.Time) time.Duration {
	i := slices.IndexFunc(s.answered, func(a answer) bool { return a.at.After(at) })
	if i < 1 || s.answered[i].seq == s.answered[i-1].seq+1 {
		return 0
	}
	return s.answered[i].at.Sub(s.answered[i-1].at)
}

// goesOn reports whether there are answers after a moment.
func (s series) goesOn(at time.Time) bool {
	return len(s.answered) > 0 && s.answered[len(s.answered)-1].at.After(at)
}

// traffic pings all destinations from a workload for some time, each every 10
// ms, and meanwhile does something, which has to end before the pings do.
func (n *network) traffic(workload string, lasts time.Duration, meanwhile func()) []series {
	n.b.Helper()
	const interval = 10 * time.Millisecond
	var pings [destinations]*exec.Cmd
	var out [destinations]bytes.Buffer
	for i := range pings {
		pings[i] = n.command(workload, "ping", "-n", "-D", "-W", "2", "-i", fmt.Sprint(interval.Seconds()), "-c", fmt.Sprint(int(lasts/interval)), destination(i))
		pings[i].Stdout = &out[i]
		if err := pings[i].Start(); err != nil {
			n.b.Fatal(err)
		}
	}
	start := time.Now()
	time.Sleep(500 * time.Millisecond)
	meanwhile()
	if took := time.Since(start); took > lasts {
		n.b.Fatalf("the pings ended after %s, what was to happen meanwhile took %s", lasts, took)
	}
	all := make([]series, destinations)
	for i := range pings {
		pings[i].Wait() // its status tells of losses, which are counted here
		var err error
		if all[i], err = parsePings(out[i].String()); err != nil {
			n.b.Fatalf("ping %s: %v", destination(i), err)
		}
	}
	return all
}

var (
	pingAnswer = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) `)
	pingSent   = regexp.MustCompile(`(\d+) packets transmitted`)
)

// parsePings reads what `ping -D` prints.
func parsePings(out string) (series, error) {
	var s series
	sent := pingSent.FindStringSubmatch(out)
	if sent == nil {
		return s, fmt.Errorf("it printed no summary: %q", out)
	}
	s.sent, _ = strconv.Atoi(sent[1]) // digits, by the expression
	for line := range strings.Lines(out) {
		if m := pingAnswer.FindStringSubmatch(line); m != nil {
			seconds, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return s, err
			}
			seq, _ := strconv.Atoi(m[2])
			s.answered = append(s.answered, answer{seq, time.UnixMicro(int64(seconds * 1e6))})
		}
	}
	slices.SortStableFunc(s.answered, func(a, b answer) int { return cmp.Compare(a.seq, b.seq) })
	s.answered = slices.CompactFunc(s.answered, func(a, b answer) bool { return a.seq == b.seq })
	return s, nil
}
