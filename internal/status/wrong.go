package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/store"
)

// Problem is something that is wrong, with everything that it is wrong with: what
// ails one chassis often ails many.
type Problem struct {
	What   string   `json:"problem"`
	Who    []string `json:"who,omitempty"` // members of etcd, or chassis
	Remedy string   `json:"remedy"`
}

// maxNamed bounds how many names String tells.
const maxNamed = 5

// String returns the problem as one line.
func (p Problem) String() string {
	if len(p.Who) == 0 {
		return fmt.Sprintf("%s; %s", p.What, p.Remedy)
	}
	who := strings.Join(p.Who[:min(len(p.Who), maxNamed)], ", ")
	if more := len(p.Who) - maxNamed; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s: %s; %s", p.What, who, p.Remedy)
}

// problems collects what is wrong.
type problems []Problem

// add notes that something is wrong with somebody.
func (l *problems) add(who, what, remedy string) {
	i := slices.IndexFunc(*l, func(p Problem) bool { return p.What == what && p.Remedy == remedy })
	if i < 0 {
		i = len(*l)
		*l = append(*l, Problem{What: what, Remedy: remedy})
	}
	if who != "" {
		(*l)[i].Who = append((*l)[i].Who, who)
	}
}

// Wrong returns what is wrong, etcd first.
func (s *Snapshot) Wrong() []Problem {
	l := problems(s.EtcdProblems())
	if s.AskErr != nil && !s.denied() {
		l.add("", notAsked+s.AskErr.Error(), "see whether etcd can be written to")
	}
	for _, c := range s.Chassis {
		s.wrongWith(c, &l)
	}
	for _, b := range s.Unfit {
		l.add(b.Key.String(), "values in etcd that cannot be used", "see why, and what mends them: tpctl check")
	}
	return l
}

const notAsked = "the agents could not be asked for their status: "

// denied reports whether who looks may not ask agents, which is written in etcd.
func (s *Snapshot) denied() bool { return errors.Is(s.AskErr, store.ErrDenied) }

// Notes returns what is not wrong, and keeps who looks from seeing all.
func (s *Snapshot) Notes() []string {
	if s.denied() {
		return []string{notAsked + s.AskErr.Error() + "; an operator may"}
	}
	return nil
}

// missed reports whether a chassis should be heard of and is not. A record with an MTU
// is of an agent that is heard of while it runs.
func (c Chassis) missed() bool { return c.State == Down || c.State == Unknown && c.MTU > 0 }

// whenMissed is what to do about one that is missed.
func (s *Snapshot) whenMissed() string {
	if s.authenticates {
		return "see the log of the agent there: it may not be able to log in to etcd; start it if it does not run, and only if the host is gone for good: tpctl ch del NAME"
	}
	return "start the agent there, or take the chassis out with: tpctl ch del NAME"
}

// EtcdProblems returns what is wrong with etcd alone.
func (s *Snapshot) EtcdProblems() []Problem {
	var l problems
	for _, m := range s.Members {
		who := strings.TrimPrefix(m.Name+" at "+m.Endpoint, " at ")
		if m.Err != nil {
			l.add(who, fmt.Sprintf("etcd member does not work (%v)", m.Err), "see whether it runs and can be reached from here")
		}
		for _, alarm := range m.Alarms {
			what, remedy := alarmed(alarm)
			l.add(who, what, remedy)
		}
	}
	if s.StoreErr != nil {
		l.add("", s.StoreErr.Error(), "see what is wrong with the members of etcd: more than half of them have to work together")
	}
	return l
}

// alarmed says in plain words what a member of etcd has raised an alarm about.
func alarmed(alarm string) (what, remedy string) {
	switch {
	case strings.Contains(alarm, "NOSPACE"):
		return "etcd takes no more writes, as its database is full (NOSPACE)",
			"compact and defragment it, or raise its quota, then: etcdctl alarm disarm"
	case strings.Contains(alarm, "CORRUPT"):
		return "etcd member holds other data than the others (CORRUPT)", "take it out of the cluster, and add it again without its data"
	case strings.Contains(alarm, "no leader"):
		return "etcd member knows of no leader", "start members until more than half of them work together, and see the network between them"
	}
	return "etcd member says: " + strings.TrimSpace(alarm), "see the log of that member"
}

// wrongWith adds what is wrong with one chassis.
func (s *Snapshot) wrongWith(c Chassis, l *problems) {
	switch {
	case c.State == Down:
		l.add(c.Name, "down", s.whenMissed())
	case c.missed():
		l.add(c.Name, "not heard of", s.whenMissed())
	case c.asked && c.Report == nil && s.AskErr == nil:
		l.add(c.Name, "up, and its agent does not answer", "see the log of the agent there, and tuplenet doctor; one of an earlier version never answers")
	}
	switch {
	case c.Registered:
	case c.State == Up:
		l.add(c.Name, "up without a record, so that nobody sends to it or takes what it sends", "start the agent there anew")
	case len(c.Routers) > 0:
		l.add(c.Name, "without a record, and routers are pinned to it: "+strings.Join(c.Routers, ", "),
			"start the agent there, or delete the routers with: tpctl lr del -r ROUTER")
	}
	if c.Contender.IsValid() {
		l.add(c.Name, "has the system-id of another host, "+c.Contender.String()+", which was refused",
			"give that one its own: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME")
	}
	if len(s.shared[c.IP]) > 1 && c.Registered {
		l.add(c.Name, "records with one address, "+c.IP.String()+", of which the newest counts", "delete what is stale with: tpctl ch del NAME")
	}
	if r := c.Report; r != nil {
		r.wrong(c.Name, l)
	}
}

// wrong adds what a report says that is wrong.
func (r *Report) wrong(name string, l *problems) {
	if !r.InSync {
		l.add(name, "the bridge does not hold the flows that it should", "see whether ovs-vswitchd runs there, and the agent's log")
	}
	if r.Tunnels < r.Wanted {
		l.add(name, "tunnels are missing in Open vSwitch", "see tuplenet doctor there")
	}
	if r.Amiss() {
		l.add(name, fmt.Sprintf("the bridge holds %d of %d flows", *r.Held, r.Flows),
			"the agent makes that right, now that it was asked; if it is said again, see tuplenet doctor there")
	}
	if len(r.Dark) > 0 {
		what, remedy := "a way out has no link: ", "see the cable of its NIC, or plug one into its bridge: ovs-vsctl add-port BRIDGE NIC"
		if len(r.Dark) == r.WaysOut {
			what = "no way out has a link: "
		}
		l.add(name, what+strings.Join(r.Dark, ", "), remedy)
	}
	for _, edge := range r.Refusing {
		l.add(name, edge+" says that it cannot forward", "see why: tpctl status "+edge)
	}
	if r.Alive+len(r.Refusing) < r.Watched {
		l.add(name, "BFD finds no way through tunnels", "see which: tpctl status NAME")
	}
	for _, stray := range r.Strays[:min(len(r.Strays), maxNamed)] {
		l.add(name, stray.String(), stray.Remedy())
	}
	if len(r.Strays) > maxNamed {
		l.add(name, "more interfaces whose ports are not bound there", "see which: tuplenet doctor --only interfaces there")
	}
	if r.Problems > 0 {
		l.add(name, "objects cannot work as they are stored", "see which: tpctl status NAME, and tpctl check")
	}
}
