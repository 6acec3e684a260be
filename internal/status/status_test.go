package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// site is an etcd with some chassis in it, of which those have an agent that a
// test has given one.
type site struct {
	t     *testing.T
	store *store.Store
	raw   *clientv3.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "etcd.sock")
	server, err := embedded.Start(t.Context(), embedded.Config{Name: "etcd1", DataDir: filepath.Join(dir, "data"), Fast: true,
		ClientURLs: []string{endpoint}, PeerURLs: []string{"unix://" + filepath.Join(dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	s := &site{t: t}
	if s.store, err = store.Open(t.Context(), store.Config{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	if s.raw, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.raw.Close() })
	return s
}

func (s *site) put(path, value string) {
	s.t.Helper()
	if _, err := s.raw.Put(s.t.Context(), "/tuplenet/"+path, value); err != nil {
		s.t.Fatal(err)
	}
}

// agent answers for a chassis with a report, until the test ends.
func (s *site) agent(chassis string, report func(detail bool) Report) {
	s.t.Helper()
	commands := s.store.Commands(s.t.Context(), chassis)
	go func() {
		for c := range commands {
			answer, err := report(WantsDetail(c.Properties)).Answer(c.ID, chassis)
			if err != nil {
				s.t.Error(err)
			}
			s.store.Answer(s.t.Context(), []store.Answer{answer})
		}
	}()
	// It answers once its watch has begun.
	deadline := time.Now().Add(20 * time.Second)
	for {
		reports, err := Ask(s.t.Context(), s.store, []string{chassis}, false, 100*time.Millisecond)
		if err == nil && len(reports) == 1 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the agent of %s does not answer: %v, %v", chassis, reports, err)
		}
	}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// healthy is the report of a node where all is well.
func healthy(detail bool) Report {
	r := Report{Version: "v1.0.0", Time: noon, Started: noon.Add(-50 * time.Hour), Synced: noon.Add(-90 * time.Second), InSync: true,
		IP: "192.168.1.10", MTU: 1438, Revision: 1 << 40, OnDemand: true, Flows: 120, Tunnels: 2, Wanted: 2, Watched: 1, Alive: 1, Ports: 1}
	if detail {
		r.Detail = &Detail{OpenVSwitch: "3.1.0", Datapath: "system", Dropped: 7,
			Settings: Settings{OnDemand: true, Redirect: true, Hash: "nw_dst", MinRx: 200, MinTx: 200, Idle: 300,
				IPFIX: "one packet in 64 is told to 192.0.2.9:4739, with observation domain 1 and point 0"},
			Tables:     []Table{{0, "classify", 20}, {10, "arrival", 100}},
			TunnelList: []Tunnel{{"flow_base_tunnel", "", "tupleNet-flowbased", 2, ""}, {"edge1", "192.168.1.12", "tupleNet-3232235788", 1, "up"}},
			Interfaces: 2, PortList: []Port{
				{Name: "lsp-alice", Switch: "LS-A", IP: "10.20.1.10", Interface: "tap0", OFPort: 3, State: "bound"},
				{Name: "out", Switch: "outside1", Interface: "out", OFPort: 4, State: "bound", Outer: true, Dark: true}},
			Neighbours: 1, NeighbourList: []Neighbour{{"outside1", "192.168.1.1", "52:54:00:00:00:01"}},
			Demands: 1, DemandList: []string{"LS-B/lsp-bob"}}
	}
	return r
}

// take returns a snapshot as it is printed, without what differs from run to
// run.
func (s *site) take(only string) string {
	s.t.Helper()
	snapshot, err := Take(s.t.Context(), s.store, Options{Only: only, Patience: 500 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	if err := snapshot.Print(&out); err != nil {
		s.t.Fatal(err)
	}
	// Of etcd there is a line, which other tests judge.
	_, rest, _ := strings.Cut(out.String(), "\n\n")
	return regexp.MustCompile(` +\n`).ReplaceAllString(rest, "\n")
}

func TestSnapshot(t *testing.T) {
	s := newSite(t)
	s.put("entity_view/chassis/host-alice", "ip=192.168.1.10,mtu=1438,tick=1")
	s.put("contact/host-alice", "192.168.1.10")
	s.agent("host-alice", healthy)
	const heads = "CHASSIS     STATE  VERSION  ADDRESS       MTU   TUNNELS  BFD  FLOWS  SYNC    PORTS  MODE\n"
	const alice = "host-alice  up     v1.0.0   192.168.1.10  1438  2        1    120    1m ago  1      on demand\n"
	if diff := cmp.Diff(heads+alice, s.take("")); diff != "" {
		t.Errorf("all is well (-want +got)\n%s", diff)
	}

	s.put("entity_view/chassis/host-bob", "ip=192.168.1.11,mtu=1438,tick=1")
	s.put("down/host-bob", "since=1795269785")
	s.put("entity_view/chassis/host-carol", "ip=192.168.1.12,mtu=1438,tick=1")
	s.put("contact/host-carol", "192.168.1.12,stopped")
	s.put("entity_view/chassis/host-dave", "ip=192.168.1.13,mtu=1438,tick=1") // is not heard of
	s.put("contact/host-erin", "192.168.1.14")                                // has an agent that says nothing
	s.put("entity_view/chassis/host-erin", "ip=192.168.1.14,mtu=1438,tick=1")
	s.put("contender/host-erin", "192.168.1.99")
	s.put("entity_view/chassis/original", "ip=192.168.1.15,tick=1")
	s.put("entity_view/chassis/original-too", "ip=192.168.1.15,tick=2")
	s.put("entity_view/LR/LR-lost", "id=9,chassis=nobody")
	s.put("contact/unwell", "192.168.1.16") // and without a record
	s.agent("unwell", func(bool) Report {
		r := healthy(false)
		r.InSync, r.OnDemand, r.Edge, r.Problems, r.Alive, r.Tunnels, r.IP = false, false, true, 2, 0, 1, "192.168.1.16"
		return r
	})
	const want = `CHASSIS       STATE                            VERSION  ADDRESS       MTU   TUNNELS  BFD     FLOWS  SYNC    PORTS  MODE
host-alice    up                               v1.0.0   192.168.1.10  1438  2        1       120    1m ago  1      on demand
host-bob      down since 2026-11-21T14:03:05Z  -        192.168.1.11  1438  -        -       -      -       -      -
host-carol    stopped                          -        192.168.1.12  1438  -        -       -      -       -      -
host-dave     unknown                          -        192.168.1.13  1438  -        -       -      -       -      -
host-erin     up                               -        192.168.1.14  1438  -        -       -      -       -      does not answer: it is dead, hung or busy
nobody        unknown                          -        -             -     -        -       -      -       -      no record
original      unknown                          -        192.168.1.15  -     -        -       -      -       -      no answer (original agent)
original-too  unknown                          -        192.168.1.15  -     -        -       -      -       -      no answer (original agent)
unwell        up                               v1.0.0   192.168.1.16  -     1 of 2   0 of 1  120    lost    1      edge

BAD down: host-bob; start the agent there, or take the chassis out with: tpctl ch del NAME
BAD not heard of: host-dave; start the agent there, or take the chassis out with: tpctl ch del NAME
BAD up, and its agent does not answer: host-erin; see the log of the agent there, and tuplenet doctor; one of an earlier version never answers
BAD has the system-id of another host, 192.168.1.99, which was refused: host-erin; give that one its own: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME
BAD without a record, and routers are pinned to it: LR-lost: nobody; start the agent there, or delete the routers with: tpctl lr del -r ROUTER
BAD records with one address, 192.168.1.15, of which the newest counts: original, original-too; delete what is stale with: tpctl ch del NAME
BAD up without a record, so that nobody sends to it or takes what it sends: unwell; start the agent there anew
BAD the bridge does not hold the flows that it should: unwell; see whether ovs-vswitchd runs there, and the agent's log
BAD tunnels are missing in Open vSwitch: unwell; see tuplenet doctor there
BAD BFD finds no way through tunnels: unwell; see which: tpctl status NAME
BAD objects cannot work as they are stored: unwell; see which: tpctl status NAME, and tpctl check
`
	if diff := cmp.Diff(want, s.take("")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	const detail = heads + alice + `
agent         v1.0.0, started 2026-11-19T10:00:00Z (2d ago)
Open vSwitch  3.1.0, datapath system
etcd          revision 1099511627776, has seen the last change
flows         120, compared with the bridge 1m ago
dropped       7 packets
settings      on demand on, redirect on, untunnel off, hash nw_dst, idle 300 s, BFD 200 ms (receive) and 200 ms (send), IPFIX one packet in 64 is told to 192.0.2.9:4739, with observation domain 1 and point 0

TABLES WITH FLOWS (2)
  TABLE  NAME      FLOWS
  0      classify  20
  10     arrival   100

TUNNELS (2)
  CHASSIS           ADDRESS       BFD  INTERFACE            OFPORT
  flow_base_tunnel  -             -    tupleNet-flowbased   2
  edge1             192.168.1.12  up   tupleNet-3232235788  1

PORTS (2)
  PORT       SWITCH    ADDRESS           STATE  INTERFACE  OFPORT
  lsp-alice  LS-A      10.20.1.10        bound  tap0       3
  out        outside1  outside, no link  bound  out        4

NEIGHBOURS OUTSIDE (1)
  SWITCH    ADDRESS      MAC
  outside1  192.168.1.1  52:54:00:00:00:01

FLOWS ON DEMAND (1)
  LS-B/lsp-bob
`
	if diff := cmp.Diff(detail, s.take("host-alice")); diff != "" {
		t.Errorf("in detail (-want +got)\n%s", diff)
	}
	_, err := Take(t.Context(), s.store, Options{Only: "host-x", Patience: time.Second})
	if !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "host-x") {
		t.Errorf("of a chassis that does not exist: %v", err)
	}
}

// What has changed since an agent looked is told.
func TestBehind(t *testing.T) {
	s := newSite(t)
	s.put("entity_view/chassis/host-alice", "ip=192.168.1.10,mtu=1438,tick=1")
	s.put("contact/host-alice", "192.168.1.10")
	s.agent("host-alice", func(bool) Report {
		r := healthy(true)
		r.Revision = 1
		return r
	})
	snapshot, err := Take(t.Context(), s.store, Options{Only: "host-alice", Patience: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if n := snapshot.Behind(snapshot.Chassis[0]); n != snapshot.Changed-1 || n < 1 {
		t.Errorf("it is %d revisions behind, and the last change was %d", n, snapshot.Changed)
	}
	var out strings.Builder
	if err := snapshot.Print(&out); err != nil || !regexp.MustCompile(`etcd +revision 1, is \d+ revisions behind the last change\n`).MatchString(out.String()) {
		t.Errorf("%v:\n%s", err, &out)
	}
}

// Without etcd there is an answer all the same, and soon.
func TestWithoutEtcd(t *testing.T) {
	st, err := store.New(store.Config{Endpoints: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	snapshot, err := Take(t.Context(), st, Options{Patience: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range snapshot.Wrong() {
		got = append(got, p.String())
	}
	want := []string{
		"etcd member does not work (dial tcp 127.0.0.1:1: connect: connection refused): 127.0.0.1:1; see whether it runs and can be reached from here",
		"no member of etcd serves anybody, so that nothing is known of the chassis; see what is wrong with the members of etcd: more than half of them have to work together",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAlarms(t *testing.T) {
	s := Snapshot{Members: []store.Member{
		{Name: "etcd1", Endpoint: "a", Led: true, Leader: true, Alarms: []string{"memberID:1 alarm:NOSPACE "}},
		{Name: "etcd2", Endpoint: "b", Led: true, Alarms: []string{"memberID:2 alarm:CORRUPT "}},
		{Name: "etcd3", Endpoint: "c", Alarms: []string{"etcdserver: no leader", "something new"}},
	}}
	var got []string
	for _, p := range s.Wrong() {
		got = append(got, p.What+": "+strings.Join(p.Who, ", "))
	}
	want := []string{
		"etcd takes no more writes, as its database is full (NOSPACE): etcd1 at a",
		"etcd member holds other data than the others (CORRUPT): etcd2 at b",
		"etcd member knows of no leader: etcd3 at c",
		"etcd member says: something new: etcd3 at c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What ails many is one line.
func TestProblemOfMany(t *testing.T) {
	s := Snapshot{Members: []store.Member{{Led: true}}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		s.Chassis = append(s.Chassis, Chassis{Name: name, Registered: true, IP: netip.MustParseAddr("10.0.0.1"), State: Down})
	}
	wrong := s.Wrong()
	if len(wrong) != 1 || wrong[0].String() != "down: a, b, c, d, e and 2 more; start the agent there, or take the chassis out with: tpctl ch del NAME" {
		t.Errorf("%v", wrong)
	}
}

// A host tells what it cannot do, and others that they were told so: the tunnels
// to it are not to blame.
func TestCulprit(t *testing.T) {
	held := func(n int) *int { return &n }
	edge, alice, bob := healthy(false), healthy(false), healthy(false)
	edge.WaysOut, edge.Dark = 1, []string{"out (br0, eth1)"}
	alice.Watched, alice.Alive, alice.Refusing = 2, 0, []string{"host-edge1"}
	alice.WaysOut, alice.Dark = 2, edge.Dark
	bob.Alive, bob.Refusing, bob.Held, bob.Refused = 0, []string{"host-edge1"}, held(118), 1
	bob.Strays = []Stray{{Interface: "tap1", Port: "lsp-bop"}, {Interface: "tap2", Port: "lsp-bob", Chassis: "host-alice"},
		{Interface: "tp1", Port: "lsp-eth0-1", Owner: "cni:n/1/eth0"}, {}, {}, {}}
	fine := healthy(false)
	fine.Held, fine.Refused = held(119), 1
	var s Snapshot
	for name, r := range map[string]*Report{"host-edge1": &edge, "host-alice": &alice, "host-bob": &bob, "host-fine": &fine} {
		s.Chassis = append(s.Chassis, Chassis{Name: name, Registered: true, State: Up, Report: r})
	}
	slices.SortFunc(s.Chassis, func(a, b Chassis) int { return strings.Compare(a.Name, b.Name) })
	const cable = "; see the cable of its NIC, or plug one into its bridge: ovs-vsctl add-port BRIDGE NIC"
	want := []string{
		"a way out has no link: out (br0, eth1): host-alice" + cable,
		"host-edge1 says that it cannot forward: host-alice, host-bob; see why: tpctl status host-edge1",
		"BFD finds no way through tunnels: host-alice; see which: tpctl status NAME",
		"the bridge holds 118 of 120 flows: host-bob; the agent makes that right, now that it was asked; if it is said again, see tuplenet doctor there",
		"interface tap1 has the iface-id lsp-bop, and no switch has such a port: host-bob; " +
			"name the right one: ovs-vsctl set Interface tap1 external_ids:iface-id=PORT, or make it: tpctl lsp add",
		"interface tap2 is here, and its port lsp-bob is bound to host-alice: host-bob; if the workload is here, start the agent anew, or plug it in anew: " +
			"ovs-vsctl remove Interface tap2 external_ids iface-id; sleep 1; ovs-vsctl set Interface tap2 external_ids:iface-id=lsp-bob; " +
			"if it has moved, take out what is left: ovs-vsctl del-port tap2",
		"interface tp1 has the iface-id lsp-eth0-1, and no switch has such a port: host-bob; " +
			"delete the pod or container that the interface was made for, cni:n/1/eth0, and start it again",
		"more interfaces whose ports are not bound there: host-bob; see which: tuplenet doctor --only interfaces there",
		"no way out has a link: out (br0, eth1): host-edge1" + cable,
	}
	var got []string
	for _, p := range s.Wrong() {
		if !strings.HasPrefix(p.What, "interface  has") { // of those that have no name
			got = append(got, p.String())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A list that is too long for etcd is cut, and tells of what is left out.
func TestLongLists(t *testing.T) {
	r := healthy(true)
	r.Detail.DemandList, r.Detail.Demands = make([]string, 5*maxListed), 5*maxListed
	for i := range r.Detail.DemandList {
		r.Detail.DemandList[i] = strings.Repeat("x", 60)
	}
	answer, err := r.Answer(1, "hv")
	if err != nil {
		t.Fatal(err)
	}
	if text := answer.Properties.String(); len(text) > 1<<20 || strings.Count(text, "=") != 2 || strings.Count(text, ",") != 1 {
		t.Errorf("the answer has %d bytes: %.200s", len(text), text)
	}
	got, err := ReportOf(answer)
	if err != nil {
		t.Fatal(err)
	}
	c := Chassis{Name: "hv", Registered: true, Report: &got}
	var out strings.Builder
	if err := (&Snapshot{Chassis: []Chassis{c}}).Print(&out); err != nil || !strings.Contains(out.String(), "FLOWS ON DEMAND (5000)\n") ||
		!strings.Contains(out.String(), "  and 4000 more\n") {
		t.Errorf("%v: %.3000s", err, &out)
	}
	if len(r.Detail.DemandList) != 5*maxListed {
		t.Error("the report itself was cut")
	}
}

func FuzzReportOf(f *testing.F) {
	answer, err := healthy(true).Answer(1, "hv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer.Properties[reportProperty])
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReportOf(store.Answer{Chassis: "hv", Properties: store.Properties{reportProperty: text}})
		if err != nil {
			return
		}
		s := Snapshot{Chassis: []Chassis{{Name: "hv", Report: &r}}}
		var out strings.Builder
		if err := errors.Join(s.Print(&out), s.PrintJSON(&out)); err != nil {
			t.Error(err)
		}
	})
}

func TestJSON(t *testing.T) {
	r := healthy(false)
	s := Snapshot{Changed: 1<<40 + 3,
		Members: []store.Member{{Name: "etcd1", Endpoint: "a", Version: "3.6.0", Leader: true, Led: true, Size: 10, Revision: 5, Took: 1500 * time.Microsecond},
			{Name: "etcd2", Endpoint: "b", Err: context.DeadlineExceeded}},
		Chassis: []Chassis{{Name: "up", State: Up, IP: netip.MustParseAddr("10.0.0.1"), MTU: 1438, Tick: 1, Registered: true, Routers: []string{"LR"}, Report: &r},
			{Name: "old", State: Unknown, Registered: true, Contender: netip.MustParseAddr("10.0.0.9")}, {Name: "gone", State: Down, Since: noon, Registered: true}},
	}
	var out strings.Builder
	if err := s.PrintJSON(&out); err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"etcd","name":"etcd1","endpoint":"a","version":"3.6.0","leader":true,"db_size":10,"db_quota":0,"revision":5,"raft_lag":0,"took_ms":1.5}
{"type":"etcd","name":"etcd2","endpoint":"b","error":"context deadline exceeded","leader":false,"db_size":0,"db_quota":0,"revision":0,"raft_lag":0,"took_ms":0}
{"type":"chassis","name":"up","state":"up","ip":"10.0.0.1","mtu":1438,"tick":1,"routers":["LR"],"behind":3,"report":{"version":"v1.0.0","time":"2026-11-21T12:00:00Z","started":"2026-11-19T10:00:00Z","synced":"2026-11-21T11:58:30Z","in_sync":true,"ip":"192.168.1.10","mtu":1438,"revision":1099511627776,"on_demand":true,"edge":false,"flows":120,"tunnels":2,"wanted":2,"watched":1,"alive":1,"ways_out":0,"ports":1,"problems":0}}
{"type":"chassis","name":"old","state":"unknown","contender":"10.0.0.9","behind":0,"silence":"no answer (original agent)"}
{"type":"chassis","name":"gone","state":"down","since":"2026-11-21T12:00:00Z","behind":0}
{"type":"problem","problem":"etcd member does not work (context deadline exceeded)","who":["etcd2 at b"],"remedy":"see whether it runs and can be reached from here"}
{"type":"problem","problem":"has the system-id of another host, 10.0.0.9, which was refused","who":["old"],"remedy":"give that one its own: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"}
{"type":"problem","problem":"down","who":["gone"],"remedy":"start the agent there, or take the chassis out with: tpctl ch del NAME"}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A store that cannot be written to is read all the same.
func TestAskInVain(t *testing.T) {
	s := newSite(t)
	s.put("entity_view/chassis/host-alice", "ip=192.168.1.10,mtu=1438,tick=1")
	s.put("contact/host-alice", "192.168.1.10")
	snapshot := Snapshot{Chassis: []Chassis{{Name: "host-alice", State: Up, Registered: true, IP: topology.OuterIP, MTU: 1438}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	snapshot.askAgents(ctx, s.store, Options{Patience: time.Second})
	if snapshot.AskErr == nil || len(snapshot.Wrong()) != 1 || !strings.HasPrefix(snapshot.Wrong()[0].What, "the agents could not be asked") {
		t.Errorf("%v, %v", snapshot.AskErr, snapshot.Wrong())
	}
	if got := snapshot.silence(snapshot.Chassis[0]); got != "not asked" {
		t.Errorf("the chassis is shown with %q", got)
	}

	// Who may not ask is told so, and nothing is wrong for that.
	snapshot.AskErr = fmt.Errorf("asking: %w", store.ErrDenied)
	if notes := snapshot.Notes(); len(snapshot.Wrong()) > 0 || len(notes) != 1 || notes[0] != "the agents could not be asked for their status: asking: permission denied; an operator may" {
		t.Errorf("%v, %v", snapshot.Wrong(), notes)
	}
	var text, lines strings.Builder
	if err := errors.Join(snapshot.Print(&text), snapshot.PrintJSON(&lines)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\n\nnote the agents") || strings.Contains(text.String(), "BAD") || !strings.Contains(lines.String(), `{"type":"note","note":"the agents`) {
		t.Errorf("%s%s", text.String(), lines.String())
	}
}

// Where etcd authenticates, a chassis that is not heard of may be unable to log in.
func TestNotHeardOfWithUsers(t *testing.T) {
	s := Snapshot{authenticates: true, Chassis: []Chassis{{Name: "a", Registered: true, MTU: 1438, State: Unknown}}}
	wrong := s.Wrong()
	if len(wrong) != 1 || !strings.HasPrefix(wrong[0].String(), "not heard of: a; see the log of the agent there: it may not be able to log in to etcd") {
		t.Errorf("%v", wrong)
	}
}
