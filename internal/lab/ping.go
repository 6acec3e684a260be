package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// Pings is how a series of pings went.
type Pings struct {
	From, To       string // as they were named
	Address        netip.Addr
	Sent, Received int
	Min, Avg, Max  time.Duration // round trips; 0 if nothing was received
}

// Lost returns how many pings got no answer.
func (p Pings) Lost() int { return p.Sent - p.Received }

// String is the result in one line.
func (p Pings) String() string {
	to := p.To
	if to != p.Address.String() {
		to += " (" + p.Address.String() + ")"
	}
	s := fmt.Sprintf("%s -> %s: %d sent, %d received, %.4g%% loss", p.From, to, p.Sent, p.Received, 100*float64(p.Lost())/float64(max(p.Sent, 1)))
	if p.Received > 0 {
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		s += fmt.Sprintf(", round trip min/avg/max %.3f/%.3f/%.3f ms", ms(p.Min), ms(p.Avg), ms(p.Max))
	}
	return s
}

// Ping sends count pings, interval apart, from a host, an outside machine or a
// workload to another one or to an address. That pings get no answer is in the
// result and no error; that another address answers is an error.
func (l *Lab) Ping(ctx context.Context, from, to string, count int, interval time.Duration) (Pings, error) {
	p := Pings{From: from, To: to}
	at, err := l.at(from)
	if err != nil {
		return p, err
	}
	if p.Address, err = l.addressOf(to); err != nil {
		return p, err
	}
	seconds := strconv.FormatFloat(interval.Seconds(), 'f', -1, 64)
	out, err := at.output(ctx, "ping", "-n", "-c", strconv.Itoa(count), "-i", seconds, "-W", "2", p.Address.String())
	// Status 1 is lost pings; anything else is something else.
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return p, err
	}
	return p, p.parse(out)
}

// addressOf finds the address of a host, an outside machine, a workload or the
// physical switch, or takes it as it is written.
func (l *Lab) addressOf(name string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr, nil
	}
	if name == physical {
		return switchAddr(l.Spec.network()), nil
	}
	if h, err := l.Host(name); err == nil {
		return netip.ParseAddr(h.Address)
	}
	if o, ok := l.Spec.outside(name); ok {
		address, err := netip.ParsePrefix(o.Address)
		return address.Addr(), err
	}
	w, err := l.workload(name)
	if err != nil {
		_, err = l.at(name) // which names everything that there is
		return netip.Addr{}, err
	}
	return netip.ParseAddr(w.Address)
}

var (
	pingCounts = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)
	pingStray  = regexp.MustCompile(`(?m)^\d+ bytes from ([\d.]+): .*\(DIFFERENT ADDRESS!\)`)
	pingTimes  = regexp.MustCompile(`rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/[\d.]+ ms`)
)

// parse reads what ping(8) prints: the summary, and answers that came from
// another address, as of a translation that was not undone. They count as
// received in the summary.
func (p *Pings) parse(out string) error {
	m := pingCounts.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("ping from %s to %s printed no summary: %q", p.From, p.To, out)
	}
	p.Sent, _ = strconv.Atoi(m[1]) // digits, by the expression
	p.Received, _ = strconv.Atoi(m[2])
	if m = pingTimes.FindStringSubmatch(out); m != nil {
		for i, d := range []*time.Duration{&p.Min, &p.Avg, &p.Max} {
			ms, err := strconv.ParseFloat(m[i+1], 64)
			if err != nil {
				return fmt.Errorf("ping from %s to %s: %w", p.From, p.To, err)
			}
			*d = time.Duration(math.Round(ms*1000)) * time.Microsecond
		}
	}
	if m = pingStray.FindStringSubmatch(out); m != nil {
		return fmt.Errorf("ping from %s to %s: %s answered instead of %s", p.From, p.To, m[1], p.Address)
	}
	return nil
}
