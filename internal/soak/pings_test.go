package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"tuplenet/internal/lab"
)

// pingInterval is the time between two pings of a pair.
const pingInterval = 50 * time.Millisecond

// pair is who pings whom.
type pair struct{ from, to string }

func (p pair) String() string { return p.from + " -> " + p.to }

// pinger pings one machine from another one until it is stopped.
type pinger struct {
	pair
	cmd  *exec.Cmd
	done chan struct{}

	mu       sync.Mutex
	answered map[int]time.Time // when the answered pings were sent, by number
	last     int               // the highest number in answered
}

// ping begins to ping address.
func ping(ctx context.Context, l *lab.Lab, p pair, address string) (*pinger, error) {
	cmd, err := l.Command(ctx, p.from, "ping", "-n", "-D", "-i", fmt.Sprint(pingInterval.Seconds()), address)
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &pinger{pair: p, cmd: cmd, done: make(chan struct{}), answered: map[int]time.Time{}}
	go g.read(out)
	return g, nil
}

func (g *pinger) stop() {
	g.cmd.Process.Kill()
	<-g.done
	g.cmd.Wait()
}

var answerLine = regexp.MustCompile(`^\[(\d+)\.(\d{6})\] \d+ bytes from .* icmp_seq=(\d+) .*time=([\d.]+) ms`)

// read takes in what ping prints.
func (g *pinger) read(out io.Reader) {
	defer close(g.done)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		m := answerLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		// Digits, by the expression.
		sec, _ := strconv.ParseInt(m[1], 10, 64)
		usec, _ := strconv.ParseInt(m[2], 10, 64)
		seq, _ := strconv.Atoi(m[3])
		ms, _ := strconv.ParseFloat(m[4], 64)
		sent := time.Unix(sec, usec*1000).Add(-time.Duration(ms * float64(time.Millisecond)))
		g.mu.Lock()
		// The number has 16 bits on the wire.
		n := g.last + int(int16(seq-g.last))
		g.answered[n] = sent
		g.last = max(g.last, n)
		g.mu.Unlock()
	}
}

// alive reports whether a ping was answered that was sent after a moment.
func (g *pinger) alive(after time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answered[g.last].After(after)
}

// lost returns when the pings were sent that got no answer, up to the last one
// that did, and forgets them.
func (g *pinger) lost() []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []time.Time
	numbers := slices.Sorted(maps.Keys(g.answered))
	for i, n := range numbers[:max(0, len(numbers)-1)] {
		next := numbers[i+1]
		from, to := g.answered[n], g.answered[next]
		for k := n + 1; k < next; k++ {
			out = append(out, from.Add(to.Sub(from)*time.Duration(k-n)/time.Duration(next-n)))
		}
	}
	maps.DeleteFunc(g.answered, func(n int, _ time.Time) bool { return n != g.last })
	return out
}
