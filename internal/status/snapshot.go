package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// State is what etcd says of whether a chassis is alive.
type State string

// The states of a chassis.
const (
	Up      State = "up"
	Stopped State = "stopped" // a moment ago; it is down if it does not start again
	Down    State = "down"
	Unknown State = "unknown" // an agent of the original TupleNet, or one that nobody has missed yet
)

// Chassis is one at the moment of a Snapshot.
type Chassis struct {
	Name       string
	State      State
	Since      time.Time  // when it went down
	IP         netip.Addr // of its record; the zero Addr if it has none
	MTU        int        // of its record
	Tick       int64      // of its record
	Registered bool       // it has a record
	Contender  netip.Addr // another host that wants to be this chassis; the zero Addr if there is none
	Routers    []string   // that are pinned to it
	Report     *Report    // what its agent says; nil if it was not asked or did not answer
	asked      bool
}

// Snapshot is how the deployment is at one moment.
type Snapshot struct {
	Members []store.Member
	Chassis []Chassis   // by name; for a snapshot of one chassis that alone
	Unfit   []store.Bad // what is kept of chassis and routers and cannot be used
	Changed int64       // revision of the last change of the topology, before the agents were asked
	// StoreErr says why the store could not be read: Chassis is empty then.
	// AskErr says why agents could not be asked.
	StoreErr, AskErr error

	authenticates bool                    // etcd does; looked up if it may be why a chassis is missed
	shared        map[netip.Addr][]string // chassis that have one address, where there are several
}

// Options say what a Snapshot is of.
type Options struct {
	Only     string        // a chassis, of which all details are wanted; empty for all chassis
	Patience time.Duration // how long a member of etcd, and an agent, may take to answer
	Silent   bool          // no agent is asked
}

// Take looks at etcd's members, at what etcd says of the chassis, and asks their
// agents. What cannot be seen is in the snapshot, too; the error is of a chassis
// that does not exist.
func Take(ctx context.Context, st *store.Store, opts Options) (Snapshot, error) {
	var s Snapshot
	var looks errgroup.Group
	// A member that hangs is left for another one after a while.
	read, stop := context.WithTimeout(ctx, opts.Patience+storePatience)
	defer stop()
	looks.Go(func() error {
		s.Members = st.Members(ctx, opts.Patience)
		if !slices.ContainsFunc(s.Members, func(m store.Member) bool { return m.Led }) {
			stop() // nobody is there to read from
		}
		return nil
	})
	looks.Go(func() error {
		s.StoreErr = s.readStore(read, st)
		return nil
	})
	looks.Wait()
	switch {
	case errors.Is(s.StoreErr, context.Canceled):
		s.StoreErr = errors.New("no member of etcd serves anybody, so that nothing is known of the chassis")
	case errors.Is(s.StoreErr, context.DeadlineExceeded):
		s.StoreErr = fmt.Errorf("etcd could not be read within %s, so that nothing is known of the chassis", opts.Patience+storePatience)
	}
	if s.StoreErr != nil {
		return s, nil
	}
	if opts.Only != "" {
		i := slices.IndexFunc(s.Chassis, func(c Chassis) bool { return c.Name == opts.Only })
		if i < 0 {
			return s, fmt.Errorf("chassis %s %w (\"tpctl ch show\" lists them)", opts.Only, store.ErrNotFound)
		}
		s.Chassis = s.Chassis[i : i+1]
	}
	if !opts.Silent {
		s.askAgents(ctx, st, opts)
	}
	return s, nil
}

// storePatience is what reading the store may take beyond the patience with one
// member.
const storePatience = 3 * time.Second

// readStore fills in what etcd says of the chassis.
func (s *Snapshot) readStore(ctx context.Context, st *store.Store) (err error) {
	if s.Changed, err = st.LastChange(ctx); err != nil {
		return err
	}
	all := map[string]*Chassis{}
	known := func(name string) *Chassis {
		if all[name] == nil {
			all[name] = &Chassis{Name: name, State: Unknown}
		}
		return all[name]
	}
	for _, kind := range []topology.Kind{topology.KindChassis, topology.KindAbsence, topology.KindPresence, topology.KindContender, topology.KindRouter} {
		list, unfit, err := st.List(ctx, kind, "")
		if err != nil {
			return err
		}
		s.Unfit = append(s.Unfit, unfit...)
		for _, e := range list {
			switch e := e.(type) {
			case topology.Chassis:
				c := known(e.Name)
				c.Registered, c.IP, c.MTU, c.Tick = true, e.IP, e.MTU, e.Tick
			case topology.Absence:
				c := known(e.Chassis)
				c.State, c.Since = Down, time.Unix(e.Since, 0).UTC()
			case topology.Presence:
				c := known(e.Chassis)
				if c.State = Up; e.Stopped {
					c.State = Stopped
				}
			case topology.Contender:
				known(e.Chassis).Contender = e.IP
			case topology.Router:
				if e.Chassis != "" {
					known(e.Chassis).Routers = append(known(e.Chassis).Routers, e.Name)
				}
			}
		}
	}
	s.shared = map[netip.Addr][]string{}
	for _, c := range all {
		s.Chassis = append(s.Chassis, *c)
	}
	slices.SortFunc(s.Chassis, func(a, b Chassis) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range s.Chassis {
		if c.Registered {
			s.shared[c.IP] = append(s.shared[c.IP], c.Name)
		}
	}
	if slices.ContainsFunc(s.Chassis, Chassis.missed) {
		s.authenticates, _ = st.Authenticates(ctx) // an etcd before 3.5 does not tell
	}
	return nil
}

// askAgents fills in what the agents say that are up.
func (s *Snapshot) askAgents(ctx context.Context, st *store.Store, opts Options) {
	var up []string
	for i := range s.Chassis {
		if c := &s.Chassis[i]; c.State == Up {
			c.asked = true
			up = append(up, c.Name)
		}
	}
	var reports map[string]Report
	reports, s.AskErr = Ask(ctx, st, up, opts.Only != "", opts.Patience)
	for i := range s.Chassis {
		if r, ok := reports[s.Chassis[i].Name]; ok {
			s.Chassis[i].Report = &r
		}
	}
}

// Behind returns how many revisions of the store a chassis' agent has not seen
// yet, of those that changed the topology and still show.
func (s *Snapshot) Behind(c Chassis) int64 {
	if c.Report == nil {
		return 0
	}
	return max(0, s.Changed-c.Report.Revision)
}
