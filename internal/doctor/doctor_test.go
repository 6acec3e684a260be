package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/embedded"
	"tuplenet/internal/ovs"
	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func chassis(name, ip string, tick int64, mtu int) status.Chassis {
	return status.Chassis{Name: name, State: status.Up, Registered: true, IP: netip.MustParseAddr(ip), Tick: tick, MTU: mtu}
}

// env is that of a host whose tunnel address is 192.168.1.10, and whose etcd
// and Open vSwitch say so.
func env(all ...status.Chassis) *Env {
	e := &Env{TunnelIP: netip.MustParseAddr("192.168.1.10"), Wait: time.Second,
		Reach: func() (*store.Store, error) { return nil, errors.New("no etcd is here") }}
	e.deployment = once[status.Snapshot]{done: true, value: status.Snapshot{Chassis: all}}
	e.health = once[ovs.Health]{done: true, value: ovs.Health{Chassis: "hv1", Bridge: "br-int", Datapath: "dummy"}}
	e.reading = once[ovs.Reading]{done: true}
	return e
}

// found returns what a check says, or several, a line a finding.
func found(t *testing.T, e *Env, names ...string) string {
	t.Helper()
	checks := slices.DeleteFunc(Checks(), func(c Check) bool { return !slices.Contains(names, c.Name) })
	if len(checks) != len(names) {
		t.Fatalf("not all of %q are checks", names)
	}
	var lines strings.Builder
	for f := range Run(t.Context(), e, checks) {
		lines.WriteString(f.String() + "\n")
	}
	return lines.String()
}

// darkBridge is a host whose tunnel address is that of a bridge with those NICs,
// of which none has a link.
func darkBridge(nics string) *Env {
	e := env()
	e.TunnelIP = netip.MustParseAddr("127.0.0.1")
	e.health.value.Devices = []ovs.Device{{Name: "lo", Bridge: "br-phy", Internal: true}}
	e.health.value.Dark = map[string]string{"br-phy": nics}
	return e
}

func TestRecords(t *testing.T) {
	unfit := env(chassis("hv1", "192.168.1.10", 1, 0))
	unfit.deployment.value.Unfit = []store.Bad{{Key: topology.Key{Kind: topology.KindChassis, Name: "hv9"}, Err: errors.New(`invalid ip "x"`)}}
	unfit.deployment.value.Members = []store.Member{{Name: "etcd1", Endpoint: "here:2379", Version: "3.6.1", Leader: true, Took: 1234 * time.Microsecond},
		{Name: "etcd2", Endpoint: "there:2379", Err: errors.New("connection refused")}}
	nameless := env(chassis("hv0", "192.168.1.10", 1, 0), chassis("hv1", "192.168.1.10", 2, 0))
	nameless.health.value.Chassis = ""
	lost := chassis("hv1", "192.168.1.10", 1, 1438)
	lost.State, lost.Since = status.Down, time.Unix(1795269785, 0).UTC()
	lost.Contender = netip.MustParseAddr("192.168.1.99")
	pinned := status.Chassis{Name: "hv1", Routers: []string{"LR-edge1", "LR-edge2"}}
	homeless := env(chassis("hv2", "192.168.1.11", 1, 0))
	homeless.TunnelIP, homeless.TunnelErr = netip.Addr{}, errors.New("eth0 has no address; give it one")
	many := []status.Chassis{chassis("big", "192.168.1.10", 1, 8938)}
	for i := range 7 {
		many = append(many, chassis(fmt.Sprint("hv", i), fmt.Sprint("192.168.2.", i), 1, 1438))
	}
	for _, tt := range []struct {
		name, check string
		env         *Env
		want        string
	}{
		{"etcd answers", "etcd", env(chassis("hv1", "192.168.1.10", 1, 0), chassis("hv2", "192.168.1.11", 1, 0)),
			"ok  etcd: knows 2 chassis\n"},
		{"a bad record, and a member that is away", "etcd", unfit,
			"ok  etcd etcd1 (here:2379): 3.6.1, leads, answers in 1.2ms\n" +
				"BAD etcd etcd2 at there:2379: etcd member does not work (connection refused); see whether it runs and can be reached from here\n" +
				"ok  etcd: knows 1 chassis\n" +
				`BAD etcd hv9: the chassis' record cannot be used: invalid ip "x"; delete it with tpctl ch del hv9 and restart the agent of that host` + "\n"},
		{"own record", "chassis", env(chassis("hv1", "192.168.1.10", 2, 0), chassis("hv2", "192.168.1.11", 1, 0)),
			"ok  chassis hv1 (192.168.1.10): is this host\n"},
		{"own record, of a host whose name is not known", "chassis", nameless,
			"BAD chassis hv1 (192.168.1.10): chassis hv0 has the same address, and an older record, which does not count; delete it: tpctl ch del hv0\n"},
		{"a newer record with our address", "chassis", env(chassis("hv1", "192.168.1.10", 2, 0), chassis("hv2", "192.168.1.10", 3, 0)),
			"BAD chassis hv1 (192.168.1.10): chassis hv2 has the same address and a newer record, so that this one does not count; " +
				"give one of the hosts another address; if hv2 is no more, tpctl ch del hv2\n"},
		{"a record with another address", "chassis", env(chassis("hv1", "192.168.1.77", 2, 0)),
			"BAD chassis hv1 (192.168.1.77): others send to 192.168.1.77, and this host's tunnels end at 192.168.1.10; " +
				"start the agent anew, or name the interface of the tunnels with --interface\n"},
		{"declared down, and wanted by another", "chassis", env(lost),
			"BAD chassis hv1 (192.168.1.10): was declared down at 2026-11-21T14:03:05Z; start the agent, which takes that back; if it runs, see in its log why it does not reach etcd\n" +
				"BAD chassis hv1 (192.168.1.10): another host, at 192.168.1.99, has the same system-id, and was refused; " +
				"give it its own, there: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME\n"},
		{"no own record", "chassis", env(chassis("hv2", "192.168.1.11", 1, 0)),
			"BAD chassis: none in etcd has this host's address 192.168.1.10, so that nobody sends to it; " +
				"start the agent here, or name the interface of the tunnels with --interface\n"},
		{"no own record, and routers here", "chassis", env(pinned),
			"BAD chassis: none in etcd has this host's address 192.168.1.10, so that nobody sends to it nor by the routers that are pinned to it: LR-edge1, LR-edge2; " +
				"start the agent here, or name the interface of the tunnels with --interface\n"},
		{"no own record, but another one with our address", "chassis", env(chassis("before", "192.168.1.10", 1, 0)),
			"BAD chassis: none in etcd has this host's system-id hv1, so that nobody sends to it; before has its address 192.168.1.10; " +
				"start the agent here; if the host was called before before, tpctl ch del before\n"},
		{"no own record, and no address", "chassis", homeless,
			"BAD chassis: none in etcd has this host's system-id hv1, so that nobody sends to it; start the agent here, or name the interface of the tunnels with --interface\n"},
		{"no address", "tunnel address", homeless, "BAD tunnel address: eth0 has no address; give it one\n"},
		{"no address to send from", "path MTU", homeless, "BAD tunnel address: eth0 has no address; give it one\n"},
		{"an address that is not here", "tunnel address", env(),
			"BAD tunnel address: no interface of this host has the address 192.168.1.10; name the interface of the tunnels with --interface\n"},
		{"a bridge without a link", "tunnel address", darkBridge("eth0"),
			"BAD tunnel address: lo has it, and bridge br-phy holds no NIC with a link (eth0); see the cable of eth0, and take it up: ip link set NIC up\n"},
		{"a bridge without a NIC", "tunnel address", darkBridge(""),
			"BAD tunnel address: lo has it, and bridge br-phy holds no NIC with a link (none at all); plug its NIC into it: ovs-vsctl add-port br-phy NIC\n"},
		{"one MTU", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 1438), chassis("hv2", "192.168.1.11", 1, 1438), chassis("old", "192.168.1.12", 1, 0)),
			"ok  workload MTU: 1438 bytes on every host that tells it (2 of 3)\n"},
		{"different MTUs", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 8938), chassis("hv2", "192.168.1.11", 1, 1438), chassis("hv3", "192.168.1.12", 1, 8938)),
			"BAD workload MTU: hosts differ: 1438 bytes on hv2; 8938 bytes on hv1, hv3; give the NICs of all tunnels one MTU, or set all workloads to 1438\n"},
		{"a record that was replaced", "workload MTU", env(chassis("hv0", "192.168.1.10", 1, 8938), chassis("hv1", "192.168.1.10", 2, 1438)),
			"ok  workload MTU: 1438 bytes on every host that tells it (1 of 1)\n"},
		{"different MTUs of many", "workload MTU", env(many...),
			"BAD workload MTU: hosts differ: 1438 bytes on hv0, hv1, hv2, hv3, hv4 and 2 more; 8938 bytes on big; give the NICs of all tunnels one MTU, or set all workloads to 1438\n"},
		{"no MTU", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 0)), ""},
		{"nobody else", "path MTU", env(chassis("hv1", "192.168.1.10", 1, 0)), "BAD tunnel address: no interface of this host has the address 192.168.1.10; name the interface of the tunnels with --interface\n"},
	} {
		if diff := cmp.Diff(tt.want, found(t, tt.env, tt.check)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

// What the agent of this host would not be let write is found, and a certificate that
// ends.
func TestDenied(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	endpoint := "unix://" + filepath.Join(dir, "etcd.sock")
	server, err := embedded.Start(ctx, embedded.Config{DataDir: filepath.Join(dir, "data"), Fast: true,
		ClientURLs: []string{endpoint}, PeerURLs: []string{"unix://" + filepath.Join(dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	as := func(user string) *store.Store {
		st, err := store.New(store.Config{Endpoints: []string{endpoint}, Username: user, Password: user, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		return st
	}
	st, other := as(""), store.Party{Duty: store.DutyNode, Of: "hv2"}
	_, err = st.AddRoot(ctx, "root")
	if err := errors.Join(err, st.AddParty(ctx, other), st.AddUser(ctx, "hv2", "hv2"), st.Grant(ctx, "hv2", other), st.EnableAuth(ctx)); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"root": "", "hv2": "BAD etcd: user hv2 may not write what there is of this host, chassis hv1; " +
		"if the agent asks as that one, too, give it its own user, or let this one be it: tpctl auth add USER --node hv1\n"} {
		e := env()
		e.Wait, e.Reach = 10*time.Second, func() (*store.Store, error) { return as(user), nil }
		got := strings.Replace(found(t, e, "etcd"), "ok  etcd: knows 0 chassis\n", "", 1)
		if got != want {
			t.Errorf("as %s it says %q", user, got)
		}
	}
	for left, want := range map[time.Duration]string{time.Hour: "note etcd: the certificate that it is shown expires at ", -time.Hour: "BAD etcd: the certificate", 1000 * time.Hour: "ok "} {
		e := env()
		e.expiry = time.Now().Add(left)
		if got := found(t, e, "etcd"); !strings.HasPrefix(got, want) {
			t.Errorf("%s before its end it says %q", left, got)
		}
	}
}

// TestWithoutStore shows that one thing that is wrong is told once.
func TestWithoutStore(t *testing.T) {
	reached := 0
	e := env()
	e.deployment = once[status.Snapshot]{}
	e.Reach = func() (*store.Store, error) {
		reached++
		return store.New(store.Config{Endpoints: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	}
	var got []string
	i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == "etcd" }) // those before do not need it
	for f := range Run(t.Context(), e, Checks()[i:]) {
		if f.Check != "clock" { // which has to do with this machine
			got = append(got, f.String())
		}
	}
	want := []string{
		"BAD etcd 127.0.0.1:1: etcd member does not work (dial tcp 127.0.0.1:1: connect: connection refused); see whether it runs and can be reached from here",
		"BAD etcd: no member of etcd serves anybody, so that nothing is known of the chassis; see what is wrong with the members of etcd: more than half of them have to work together",
		"BAD tunnel address: no interface of this host has the address 192.168.1.10; name the interface of the tunnels with --interface",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if reached != 1 {
		t.Errorf("etcd was asked %d times", reached)
	}
}

func TestBFD(t *testing.T) {
	e := env()
	tunnel := func(name, ip string, watched, up bool) ovs.Tunnel {
		return ovs.Tunnel{Chassis: name, RemoteIP: netip.MustParseAddr(ip), Watched: watched, Up: up}
	}
	e.reading.value.Tunnels = []ovs.Tunnel{tunnel("alive", "10.0.0.1", true, true), tunnel("away", "10.0.0.2", true, false),
		tunnel("firewall", "10.0.0.3", true, false), tunnel("nobody-cares", "10.0.0.4", false, false)}
	dark, deaf := tunnel("dark", "10.0.0.5", true, false), tunnel("deaf", "10.0.0.6", true, false)
	dark.Heard, dark.Refusing, deaf.Heard = true, true, true
	e.reading.value.Tunnels = append(e.reading.value.Tunnels, dark, deaf)
	e.answers = map[netip.Addr]bool{netip.MustParseAddr("10.0.0.3"): true, netip.MustParseAddr("10.0.0.4"): true}
	const want = "BAD BFD away (10.0.0.2): finds no way to it; see whether that host is up, and let UDP port 6081 through, both ways\n" +
		"BAD BFD firewall (10.0.0.3): answers pings, and nothing comes through the tunnel; " +
		"let UDP port 6081 through, both ways, and see whether ovs-vswitchd runs there and its agent has BFD on: tpctl status firewall\n" +
		"BAD BFD dark (10.0.0.5): lives, and says that it cannot forward: its ways out have no link, or its flows are not in; " +
		"see why: tpctl status dark, or tuplenet doctor there\n" +
		"BAD BFD deaf (10.0.0.6): its BFD packets come in, and it does not hear this host's; " +
		"let UDP port 6081 through from here to there, and see tuplenet doctor there\n" +
		"ok  BFD: finds 1 chassis alive that it watches\n"
	if diff := cmp.Diff(want, found(t, e, "BFD")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// What OVSDB says of the tunnels is then of the past.
	e.health.value.VersionErr = errors.New("it hangs")
	if got := found(t, e, "BFD"); !strings.HasPrefix(got, "BAD Open vSwitch: ovsdb-server answers, and ovs-vswitchd does not: it hangs") || strings.Contains(got, "BFD") {
		t.Errorf("with an ovs-vswitchd that hangs it says %q", got)
	}
}

func TestWidest(t *testing.T) {
	for _, tt := range []struct{ full, path int }{
		{1500, 1500}, {1500, 9000}, {1500, 1499}, {1500, 1400}, {1500, 576}, {1500, 69}, {1500, 68}, {1500, 0},
		{9000, 8999}, {9000, 1500}, {65535, 65534}, {68, 68}, {69, 68}, {68, 0},
	} {
		sent := 0
		got, err := widest(tt.full, func(size int) (bool, error) {
			sent++
			return size <= tt.path, nil
		})
		if want := min(tt.full, tt.path); err != nil || got != want {
			t.Errorf("of %d bytes on a path of %d: %d, %v, want %d", tt.full, tt.path, got, err, want)
		}
		if sent > 18 { // the two ends, and one for each bit of the size
			t.Errorf("of %d bytes on a path of %d: %d sizes were tried", tt.full, tt.path, sent)
		}
	}
	unreachable := errors.New("network is unreachable")
	for failing := range 4 {
		sent := 0
		_, err := widest(1500, func(size int) (bool, error) {
			if sent++; sent > failing {
				return false, unreachable
			}
			return size <= 1400, nil
		})
		if err != unreachable || sent != failing+1 {
			t.Errorf("probe %d fails: %d probes, error %v", failing, sent, err)
		}
	}
}

func TestJudgePath(t *testing.T) {
	const subject = "host-bob (192.168.1.11)"
	for want, f := range map[string]Finding{
		"ok  path MTU host-bob (192.168.1.11): 1500 bytes": judgePath(subject, "eth0", 1500, 1500, nil),
		"BAD path MTU host-bob (192.168.1.11): the path takes IP packets of at most 1400 bytes, and eth0 here sends up to 1500; " +
			"raise the MTU on the path to 1500, or set workloads to 1338": judgePath(subject, "eth0", 1500, 1400, nil),
		"BAD path MTU host-bob (192.168.1.11): does not answer pings, so that the path to it is unknown; " +
			"see whether that host is up, and let ICMP echo requests through to it": judgePath(subject, "eth0", 1500, 0, nil),
		"BAD path MTU host-bob (192.168.1.11): cannot send to it: no route to host; see this host's routes and firewall": judgePath(subject, "eth0", 1500, 0, errors.New("no route to host")),
	} {
		f.Check = "path MTU"
		if got := f.String(); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

// TestPing has the loopback answer two at a time.
func TestPing(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	open := func() *pinger {
		p, err := newPinger(t.Context(), local, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.close)
		return p
	}
	ours, theirs := open(), open()
	for ours.id == theirs.id {
		theirs = open()
	}
	for _, size := range []int{smallProbe, 1500, 65535} {
		for _, p := range []*pinger{ours, theirs} {
			if ok, err := p.ping(t.Context(), local, size); !ok || err != nil {
				t.Errorf("%d bytes to the loopback: %v, %v", size, ok, err)
			}
		}
	}
	if len(ours.waiting) > 0 {
		t.Errorf("still waiting for %v", ours.waiting)
	}

	answered := make(chan struct{})
	ours.expect(request{local, smallProbe - pingHeaders, answered}) // with the number that theirs takes next
	if ok, err := theirs.ping(t.Context(), local, smallProbe); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := ours.ping(t.Context(), local, smallProbe); !ok || err != nil { // all answers before are through
		t.Errorf("%v, %v", ok, err)
	}
	select {
	case <-answered:
		t.Error("an answer to another process counted as ours")
	default:
	}
}
