package ctl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// matrix traces a packet from each port of some switches to each other, and
// prints which of them arrive.
func (t *tracing) matrix(switches []string) error {
	ports, left, err := t.pluggedIn(switches)
	if err != nil {
		return err
	}
	if left > 0 && !t.JSON {
		t.note("left out, as nothing is plugged in there: " + plural(left, "port"))
	}
	if len(ports) < 2 {
		only := "nothing is plugged in"
		if len(ports) == 1 {
			only = "only " + ports[0].Name + " is plugged in"
		}
		return fmt.Errorf("there are no two ports of %s to trace between: %s", strings.Join(switches, ", "), only)
	}
	defer t.end()
	results := make([]traced, len(ports)*len(ports))
	var work errgroup.Group
	work.SetLimit(t.atOnce)
	var done atomic.Int32
	for i, from := range ports {
		for j, to := range ports {
			if i == j {
				continue
			}
			work.Go(func() error {
				r, err := t.pair(from, to)
				results[i*len(ports)+j] = r
				t.progress(int(done.Add(1)), len(ports)*(len(ports)-1))
				return err
			})
		}
	}
	if err := work.Wait(); err != nil {
		return err
	}
	t.progress(0, 0)
	if err := t.printMatrix(ports, results); err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r traced) bool { return r.From != "" && !r.ok() }) {
		return ErrTold
	}
	return nil
}

// pluggedIn returns the workloads' ports of some switches that are bound to a
// chassis, and how many are not.
func (t *tracing) pluggedIn(switches []string) (ports []topology.SwitchPort, left int, err error) {
	wanted := map[string]bool{}
	for _, sw := range switches {
		if sw, err = name(sw); err != nil {
			return nil, 0, err
		}
		if t.model.Get(topology.Switch{Name: sw}.Key()) == nil {
			return nil, 0, fmt.Errorf("switch %s %w", sw, store.ErrNotFound)
		}
		wanted[sw] = true
	}
	for e := range t.model.All() {
		p, ok := e.(topology.SwitchPort)
		switch {
		case !ok || !wanted[p.Switch] || p.Peer != "" || p.Outer():
		case p.Chassis == "":
			left++
		default:
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b topology.SwitchPort) int { return a.Key().Compare(b.Key()) })
	return ports, left, nil
}

// pair traces a packet between two ports. Only what keeps all others from being
// traced, too, is an error.
func (t *tracing) pair(from, to topology.SwitchPort) (traced, error) {
	p := t.probe
	p.Port, p.IPDst = from.Name, to.IP
	p.Proto = cmp.Or(p.Proto, trace.ICMPReply)
	r, err := t.arrives(p)
	if err == nil && t.probe.Proto == "" && r.End.Reason == trace.NoNAT {
		p.Proto = trace.ICMP // a reply without a request belongs to no connection
		r, err = t.arrives(p)
	}
	r.To = to.Name
	return r, err
}

// arrives traces one packet. Of several ways that it might take, one that does not
// lead to its destination is told.
func (t *tracing) arrives(p trace.Probe) (traced, error) {
	r, err := t.packet(p)
	if err != nil {
		r.End = trace.Verdict{Outcome: trace.Unsent, Text: err.Error()}
		return r, nil
	}
	if !t.dry {
		return t.sent(r)
	}
	ways, err := t.computed(r)
	if err != nil {
		return r, err
	}
	if i := slices.IndexFunc(ways, func(r traced) bool { return !r.ok() }); i >= 0 {
		return ways[i], nil
	}
	return ways[0], nil
}

// progress tells a person how far it is, and at the end takes that back.
func (t *tracing) progress(done, of int) {
	if !isTerminal(t.Err) {
		return
	}
	text := ""
	if done < of {
		text = fmt.Sprintf("%d of %d packets", done, of)
	}
	fmt.Fprintf(t.Err, "\r\x1b[K%s", text)
}

// printMatrix prints who reaches whom, and below it why some do not.
func (t *tracing) printMatrix(ports []topology.SwitchPort, results []traced) error {
	if t.JSON {
		for _, r := range results {
			if r.From == "" {
				continue
			}
			if err := t.print(r); err != nil {
				return fmt.Errorf("print the paths: %w", err)
			}
		}
		return nil
	}
	rows := [][]string{{"", "from \\ to"}}
	for i := range ports {
		rows[0] = append(rows[0], fmt.Sprint(i+1))
	}
	arrived, elsewhere, wrong := 0, 0, []string{}
	for i, from := range ports {
		row := []string{fmt.Sprint(i + 1), topology.ShortDockerID(from.Name)}
		for j := range ports {
			r := results[i*len(ports)+j]
			if r.End.OK() {
				arrived++
				if !r.ok() {
					elsewhere++
				}
			}
			switch {
			case i == j:
				row = append(row, "-")
			case r.ok():
				row = append(row, "ok")
			default:
				row = append(row, cmp.Or(r.blamed(), from.Chassis))
				wrong = append(wrong, fmt.Sprintf("%s -> %s: %s", topology.ShortDockerID(r.From), topology.ShortDockerID(r.To), r.what()))
			}
		}
		rows = append(rows, row)
	}
	for _, line := range append(trace.Align(rows), wrong...) {
		fmt.Fprintln(t.Out, line)
	}
	way := ""
	switch {
	case !t.compare || arrived == 0:
	case elsewhere > 0:
		way = fmt.Sprintf(", %d of them by a way that the store does not want", elsewhere)
	default:
		way = ", all by the way that the store wants"
	}
	_, err := fmt.Fprintf(t.Out, "%d of %d packets arrived%s\n", arrived, len(ports)*(len(ports)-1), way)
	return err
}

// blamed is the chassis where a packet went wrong.
func (r traced) blamed() string {
	if r.Compared != nil && !r.Compared.Agree {
		return r.Compared.Difference.Chassis
	}
	return r.End.Chassis
}

// what is the sentence about a packet that did not arrive, or not as it ought to.
func (r traced) what() string {
	if r.Compared != nil && !r.Compared.Agree && !r.Compared.Difference.ToldBy(r.End) {
		return r.End.String() + "; " + r.Compared.Difference.String()
	}
	return r.End.String()
}
