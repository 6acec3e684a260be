package doctor

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"tuplenet/internal/ovs"
	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Finding is one thing that a check has found, good or bad.
type Finding struct {
	Check   string   `json:"check"`
	OK      bool     `json:"ok"`
	Note    bool     `json:"note,omitempty"`    // it is not bad, and worth knowing
	Subject string   `json:"subject,omitempty"` // what it is about, such as a chassis; empty if the check has one subject only
	Text    string   `json:"text"`
	Remedy  string   `json:"remedy,omitempty"`  // what to do about what is bad
	Details []string `json:"details,omitempty"` // all of it, where Text tells the first only
}

// String returns the finding as one line, without the details.
func (f Finding) String() string {
	verdict, subject, remedy := "BAD", "", ""
	switch {
	case f.Note:
		verdict = "note"
	case f.OK:
		verdict = "ok "
	}
	if f.Subject != "" {
		subject = " " + f.Subject
	}
	if f.Remedy != "" {
		remedy = "; " + f.Remedy
	}
	return fmt.Sprintf("%s %s%s: %s%s", verdict, f.Check, subject, f.Text, remedy)
}

func good(subject, format string, args ...any) Finding {
	return Finding{OK: true, Subject: subject, Text: fmt.Sprintf(format, args...)}
}

// bad returns a finding with its remedy, an imperative.
func bad(subject, text, remedy string) Finding {
	return Finding{Subject: subject, Text: text, Remedy: remedy}
}

// note returns a finding that is not bad, with what can be done about it.
func note(subject, text, remedy string) Finding {
	return Finding{OK: true, Note: true, Subject: subject, Text: text, Remedy: remedy}
}

// Check is one question to this host and its network.
type Check struct {
	Name string
	// Run returns findings without their Check, which is Name. None means that
	// there was nothing to look at; why is another check's finding.
	Run func(context.Context, *Env) []Finding
}

// Checks returns all checks, in the order in which they build on each other.
func Checks() []Check {
	return []Check{
		{"permissions", checkPermissions},
		{"agent", checkAgent},
		{"Open vSwitch", checkOVS},
		{"kernel", checkKernel},
		{"interfaces", checkInterfaces},
		{"tunnel address", checkTunnelAddress},
		{"checksums", checkChecksums},
		{"flows", checkFlows},
		{"etcd", checkStore},
		{"chassis", checkOwnChassis},
		{"clock", checkClock},
		{"workload MTU", checkRecordedMTU},
		{"path MTU", checkPathMTU},
		{"BFD", checkBFD},
	}
}

// Run carries out checks one after the other and yields what they find as they
// find it.
func Run(ctx context.Context, env *Env, checks []Check) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		for _, c := range checks {
			for _, f := range c.Run(ctx, env) {
				f.Check = c.Name
				if !yield(f) {
					return
				}
			}
		}
	}
}

// Env is what checks look at. What costs something is looked at once.
type Env struct {
	Open      func(context.Context) (*store.Store, error) // connects to etcd
	Reach     func() (*store.Store, error)                // as Open, without asking etcd anything
	TunnelIP  netip.Addr                                  // this host's end of the tunnels; the zero Addr if it cannot be told
	TunnelErr error                                       // why not
	Wait      time.Duration                               // how long a probe of the network waits for its answer
	RunDir    string                                      // the agent's run directory
	OVS       ovs.Config                                  // this host's Open vSwitch

	deployment once[status.Snapshot] // what etcd says, without the agents
	health     once[ovs.Health]
	reading    once[ovs.Reading]
	answers    map[netip.Addr]bool // who has answered a ping of checkPathMTU
}

// once is something that is looked at when it is first asked for.
type once[T any] struct {
	done  bool
	value T
	err   error
}

func (o *once[T]) get(look func() (T, error)) (T, error) {
	if !o.done {
		o.done = true
		o.value, o.err = look()
	}
	return o.value, o.err
}

// snapshot is what etcd says of its members and of the chassis. The error is
// about what names etcd; whether that works the snapshot tells.
func (e *Env) snapshot(ctx context.Context) (status.Snapshot, error) {
	return e.deployment.get(func() (status.Snapshot, error) {
		st, err := e.Reach()
		if err != nil {
			return status.Snapshot{}, err
		}
		defer st.Close()
		return status.Take(ctx, st, status.Options{Patience: e.Wait, Silent: true})
	})
}

// chassis returns the records of the chassis in etcd, by name; none while etcd
// does not answer.
func (e *Env) chassis(ctx context.Context) []topology.Chassis {
	s, _ := e.snapshot(ctx)
	var all []topology.Chassis
	for _, c := range s.Chassis {
		if c.Registered {
			all = append(all, topology.Chassis{Name: c.Name, IP: c.IP, Tick: c.Tick, MTU: c.MTU})
		}
	}
	return all
}

// examined is how this host's Open vSwitch is.
func (e *Env) examined(ctx context.Context) (ovs.Health, error) {
	return e.health.get(func() (ovs.Health, error) { return ovs.Examine(ctx, e.OVS) })
}

// read is what this host's Open vSwitch holds. With an error about the flows it
// returns the rest.
func (e *Env) read(ctx context.Context) (ovs.Reading, error) {
	return e.reading.get(func() (ovs.Reading, error) { return ovs.Read(ctx, e.OVS) })
}

// named tells a chassis by its name and its address.
func named(c topology.Chassis) string { return fmt.Sprintf("%s (%s)", c.Name, c.IP) }
