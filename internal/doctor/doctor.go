package doctor

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"time"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Finding is one thing that a check has found, good or bad.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Subject string `json:"subject,omitempty"` // what it is about, such as a chassis; empty if the check has one subject only
	Text    string `json:"text"`
	Remedy  string `json:"remedy,omitempty"` // what to do about what is bad
}

// String returns the finding as one line.
func (f Finding) String() string {
	verdict, subject, remedy := "BAD", "", ""
	if f.OK {
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
		{"agent", checkAgent},
		{"Open vSwitch", checkOVS},
		{"flows", checkFlows},
		{"etcd", checkStore},
		{"chassis", checkOwnChassis},
		{"workload MTU", checkRecordedMTU},
		{"path MTU", checkPathMTU},
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

// Env is what checks look at.
type Env struct {
	Open     func(context.Context) (*store.Store, error) // connects to etcd
	TunnelIP netip.Addr                                  // this host's end of the tunnels
	Wait     time.Duration                               // how long a probe of the network waits for its answer
	RunDir   string                                      // the agent's run directory
	OVS      ovs.Config                                  // this host's Open vSwitch

	read    bool // chassis have been read, or cannot be
	chassis []topology.Chassis
	unfit   []store.Bad
	err     error

	ovsRead  bool // ovsFound has been looked up, or cannot be
	ovsFound ovsState
	ovsErr   error
}

// Chassis returns the chassis in the store, by name. They are read once.
func (e *Env) Chassis(ctx context.Context) ([]topology.Chassis, error) {
	if !e.read {
		e.read = true
		e.err = e.readChassis(ctx)
	}
	return e.chassis, e.err
}

func (e *Env) readChassis(ctx context.Context) error {
	st, err := e.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	list, unfit, err := st.List(ctx, topology.KindChassis, "")
	if err != nil {
		return err
	}
	for _, entity := range list {
		e.chassis = append(e.chassis, entity.(topology.Chassis))
	}
	e.unfit = unfit
	return nil
}

// nic returns the interface that has this host's tunnel address.
func (e *Env) nic() (net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, fmt.Errorf("interfaces of this host: %w", err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			return net.Interface{}, fmt.Errorf("addresses of interface %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == e.TunnelIP {
				return i, nil
			}
		}
	}
	return net.Interface{}, fmt.Errorf("no interface of this host has the address %s", e.TunnelIP)
}

// named tells a chassis by its name and its address.
func named(c topology.Chassis) string { return fmt.Sprintf("%s (%s)", c.Name, c.IP) }
