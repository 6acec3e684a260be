package store

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

func poolPort(name, ip, pool string) topology.SwitchPort {
	a := netip.MustParseAddr(ip)
	return topology.SwitchPort{Switch: "S", Name: name, IP: a, MAC: topology.MACFromIP(a), Pool: pool}
}

func TestClaimPort(t *testing.T) {
	s := start(t)
	child := poolPort("p9", "10.0.0.9", "vm")
	child.Parent, child.Tag, child.Chassis = "vm", 7, "hv2"
	mustCreate(t, s, topology.Switch{Name: "S"}, poolPort("p10", "10.0.0.10", "hv"), poolPort("p2", "10.0.0.2", "hv"), port("S", "plain", "10.0.0.1"), child)
	mac, _ := topology.ParseMAC("02:00:00:00:00:01")
	claim := func(pool, owner string, want Want) string {
		t.Helper()
		p, err := s.ClaimPort(t.Context(), "S", pool, owner, want)
		if err != nil {
			t.Fatal(err)
		}
		return p.Name + " " + p.Value()
	}
	for _, tt := range []struct {
		pool, owner string
		want        Want
		value       string
	}{
		{"hv", "cni:n/a/eth0", Want{Chassis: "hv", Secured: true}, "p2 ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv,security=on,owner=cni:n/a/eth0,pool=hv"},
		{"hv", "cni:n/a/eth0", Want{Secured: true}, "p2 ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv,security=on,owner=cni:n/a/eth0,pool=hv"}, // again
		{"hv", "cni:n/b/eth0", Want{IP: netip.MustParseAddr("10.0.0.10"), MAC: mac}, "p10 ip=10.0.0.10,mac=02:00:00:00:00:01,owner=cni:n/b/eth0,pool=hv"},
		{"vm", "cni:n/c/eth0", Want{}, "p9 ip=10.0.0.9,mac=f2:01:0a:00:00:09,chassis=hv2,parent=vm,tag=7,owner=cni:n/c/eth0,pool=vm"},
	} {
		if got := claim(tt.pool, tt.owner, tt.want); got != tt.value {
			t.Errorf("got %s, want %s", got, tt.value)
		}
	}
	_, err := s.ClaimPort(t.Context(), "S", "hv", "cni:n/d/eth0", Want{})
	wantError(t, err, ErrFull, "switch S: no free address in pool hv: all of its 2 ports are in use")
	_, err = s.ClaimPort(t.Context(), "S", "hv", "cni:n/d/eth0", Want{IP: netip.MustParseAddr("10.0.0.2")})
	wantError(t, err, ErrConflict, "switch S: 10.0.0.2")
	_, err = s.ClaimPort(t.Context(), "S", "nobody", "cni:n/d/eth0", Want{})
	wantError(t, err, ErrNotFound, "pool nobody of switch S")

	for range 2 { // what is free already stays so
		for name, value := range map[string]string{
			"p2":  "ip=10.0.0.2,mac=f2:01:0a:00:00:02,security=on,pool=hv", // until it is claimed again
			"p10": "ip=10.0.0.10,mac=f2:01:0a:00:00:0a,pool=hv",
			"p9":  "ip=10.0.0.9,mac=f2:01:0a:00:00:09,chassis=hv2,parent=vm,tag=7,pool=vm",
		} {
			key := topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: name}
			owner := map[string]string{"p2": "cni:n/a/eth0", "p10": "cni:n/b/eth0", "p9": "cni:n/c/eth0"}[name]
			if err := s.ReleasePort(t.Context(), key, "cni:n/another/eth0"); err != nil {
				t.Error(err)
			}
			if err := s.ReleasePort(t.Context(), key, owner); err != nil {
				t.Error(err)
			}
			if e, err := s.Get(t.Context(), key); err != nil || e.Value() != value {
				t.Errorf("%s is %v, %v, want %s", name, e, err, value)
			}
		}
	}
}

// A port that was not made in advance goes with its address, and only if it is
// the owner's.
func TestReleasePort(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"})
	made, err := s.AllocatePort(t.Context(), topology.SwitchPort{Switch: "S", Name: "p", Owner: "cni:n/a/eth0"}, netip.MustParsePrefix("10.0.0.0/24"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"", "cni:n/b/eth0"} {
		if err := s.ReleasePort(t.Context(), made.Key(), owner); err != nil {
			t.Error(err)
		}
		if _, err := s.Get(t.Context(), made.Key()); err != nil {
			t.Errorf("released by %q: %v", owner, err)
		}
	}
	for range 2 {
		if err := s.ReleasePort(t.Context(), made.Key(), made.Owner); err != nil {
			t.Error(err)
		}
		_, err := s.Get(t.Context(), made.Key())
		wantError(t, err, ErrNotFound)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S"}, false)
	wantOnlyGlobals(t, s)
}

// Of many who claim at the same time each gets a port of its own.
func TestClaimTogether(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	first := open(t, server)
	mustCreate(t, first, topology.Switch{Name: "S"})
	for i := range 20 {
		mustCreate(t, first, poolPort(fmt.Sprint("p", i), fmt.Sprint("10.0.0.", i+1), "hv"))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	has := map[string]string{}
	for i := range 20 {
		s := open(t, server)
		all.Go(func() {
			owner := fmt.Sprintf("cni:n/c%d/eth0", i)
			p, err := s.ClaimPort(t.Context(), "S", "hv", owner, Want{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || has[p.Name] != "" {
				t.Errorf("%s: %s, which %q has, %v", owner, p.Name, has[p.Name], err)
			}
			has[p.Name] = owner
		})
	}
	all.Wait()
}
