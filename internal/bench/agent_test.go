package bench

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/embedded"
	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// flowsIn is what the agent logs when the bridge holds all flows.
const flowsIn = `msg="flows are in"`

// tunnelIP is the node's tunnel address, which no packet uses.
const tunnelIP = "172.31.255.1"

// site is a topology in an embedded etcd, and the node that the agent runs on.
type site struct {
	b        *testing.B
	size     Size
	endpoint string
	store    *store.Store
	ovs      *ovstest.OVS

	model  *topology.Model // what the agent is to make of the topology
	engine *flows.Engine
	flows  []flows.CookieFlow
}

func newSite(b *testing.B, size Size) *site {
	b.Helper()
	dir := b.TempDir()
	s := &site{b: b, size: size, endpoint: "unix://" + filepath.Join(dir, "etcd.sock"), model: topology.NewModel()}
	s.engine = flows.NewEngine(s.model)
	s.flows = s.engine.Update(s.model.Apply(size.Changes()).Touched).Put
	server, err := embedded.Start(b.Context(), embedded.Config{DataDir: filepath.Join(dir, "data"), ClientURLs: []string{s.endpoint},
		PeerURLs: []string{"unix://" + filepath.Join(dir, "peer.sock")}, Fast: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	if s.store, err = store.Open(b.Context(), store.Config{Endpoints: []string{s.endpoint}}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.store.Close() })
	var all []topology.Stored
	for _, e := range size.Stored() {
		if c, ok := e.(topology.Chassis); ok {
			if err := s.store.PutChassis(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			continue
		}
		all = append(all, e)
	}
	for len(all) > 0 {
		n := min(40, len(all)) // with parents and books three keys each, of the 128 that a transaction takes
		if _, err := s.store.Create(b.Context(), all[:n]...); err != nil {
			b.Fatal(err)
		}
		all = all[n:]
	}

	// The agent takes no tunnel address that the host does not have.
	if out, err := exec.Command("ip", "addr", "replace", tunnelIP+"/32", "dev", "lo").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	b.Cleanup(func() { exec.Command("ip", "addr", "del", tunnelIP+"/32", "dev", "lo").Run() })
	s.ovs = ovstest.Start(b)
	s.ovs.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id="+Self)
	args := []string{"add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure"}
	for i := range size.Local {
		name := fmt.Sprint("if", i)
		args = append(args, "--", "add-port", "br-int", name, "--", "set", "Interface", name, "type=dummy", "external_ids:iface-id="+size.Port(i).Name)
	}
	s.ovs.Vsctl(args...)
	return s
}

// agent starts the agent, with more flags, and returns when it says that all flows
// are in, with the time that took.
func (s *site) agent(more ...string) (*exec.Cmd, time.Duration) {
	s.b.Helper()
	args := []string{"agent", "--interface", tunnelIP, "--host", s.endpoint, "--rundir", s.runDir(), "--ovs-rundir", s.ovs.RunDir(),
		fmt.Sprint("--on-demand=", s.size.OnDemand)}
	cmd := exec.Command(binary, append(args, more...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		s.b.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		s.b.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if strings.Contains(line, flowsIn) {
			took := time.Since(start)
			go io.Copy(io.Discard, lines) // the agent must not wait for its log
			return cmd, took
		}
		if err != nil {
			s.b.Fatalf("the agent ended before its flows were in:\n%s", said.String())
		}
	}
}

func (s *site) runDir() string { return filepath.Join(s.ovs.RunDir(), "tuplenet") }

func (s *site) stop(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
}

// settled waits until every chassis that is to have one has its tunnel port,
// and the agent has made the flows for all of them.
func (s *site) settled() {
	s.b.Helper()
	conn := s.dial()
	defer conn.Close()
	want := len(s.flows)
	deadline := time.Now().Add(5 * time.Minute)
	for n := 0; n != want; n = s.count(conn) {
		if time.Now().After(deadline) {
			s.b.Fatalf("the bridge has %d flows, want %d", n, want)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *site) dial() *openflow.Conn {
	s.b.Helper()
	conn, err := openflow.Dial(s.b.Context(), s.ovs.Mgmt("br-int"))
	if err != nil {
		s.b.Fatal(err)
	}
	return conn
}

func (s *site) count(conn *openflow.Conn) int {
	n := 0
	for _, err := range conn.Dump(s.b.Context(), flows.CookieTag, flows.CookieMask) {
		if err != nil {
			s.b.Fatal(err)
		}
		n++
	}
	return n
}

// BenchmarkLatency measures from the return of an etcd transaction that makes
// a port until its flows are in the bridge, in turn on a node with 1,000 and
// on one with 20,000 ports, so that whatever else the machine does bears on both.
func BenchmarkLatency(b *testing.B) {
	sizes := []Size{{Chassis: Large.Chassis, Switches: 5, Ports: 1000, Local: 20}, Large}
	var sites [2]*site
	var conns [2]*openflow.Conn
	var times [2][]time.Duration
	for i, size := range sizes {
		s := newSite(b, size)
		cmd, _ := s.agent()
		defer s.stop(cmd)
		s.settled()
		sites[i], conns[i] = s, s.dial()
		defer conns[i].Close()
	}
	for n := range 300 {
		for i, s := range sites {
			times[i] = append(times[i], s.addPort(conns[i], n))
		}
	}
	medium, large := median(times[0]), median(times[1]) // it sorts
	worst := func(t []time.Duration) float64 { return micro(t[len(t)*99/100]) / 1e3 }
	b.ReportMetric(micro(large), "us/port")
	report(b, "etcd put of a port to its flows in the bridge, at 1,000 and at 20,000 ports",
		fmt.Sprintf("median %.2f and %.2f ms, 99%% within %.1f and %.1f ms", micro(medium)/1e3, micro(large)/1e3, worst(times[0]), worst(times[1])),
		"median 5 ms, within 20% of each other", large < 5*time.Millisecond && large < medium*6/5)
}

// addPort makes one more port and returns how long its flows took.
func (s *site) addPort(conn *openflow.Conn, n int) time.Duration {
	port := s.size.Port(s.size.Ports + n)
	cookie := s.neighbourCookie(port)
	if _, err := s.store.Create(s.b.Context(), port); err != nil {
		s.b.Fatal(err)
	}
	start := time.Now()
	for !s.has(conn, cookie) {
		if time.Since(start) > 10*time.Second {
			s.b.Fatalf("the flows of %s do not come", port.Name)
		}
	}
	return time.Since(start)
}

func (s *site) neighbourCookie(port topology.SwitchPort) uint64 {
	delta := s.engine.Update(s.model.Apply([]topology.Change{{Key: port.Key(), Entity: port}}).Touched)
	for _, f := range delta.Put {
		if f.Flow.Table == flows.TableNeighbour {
			return f.Cookie
		}
	}
	s.b.Fatal("a port without a neighbour flow")
	return 0
}

func (s *site) has(conn *openflow.Conn, cookie uint64) bool {
	found := false
	for _, err := range conn.Dump(s.b.Context(), cookie, ^uint64(0)) {
		if err != nil {
			s.b.Fatal(err)
		}
		found = true
	}
	return found
}

// BenchmarkStart measures the start of the agent at 20,000 ports, and then how
// much it uses when nothing happens.
func BenchmarkStart(b *testing.B) {
	s := newSite(b, Large)
	cmd, _ := s.agent() // makes the tunnel ports
	s.settled()
	s.stop(cmd)

	conn := s.dial()
	defer conn.Close()
	mods := s.mods()
	var start, read, write []time.Duration
	for range 5 {
		s.ovs.Ofctl("del-flows", "br-int")
		begin := time.Now()
		for bundle := range slices.Chunk(mods, 5000) {
			if err := conn.Commit(b.Context(), bundle); err != nil {
				b.Fatal(err)
			}
		}
		write = append(write, time.Since(begin))

		begin = time.Now()
		s.readSnapshot()
		read = append(read, time.Since(begin))

		s.ovs.Ofctl("del-flows", "br-int")
		cmd, took := s.agent()
		start = append(start, took)
		s.stop(cmd)
	}
	total, etcd, direct := median(start), median(read), median(write)
	ratio := (total - etcd).Seconds() / direct.Seconds()
	b.ReportMetric(ratio, "times-raw")
	report(b, "agent start at 20,000 ports until all flows are in, beyond reading etcd",
		fmt.Sprintf("%.2f times: %.2f s, of which %.2f s read etcd; writing the flows takes %.2f s", ratio, total.Seconds(), etcd.Seconds(), direct.Seconds()),
		"2 times writing the same flows", ratio <= 2)

	cmd, _ = s.agent()
	defer s.stop(cmd)
	s.settled()
	const watch = 20 * time.Second
	time.Sleep(2 * time.Second)
	before := cpu(b, cmd.Process.Pid)
	time.Sleep(watch)
	used := cpu(b, cmd.Process.Pid) - before
	share := used.Seconds() / watch.Seconds() * 100
	report(b, "idle agent at 20,000 ports", fmt.Sprintf("%.2f%% of a core", share), "0.5% of a core", share < 0.5)
	reportMemory(b, cmd, "with all flows")
}

// mods returns the topology's flows as the agent makes them.
func (s *site) mods() []openflow.Mod {
	mods := make([]openflow.Mod, len(s.flows))
	for i, f := range s.flows {
		mods[i] = openflow.Mod{Command: openflow.Add, Flow: f.Flow, Cookie: f.Cookie}
	}
	return mods
}

func (s *site) readSnapshot() {
	st, err := store.New(store.Config{Endpoints: []string{s.endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.b.Fatal(err)
	}
	defer st.Close()
	if u := <-st.Watch(s.b.Context()); len(u.Changes) < s.size.Ports {
		s.b.Fatalf("a snapshot of %d objects", len(u.Changes))
	}
}

// cpu returns the processor time that a process has used, see proc(5).
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	field := strings.Fields(rest) // from the third on
	user, _ := strconv.Atoi(field[11])
	system, _ := strconv.Atoi(field[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux in use
	return time.Duration(user+system) * tick
}

// resident returns how much memory a process has, in MB.
func resident(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return kb >> 10
		}
	}
	return 0
}
