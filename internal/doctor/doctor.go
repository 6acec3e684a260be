package doctor

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
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
	Run   func(context.Context, *Env) []Finding
	needs []need
}

// need is what a check cannot look without.
type need struct {
	check string // that finds why it is not met
	met   func(context.Context, *Env) bool
}

var (
	needOVS = need{"Open vSwitch", func(ctx context.Context, env *Env) bool {
		h, err := env.examined(ctx)
		return err == nil && h.Bridge != ""
	}}
	needVSwitchd = need{"Open vSwitch", func(ctx context.Context, env *Env) bool { return !env.silent(ctx) }}
	needStore    = need{"etcd", func(ctx context.Context, env *Env) bool {
		s, err := env.snapshot(ctx)
		return err == nil && s.StoreErr == nil
	}}
	needAddress = need{"tunnel address", func(_ context.Context, env *Env) bool {
		_, err := env.nic()
		return err == nil
	}}
)

// Checks returns all checks, in the order in which they build on each other.
func Checks() []Check {
	return []Check{
		{"permissions", checkPermissions, nil},
		{"agent", checkAgent, nil},
		{"Open vSwitch", checkOVS, nil},
		{"kernel", checkKernel, []need{needOVS}},
		{"interfaces", checkInterfaces, []need{needOVS}},
		{"tunnel address", checkTunnelAddress, nil},
		{"checksums", checkChecksums, []need{needOVS}},
		{"flows", checkFlows, []need{needOVS}},
		{"IPFIX", checkIPFIX, []need{needOVS}},
		{"etcd", checkStore, nil},
		{"chassis", checkOwnChassis, []need{needStore}},
		{"clock", checkClock, nil},
		{"workload MTU", checkRecordedMTU, []need{needStore}},
		{"tunnel source", checkSource, []need{needAddress, needStore}},
		{"path MTU", checkPathMTU, []need{needAddress, needStore}},
		{"BFD", checkBFD, []need{needOVS, needVSwitchd}},
		{"containers", checkContainers, nil},
	}
}

// Run carries out checks one after the other and yields what they find as they
// find it. What keeps one of them from looking is found although its check is
// not among them.
func Run(ctx context.Context, env *Env, checks []Check) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		done := map[string]bool{}
		for _, c := range checks {
			done[c.Name] = true
		}
		for _, c := range checks {
			found := c.Run(ctx, env)
			for i := range found {
				found[i].Check = c.Name
			}
			if len(found) == 0 {
				found = obstacles(ctx, env, c, done)
			}
			for _, f := range found {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// obstacles returns why needs of a check are not met, where no check that is done
// tells.
func obstacles(ctx context.Context, env *Env, c Check, done map[string]bool) (found []Finding) {
	for _, n := range c.needs {
		if done[n.check] || n.met(ctx, env) {
			continue
		}
		done[n.check] = true
		all := Checks()
		i := slices.IndexFunc(all, func(c Check) bool { return c.Name == n.check })
		for _, f := range all[i].Run(ctx, env) {
			if f.Check = n.check; !f.OK {
				found = append(found, f)
			}
		}
	}
	return found
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
	expiry     time.Time             // of the certificate that etcd is shown; zero if there is none
	health     once[ovs.Health]
	reading    once[ovs.Reading]
	byName     once[map[string][]topology.SwitchPort]
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
		e.expiry, _ = st.CertificateEnd()
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

// ports returns the switch ports in etcd by their names; nil while it does not
// tell.
func (e *Env) ports(ctx context.Context) map[string][]topology.SwitchPort {
	all, _ := e.byName.get(func() (map[string][]topology.SwitchPort, error) {
		if s, err := e.snapshot(ctx); err != nil || s.StoreErr != nil {
			return nil, cmp.Or(err, s.StoreErr)
		}
		st, err := e.Reach()
		if err != nil {
			return nil, err
		}
		defer st.Close()
		ctx, cancel := context.WithTimeout(ctx, readPatience)
		defer cancel()
		list, _, err := st.List(ctx, topology.KindSwitchPort, "")
		if err != nil {
			return nil, err
		}
		ports := map[string][]topology.SwitchPort{}
		for _, e := range list {
			if p, ok := e.(topology.SwitchPort); ok {
				ports[p.Name] = append(ports[p.Name], p)
			}
		}
		return ports, nil
	})
	return all
}

// ovsPatience bounds how long Open vSwitch, which may hang, is asked how it is;
// readPatience how long it may take to read what it holds.
const (
	ovsPatience  = 3 * time.Second
	readPatience = 10 * time.Second
)

// examined is how this host's Open vSwitch is.
func (e *Env) examined(ctx context.Context) (ovs.Health, error) {
	return e.health.get(func() (ovs.Health, error) {
		ctx, cancel := context.WithTimeout(ctx, ovsPatience)
		defer cancel()
		return ovs.Examine(ctx, e.OVS)
	})
}

// silent reports whether Open vSwitch's daemon does not answer, so that what
// OVSDB says of it is of the past.
func (e *Env) silent(ctx context.Context) bool {
	h, err := e.examined(ctx)
	return err != nil || h.VersionErr != nil
}

// read is what this host's Open vSwitch holds. With an error about the flows it
// returns the rest.
func (e *Env) read(ctx context.Context) (ovs.Reading, error) {
	return e.reading.get(func() (ovs.Reading, error) {
		patience := readPatience
		if e.silent(ctx) {
			patience = ovsPatience
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return ovs.Read(ctx, e.OVS)
	})
}

// maxNamed bounds how many chassis the text of a finding names.
const maxNamed = 5

// some names the first of many.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if more := len(names) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// named tells a chassis by its name and its address.
func named(c topology.Chassis) string { return fmt.Sprintf("%s (%s)", c.Name, c.IP) }
