package status

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the snapshot for people: a line a member of etcd, a line a
// chassis, or all about the one that was asked for, and a line a problem.
func (s *Snapshot) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s.printMembers(t)
	if len(s.Chassis) > 0 {
		fmt.Fprintln(t)
		printHeads(t, "CHASSIS", "STATE", "VERSION", "ADDRESS", "MTU", "TUNNELS", "BFD", "FLOWS", "SYNC", "PORTS", "MODE")
	}
	for _, c := range s.Chassis {
		s.printChassis(t, c)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(s.Chassis) == 1 && s.Chassis[0].Report != nil && s.Chassis[0].Report.Detail != nil {
		if err := s.printDetail(w, s.Chassis[0]); err != nil {
			return err
		}
	}
	wrong, notes := s.Wrong(), s.Notes()
	if len(wrong)+len(notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range notes {
		fmt.Fprintf(w, "note %s\n", n)
	}
	for _, p := range wrong {
		if _, err := fmt.Fprintf(w, "BAD %s\n", p); err != nil {
			return err
		}
	}
	return nil
}

func printHeads(t *tabwriter.Writer, heads ...string) { fmt.Fprintln(t, strings.Join(heads, "\t")) }

// printLine writes cells, a dash for one that is empty.
func printLine(t *tabwriter.Writer, cells ...string) {
	for i := range cells {
		cells[i] = cmp.Or(cells[i], "-")
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

func (s *Snapshot) printMembers(t *tabwriter.Writer) {
	printHeads(t, "ETCD", "ENDPOINT", "VERSION", "ROLE", "DB SIZE", "REVISION", "RAFT LAG", "STATE")
	for _, m := range s.Members {
		if m.Err != nil {
			printLine(t, m.Name, m.Endpoint, "", "", "", "", "", "away: "+m.Err.Error())
			continue
		}
		role, state := "follower", fmt.Sprintf("ok (%s)", shortTime(m.Took))
		switch {
		case m.Leader:
			role = "leader"
		case m.Learner:
			role = "learner"
		}
		if len(m.Alarms) > 0 {
			state = "alarm"
		}
		printLine(t, m.Name, m.Endpoint, m.Version, role, size(m.Size), fmt.Sprint(m.Revision), fmt.Sprint(m.Lag), state)
	}
}

func (s *Snapshot) printChassis(t *tabwriter.Writer, c Chassis) {
	state := string(c.State)
	if c.State == Down {
		state += " since " + c.Since.Format(time.RFC3339)
	}
	address, mtu := "", ""
	if c.IP.IsValid() {
		address = c.IP.String()
	}
	if c.MTU > 0 {
		mtu = fmt.Sprint(c.MTU)
	}
	r := c.Report
	if r == nil {
		printLine(t, c.Name, state, "", address, mtu, "", "", "", "", "", s.silence(c))
		return
	}
	printLine(t, c.Name, state, r.Version, cmp.Or(address, r.IP), mtu, of(r.Tunnels, r.Wanted), of(r.Alive, r.Watched),
		fmt.Sprint(r.Flows), r.sync(), fmt.Sprint(r.Ports), r.Mode())
}

// silence says why there is no report of a chassis.
func (s *Snapshot) silence(c Chassis) string {
	switch {
	case c.State == Unknown && c.MTU == 0 && c.Registered:
		return "no answer (original agent)"
	case !c.Registered && c.State == Unknown:
		return "no record"
	case c.asked && s.AskErr != nil:
		return "not asked"
	case c.asked:
		return "does not answer: it is dead, hung or busy"
	}
	return ""
}

func (r *Report) sync() string {
	switch {
	case r.Synced.IsZero():
		return "never"
	case !r.InSync:
		return "lost"
	}
	return shortTime(r.Time.Sub(r.Synced)) + " ago"
}

// Mode says which flows the node has: "edge", "on demand" or "all flows".
func (r *Report) Mode() string {
	switch {
	case r.Edge:
		return "edge"
	case r.OnDemand:
		return "on demand"
	}
	return "all flows"
}

// of says how many of how many, where there are any.
func of(n, all int) string {
	if n == all {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, all)
}

// size returns bytes in the unit that suits.
func size(bytes int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	n, unit := float64(bytes), 0
	for ; n >= 1000 && unit < len(units)-1; unit++ {
		n /= 1000
	}
	if n < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", n, units[unit])
	}
	return fmt.Sprintf("%.0f %s", n, units[unit])
}

// shortTime returns a duration in its largest unit: 3d, 5h, 2m, 14s, 20ms.
func shortTime(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", max(0, d.Milliseconds()))
}
