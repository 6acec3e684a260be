package doctor

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func chassis(name, ip string, tick int64, mtu int) topology.Chassis {
	return topology.Chassis{Name: name, IP: netip.MustParseAddr(ip), Tick: tick, MTU: mtu}
}

// env is that of a host whose tunnel address is 192.168.1.10.
func env(all ...topology.Chassis) *Env {
	return &Env{TunnelIP: netip.MustParseAddr("192.168.1.10"), read: true, chassis: all}
}

// found returns what a check says, a line a finding.
func found(t *testing.T, name string, e *Env) string {
	t.Helper()
	i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	var lines strings.Builder
	for f := range Run(t.Context(), e, Checks()[i:i+1]) {
		lines.WriteString(f.String() + "\n")
	}
	return lines.String()
}

func TestRecords(t *testing.T) {
	unreadable := env(chassis("hv1", "192.168.1.10", 1, 0))
	unreadable.unfit = []store.Bad{{Key: topology.Key{Kind: topology.KindChassis, Name: "hv9"}, Err: errors.New(`invalid ip "x"`)}}
	for _, tt := range []struct {
		name, check string
		env         *Env
		want        string
	}{
		{"etcd answers", "etcd", env(chassis("hv1", "192.168.1.10", 1, 0), chassis("hv2", "192.168.1.11", 1, 0)),
			"ok  etcd: answers, and knows 2 chassis\n"},
		{"a bad record", "etcd", unreadable,
			"ok  etcd: answers, and knows 1 chassis\n" +
				`BAD etcd hv9: the chassis' record cannot be used: invalid ip "x"; delete it with tpctl ch del hv9 and restart the agent of that host` + "\n"},
		{"own record", "chassis", env(chassis("hv0", "192.168.1.10", 1, 0), chassis("hv1", "192.168.1.10", 2, 0)),
			"ok  chassis hv1 (192.168.1.10): is this host\n"},
		{"no own record", "chassis", env(chassis("hv2", "192.168.1.11", 1, 0)),
			"BAD chassis: none in etcd has this host's address 192.168.1.10, so that nobody sends to it; " +
				"start the agent here, or name the interface of the tunnels with --interface\n"},
		{"one MTU", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 1438), chassis("hv2", "192.168.1.11", 1, 1438), chassis("old", "192.168.1.12", 1, 0)),
			"ok  workload MTU: 1438 bytes on every host that tells it (2 of 3)\n"},
		{"different MTUs", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 8938), chassis("hv2", "192.168.1.11", 1, 1438), chassis("hv3", "192.168.1.12", 1, 8938)),
			"BAD workload MTU: hosts differ: 1438 bytes on hv2; 8938 bytes on hv1, hv3; give the NICs of all tunnels one MTU, or set all workloads to 1438\n"},
		{"a record that was replaced", "workload MTU", env(chassis("hv0", "192.168.1.10", 1, 8938), chassis("hv1", "192.168.1.10", 2, 1438)),
			"ok  workload MTU: 1438 bytes on every host that tells it (1 of 1)\n"},
		{"no MTU", "workload MTU", env(chassis("hv1", "192.168.1.10", 1, 0)), ""},
		{"nobody else", "path MTU", env(chassis("hv1", "192.168.1.10", 1, 0)), ""},
		{"not this host", "path MTU", env(chassis("hv2", "192.168.1.11", 1, 0)),
			"BAD path MTU: no interface of this host has the address 192.168.1.10; name the interface of the tunnels with --interface\n"},
	} {
		if diff := cmp.Diff(tt.want, found(t, tt.check, tt.env)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

// TestWithoutStore shows that one thing that is wrong is told once.
func TestWithoutStore(t *testing.T) {
	opened := 0
	e := &Env{TunnelIP: netip.MustParseAddr("192.168.1.10"), Open: func(context.Context) (*store.Store, error) {
		opened++
		return nil, errors.New("etcd at localhost:1 does not answer")
	}}
	var got []Finding
	i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == "etcd" }) // those before do not need it
	for f := range Run(t.Context(), e, Checks()[i:]) {
		got = append(got, f)
	}
	want := []Finding{{Check: "etcd", Text: "etcd at localhost:1 does not answer", Remedy: "see whether etcd runs and can be reached from here"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if opened != 1 {
		t.Errorf("etcd was asked %d times", opened)
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
