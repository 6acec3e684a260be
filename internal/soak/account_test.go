package soak

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/lab"
)

// outage is why pings may be missing: of which pairs, and for how long.
type outage struct {
	why      string
	from, to time.Time // to is zero while it goes on
	pairs    map[pair]bool
	over     func() bool
	most     int          // pings of a pair that it explains; 0 for any number
	counted  map[pair]int // of most
}

// failover is how long the packets may be lost that go by an edge that has died:
// until BFD finds it out (three intervals of 200 ms), and a little.
const failover = 1500 * time.Millisecond

// explain notes what a fault of t may cost: nothing, if it is an agent or of
// etcd.
//
// In userspace ovs-vswitchd waits for its database in the thread that forwards
// packets and runs BFD: while ovsdb-server is away it forwards nothing.
func (s *soak) explain(t thing) {
	if t.component != lab.Vswitchd && t.component != lab.OVSDB {
		return
	}
	// The host forwards again once it is whole: an ovs-vswitchd that has started
	// gets its flows from the agent, and an agent that has started from etcd.
	back := func() bool { return s.quorum() && s.hostWell(t.host) }
	s.open(t.String(), func(p pair) bool { return s.home(p.from) == t.host || s.home(p.to) == t.host }, back)
	if !slices.Contains(s.edges, t.host) {
		return
	}
	out := s.open(t.String()+", until BFD knows", s.leaves, back)
	out.to = out.from.Add(failover)
	forwards := func(edge string) bool {
		return s.states[thing{edge, lab.Vswitchd}] == well && s.states[thing{edge, lab.OVSDB}] == well
	}
	if !slices.ContainsFunc(s.edges, forwards) {
		s.open("no edge is left", s.leaves, func() bool { return slices.ContainsFunc(s.edges, s.hostWell) && s.quorum() })
	}
}

// explainMended notes what it may cost that a thing comes back alone: an edge
// whose ovs-vswitchd runs again lives for BFD, and has no flows before its agent
// brings them.
func (s *soak) explainMended(t thing) {
	if !slices.Contains(s.edges, t.host) || t.component != lab.Vswitchd && t.component != lab.OVSDB {
		return
	}
	back := func() bool { return s.quorum() && s.hostWell(t.host) }
	if s.states[thing{t.host, lab.Agent}] != well {
		s.open(t.String()+" without its agent", s.leaves, back)
	}
	s.open("traffic returns to "+t.host, s.leaves, back).most = 2
}

// explainMove notes what the move of a workload costs: until all hosts know of
// it.
func (s *soak) explainMove(workload, from, to string) {
	// Open vSwitch sets up its bridge anew when a port comes or goes.
	s.open("a port changes", func(p pair) bool {
		return slices.ContainsFunc([]string{s.home(p.from), s.home(p.to)}, func(h string) bool { return h == from || h == to }) ||
			s.leaves(p) && (slices.Contains(s.edges, from) || slices.Contains(s.edges, to))
	}, func() bool { return true }).most = 2
	s.open("move of "+workload, func(p pair) bool { return p.from == workload || p.to == workload },
		func() bool { return len(s.wellHosts()) == len(s.Spec.Hosts) })
}

func (s *soak) open(why string, affects func(pair) bool, over func() bool) *outage {
	o := &outage{why: why, from: time.Now(), pairs: map[pair]bool{}, over: over, counted: map[pair]int{}}
	for _, g := range s.pingers {
		o.pairs[g.pair] = affects(g.pair) // where its ends are now
	}
	s.outages = append(s.outages, o)
	return o
}

// settleOutages ends those whose cause is gone: the hosts have a moment from now
// on.
func (s *soak) settleOutages() {
	for _, o := range s.outages {
		if o.to.IsZero() && o.over() {
			o.to = time.Now().Add(s.settle)
		}
	}
}

// leaves reports whether the packets of a pair go by an edge.
func (s *soak) leaves(p pair) bool { return s.home(p.to) == "" }

// home returns the host that a workload is plugged in on, or nothing for what is
// outside.
func (s *soak) home(workload string) string { return s.homes[workload] }

// aboutASend is how exactly the time is known at which a ping was sent.
const aboutASend = 3 * pingInterval

// explained reports whether a lost ping has its reason.
func (s *soak) explained(p pair, sent time.Time) bool {
	reason := func(limited bool) *outage {
		i := slices.IndexFunc(s.outages, func(o *outage) bool {
			return o.pairs[p] && sent.After(o.from.Add(-aboutASend)) && (o.to.IsZero() || sent.Before(o.to.Add(aboutASend))) &&
				(o.most > 0) == limited && (!limited || o.counted[p] < o.most)
		})
		if i < 0 {
			return nil
		}
		return s.outages[i]
	}
	if reason(false) != nil {
		return true
	}
	o := reason(true)
	if o == nil {
		return false
	}
	o.counted[p]++
	return true
}

// account judges the pings since the last account. It is for when nothing is
// broken and traffic flows again: an answer may be as late as a hang was long.
func (s *soak) account() {
	total, unexplained := 0, 0
	for _, g := range s.pingers {
		var missing []time.Time
		lost := g.lost()
		for _, sent := range lost {
			if !s.explained(g.pair, sent) {
				missing = append(missing, sent)
			}
		}
		total, unexplained = total+len(lost), unexplained+len(missing)
		if len(missing) > 0 {
			s.fail("%s lost %d pings that no fault explains, sent %s", g.pair, len(missing), s.spans(missing))
		}
	}
	s.t.Logf("%s pings: %d lost, %d of them unexplained", s.clock(), total, unexplained)
	s.outages = slices.DeleteFunc(s.outages, func(o *outage) bool { return !o.to.IsZero() && o.to.Before(time.Now()) })
}

// spans writes down times that follow each other closely as one.
func (s *soak) spans(times []time.Time) string {
	var out []string
	for i := 0; i < len(times); {
		k := i
		for k+1 < len(times) && times[k+1].Sub(times[k]) < 3*pingInterval {
			k++
		}
		out = append(out, fmt.Sprintf("at %.2fs to %.2fs", times[i].Sub(s.start).Seconds(), times[k].Sub(s.start).Seconds()))
		i = k + 1
	}
	return strings.Join(out, ", ")
}
