package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

var (
	duration = flag.Duration("duration", 20*time.Second, "begin no step after this time")
	seed     = flag.Uint64("seed", 1, "what is done at random follows from it")
	faults   = flag.Int("faults", 50, "faults in a sequence; then everything is mended, and the pings are counted")
	settle   = flag.Duration("settle", 5*time.Second, "how long a host may take to be right after the last thing that it needs came back")
)

// maxBroken is how many things are broken at a time.
const maxBroken = 4

// etcdFailover is how long an agent may take to leave a member of etcd that does
// not answer any more, and the cluster to find another leader.
const etcdFailover = 5 * time.Second

// soak is a run.
type soak struct {
	*lab.Lab
	t      *testing.T
	rng    *rand.Rand
	start  time.Time
	settle time.Duration

	things  []thing
	states  map[thing]state
	edges   []string
	homes   map[string]string // host of each workload
	pingers []*pinger
	outages []*outage
	ports   []string // that were added and have no workload
	added   int      // ports so far
	steps   []string // done so far
	failed  bool

	etcdBroke time.Time     // a member was broken last
	slowest   time.Duration // a host took so long to be right
}

func TestSoak(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("the soak makes network namespaces: run it as root (sudo make soak)")
	}
	t.Logf("seed %d", *seed)
	s := newSoak(t)
	deadline := time.Now().Add(*duration)
	broke, sequences := 0, 0
	for time.Now().Before(deadline) && !s.failed {
		n := s.sequence(t.Context(), deadline)
		broke, sequences = broke+n, sequences+1
	}
	if !s.failed {
		s.checkEnd(t.Context())
	}
	t.Logf("seed %d: %d faults in %d sequences, %d steps in %.0f s; a host took at most %.2f s to be right",
		*seed, broke, sequences, len(s.steps), time.Since(s.start).Seconds(), s.slowest.Seconds())
	if s.failed {
		t.Errorf("do the same again with: make soak SEED=%d DURATION=%s FAULTS=%d\nthe steps were:\n%s", *seed, *duration, *faults, strings.Join(s.steps, "\n"))
	}
}

// newSoak brings the lab up and lets the pings begin.
func newSoak(t *testing.T) *soak {
	spec := plan(t)
	name := fmt.Sprintf("soak%d", os.Getpid())
	s := &soak{t: t, rng: rand.New(rand.NewPCG(*seed, 0)), settle: *settle, states: map[thing]state{}, homes: map[string]string{}}
	t.Cleanup(func() {
		for _, g := range s.pingers {
			g.stop()
		}
		if t.Failed() {
			s.keepLogs()
		}
		if err := lab.Down(context.Background(), name, nil); err != nil {
			t.Error(err)
		}
	})
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted // the end of the process would leave the lab as it is
		lab.Down(context.Background(), name, nil)
		os.Exit(1)
	}()
	l, err := lab.Up(t.Context(), spec, lab.Options{Name: name, Binary: binary(t), Datapath: lab.Userspace})
	if err != nil {
		t.Fatal(err)
	}
	s.Lab, s.start, s.things = l, time.Now(), things(l.Spec)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Spec.Hosts {
		if h.Kind == lab.KindGateway {
			s.edges = append(s.edges, h.Name)
		}
	}
	for _, edge := range s.edges {
		if err := s.keepConnections(t.Context(), edge); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.meetEdges(t.Context()); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{"web": "172.16.1.10", "client": "192.168.1.100"}
	workloads, err := l.Workloads()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		s.homes[w.Port], addresses[w.Port] = w.Host, w.Address
	}
	for _, p := range []pair{
		{"lsp-alice", "lsp-bob"}, {"lsp-bob", "lsp-carol"}, {"lsp-carol", "lsp-alice"}, {"lsp-dave", "lsp-bob"},
		{"lsp-alice", "web"}, {"lsp-dave", "client"}, {"lsp-bob", "web"}, {"lsp-alice", mover},
	} {
		g, err := ping(t.Context(), l, p, addresses[p.to])
		if err != nil {
			t.Fatal(err)
		}
		s.pingers = append(s.pingers, g)
	}
	s.flowing(t.Context())
	for _, g := range s.pingers {
		g.lost() // before all knew each other
	}
	return s
}

// mover is the workload that moves from host to host.
const mover = "lsp-mover"

// plan is the lab of the tutorial's edges with a third host, on which is a
// workload of each switch.
func plan(t *testing.T) lab.Spec {
	spec, err := lab.Edges(2)
	if err != nil {
		t.Fatal(err)
	}
	spec.Etcd = 3
	spec.Hosts = append(spec.Hosts, lab.Host{Name: "host-carol"})
	for i, p := range []struct{ port, address string }{{"lsp-carol", "10.20.1.11"}, {"lsp-dave", "10.20.2.11"}, {mover, "10.20.2.12"}} {
		sw := &spec.Switches[min(i, 1)]
		sw.Ports = append(slices.Clone(sw.Ports), lab.Port{Name: p.port, Address: p.address})
		spec.Workloads = append(spec.Workloads, lab.Workload{Port: p.port, Host: "host-carol"})
	}
	return spec
}

// binary builds tuplenet.
func binary(t *testing.T) string {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "tuplenet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tuplenet: %v\n%s", err, out)
	}
	return filepath.Join(dir, "tuplenet")
}

// meetEdges has packets leave by each edge once, so that it knows its next hops:
// one that takes over for the first time needs its agent for that.
func (s *soak) meetEdges(ctx context.Context) error {
	for _, edge := range s.edges {
		if err := s.Hang(ctx, edge, lab.Vswitchd); err != nil {
			return err
		}
		time.Sleep(failover)
		for _, to := range []string{"web", "client"} {
			if _, err := s.Ping(ctx, "lsp-alice", to, 5, pingInterval); err != nil {
				return err
			}
		}
		if err := s.Resume(ctx, edge, lab.Vswitchd); err != nil {
			return err
		}
		time.Sleep(failover)
	}
	return s.WaitReady(ctx)
}

// keepConnections makes an edge remember pings for an hour. Otherwise one that
// comes back to it after half a minute would find its former translation expired,
// not swept yet, and in its way: Open vSwitch 3.1 has no other id for it.
func (s *soak) keepConnections(ctx context.Context, edge string) error {
	_, err := s.Exec(ctx, edge, "ovs-vsctl", "--timeout=20", "--", "--id=@d", "create", "Datapath", "datapath_version=0",
		"--", "set", "Open_vSwitch", ".", "datapaths:netdev=@d")
	argv := []string{"ovs-vsctl", "--timeout=20"}
	for zone := range 64 {
		argv = append(argv, "--", "add-zone-tp", "netdev", fmt.Sprint("zone=", zone), "icmp_first=3600", "icmp_reply=3600")
	}
	if err == nil {
		_, err = s.Exec(ctx, edge, argv...)
	}
	return err
}

// sequence breaks and mends things until so many faults have been made, or the
// time is over; then it mends what is left, in any order, and counts the pings.
// It returns the number of faults.
func (s *soak) sequence(ctx context.Context, deadline time.Time) (made int) {
	for made < *faults && time.Now().Before(deadline) && !s.failed {
		broken := s.broken()
		if len(broken) == 0 || len(broken) < maxBroken && s.rng.IntN(2) == 0 {
			s.breakOne(ctx)
			made++
		} else {
			s.mendOne(ctx, broken)
		}
		if s.rng.IntN(2) == 0 {
			s.changeTopology(ctx)
		}
		time.Sleep(time.Duration(s.rng.IntN(1500)) * time.Millisecond)
	}
	for broken := s.broken(); len(broken) > 0 && !s.failed; broken = s.broken() {
		s.mendOne(ctx, broken)
	}
	if !s.failed {
		s.flowing(ctx)
		s.account()
		s.checkAgents()
	}
	return made
}

func (s *soak) breakOne(ctx context.Context) {
	intact := slices.DeleteFunc(slices.Clone(s.things), func(t thing) bool { return s.states[t] != well })
	t := intact[s.rng.IntN(len(intact))]
	verb, do := "kill", s.kill
	if s.rng.IntN(2) == 0 {
		verb, do = "hang", s.hang
	}
	s.explain(t)
	s.step(verb+" "+t.String(), func() error { return do(ctx, t) })
	s.explain(t) // in the state that it is in now
	s.check(ctx)
}

func (s *soak) mendOne(ctx context.Context, broken []thing) {
	t := broken[s.rng.IntN(len(broken))]
	verb := map[state]string{dead: "start", hung: "resume"}[s.states[t]]
	s.step(verb+" "+t.String(), func() error {
		s.explainMended(t)
		return s.mend(ctx, t)
	})
	s.check(ctx)
}

// changeTopology adds a port, removes one, or moves a workload. Without etcd
// nobody can.
func (s *soak) changeTopology(ctx context.Context) {
	if !s.quorum() || s.failed {
		return
	}
	tpctl := func(args ...string) {
		s.step("tpctl "+strings.Join(args, " "), func() error {
			try, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := s.Exec(try, "phy", append([]string{"tpctl"}, args...)...)
			return err
		})
	}
	switch n := s.rng.IntN(4); {
	case n == 0:
		to := s.Spec.Hosts[s.rng.IntN(len(s.Spec.Hosts))].Name
		from := s.homes[mover]
		usable := func(host string) bool {
			return s.states[thing{host, lab.Vswitchd}] == well && s.states[thing{host, lab.OVSDB}] == well
		}
		if !usable(to) || !usable(from) {
			return // nobody can plug anything in there
		}
		s.explainMove(mover, from, to)
		s.step("move "+mover+" from "+from+" to "+to, func() error {
			if err := s.RemoveWorkload(ctx, mover); err != nil {
				return err
			}
			s.homes[mover] = to
			return s.AddWorkload(ctx, mover, to)
		})
	case n == 1 && len(s.ports) > 0:
		i := s.rng.IntN(len(s.ports))
		tpctl("lsp", "del", "LS-A", s.ports[i])
		s.ports = slices.Delete(s.ports, i, i+1)
	default:
		s.added++
		port := fmt.Sprint("soak-", s.added)
		tpctl("lsp", "add", "LS-A", port, fmt.Sprintf("10.20.1.%d", 20+s.added%200))
		s.ports = append(s.ports, port)
	}
	s.check(ctx)
}

// step does one thing and tells of it.
func (s *soak) step(what string, do func() error) {
	if s.failed {
		return
	}
	line := s.clock() + " " + what
	s.steps = append(s.steps, line)
	err := do()
	s.settleOutages()
	var left []string
	for _, t := range s.broken() {
		left = append(left, map[state]string{dead: "dead ", hung: "hung "}[s.states[t]]+t.String())
	}
	s.t.Logf("%-60s broken: %s", line, strings.Join(left, ", "))
	if err != nil {
		s.fail("%s: %v", what, err)
	}
}

// check waits until every host is right that has all it needs.
func (s *soak) check(ctx context.Context) {
	hosts := s.wellHosts()
	if len(hosts) == 0 || s.failed {
		return
	}
	begin := time.Now()
	limit := max(s.settle, time.Until(s.etcdBroke.Add(etcdFailover)))
	verdicts, err := s.Check(ctx, limit, hosts...)
	if err != nil {
		s.fail("check: %v", err)
	}
	s.slowest = max(s.slowest, time.Since(begin))
	for _, v := range verdicts {
		if !v.OK {
			s.fail("not right after %s: %s", limit.Round(time.Millisecond), v)
		}
	}
}

// fail notes that the run has failed. It goes on to where the steps are told.
func (s *soak) fail(format string, args ...any) {
	s.failed = true
	s.t.Errorf(s.clock()+" "+format, args...)
}

func (s *soak) clock() string { return fmt.Sprintf("%7.2fs", time.Since(s.start).Seconds()) }
