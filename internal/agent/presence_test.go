package agent

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// appearing runs a presence with a short lease.
func appearing(t *testing.T, s *site, ip string) (p *presence, admitted chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p = newPresence(Config{Store: s.store, TunnelIP: netip.MustParseAddr(ip), Log: logTo(t)}, "twin")
	p.ttl = 2 * time.Second
	admitted = make(chan error, 1)
	go p.run(ctx, admitted)
	stop = func() {
		cancel()
		p.stop()
	}
	t.Cleanup(stop)
	return p, admitted, stop
}

// Two hosts with one system-id: the second is refused, and says so to the
// first. If the first loses its place it is the one that is refused.
func TestTwins(t *testing.T) {
	s := newSite(t)
	isAlive := func(ip string) func() bool {
		return func() bool {
			e, err := s.store.Get(t.Context(), topology.Presence{Chassis: "twin"}.Key())
			return err == nil && e.(topology.Presence).Value() == ip
		}
	}
	_, admitted, stop := appearing(t, s, "192.168.1.1")
	if err := <-admitted; err != nil {
		t.Fatal(err)
	}
	_, refused, _ := appearing(t, s, "192.168.1.2")
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "alive at 192.168.1.1") {
		t.Errorf("the second ends with %v", err)
	}
	contender := topology.Contender{Chassis: "twin", IP: netip.MustParseAddr("192.168.1.2")}
	if got := get(t, s, contender.Key()); got != contender {
		t.Errorf("the first is told of %v", got)
	}
	stop()
	_, admitted, stop = appearing(t, s, "192.168.1.2")
	if err := <-admitted; err != nil {
		t.Errorf("when the first has been stopped, the second gets %v", err)
	}
	eventually(t, "the second is alive", isAlive("192.168.1.2"))
	if s.is(contender.Key()) {
		t.Error("the second contends with itself")
	}
	// It is given up for dead, and another host takes its place.
	s.put("contact/twin", "192.168.1.3")
	raw := s.raw()
	leases, err := raw.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range leases.Leases {
		raw.Revoke(t.Context(), lease.ID) // one of them has ended by itself
	}
	if err := <-admitted; err == nil || !strings.Contains(err.Error(), "alive at 192.168.1.3") {
		t.Errorf("the second ends with %v", err)
	}
	stop()
	if !isAlive("192.168.1.3")() {
		t.Error("the second has taken the other's place back")
	}
}

// How long etcd was away is no part of how long another host's key was there:
// its lease starts anew with etcd.
func TestWaitsAnewAfterOutage(t *testing.T) {
	s := newSite(t)
	s.put("contact/twin", "192.168.1.2")
	log := &logbook{}
	p := newPresence(Config{Store: s.store, TunnelIP: netip.MustParseAddr("192.168.1.1"), Log: log.logger(t)}, "twin")
	p.ttl = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	admitted := make(chan error, 1)
	go p.run(ctx, admitted)
	t.Cleanup(func() {
		cancel()
		p.stop()
	})
	waits := func(n int) func() bool {
		return func() bool { return log.said("another host", "waiting to see") == n }
	}
	eventually(t, "it waits for the other", waits(1))
	noticed := time.Now()
	s.server.Stop()
	eventually(t, "it waits for etcd", func() bool { return log.said("waiting for etcd") == 1 })
	time.Sleep(time.Until(noticed.Add(p.ttl + 4*time.Second))) // for long enough to be refused
	s.startEtcd()
	eventually(t, "it waits for the other again", waits(2))
	if _, err := s.raw().Delete(t.Context(), "/tuplenet/contact/twin"); err != nil {
		t.Fatal(err)
	}
	if err := <-admitted; err != nil {
		t.Errorf("when the other is gone, it gets %v", err)
	}
}

// A host's tunnel address changes: the record follows, with a tick that makes
// the address its own, and so does its presence.
func TestAddressChanges(t *testing.T) {
	s := newSite(t)
	was, is := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.7")
	start := func(t *testing.T, records ...topology.Chassis) *agent {
		a := newAgent(Config{Store: s.store, TunnelIP: was, Log: logTo(t)})
		p, admitted, _ := appearing(t, s, was.String())
		if err := <-admitted; err != nil {
			t.Fatal(err)
		}
		a.self, a.synced, a.presence = "twin", true, p
		a.liveness = newLiveness(t.Context(), a)
		for _, r := range records {
			tell(t, a, r)
		}
		return a
	}
	own := topology.Chassis{Name: "twin", IP: was, Tick: 1, Extra: "x=y"}
	late := time.Now().Unix() + 1000
	for name, others := range map[string][]topology.Chassis{
		"alone": nil,
		"to the address of a host that is no more":  {{Name: "dead", IP: is, Tick: late}},
		"from one that another host has meanwhile":  {{Name: "heir", IP: was, Tick: late}},
		"with another host, which is faster by far": {{Name: "heir", IP: was, Tick: late}, {Name: "old", IP: is, Tick: late}},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, append(others, own)...)
			a.nicChanged(t.Context(), nic{is, 1600})
			eventually(t, "record and presence have the new address", func() bool {
				r, err := s.store.Get(t.Context(), own.Key())
				if err != nil {
					return false
				}
				c := r.(topology.Chassis)
				return c.IP == is && c.MTU == workloadMTU(1600) && c.Extra == own.Extra &&
					get(t, s, topology.Presence{Chassis: "twin"}.Key()).(topology.Presence).IP == is
			})
			tick := get(t, s, own.Key()).(topology.Chassis).Tick
			if tick < time.Now().Unix()-60 {
				t.Errorf("its tick is %d", tick)
			}
			for _, o := range others {
				if o.IP == is && tick <= o.Tick {
					t.Errorf("its tick %d is not above that of %s, %d", tick, o.Name, o.Tick)
				}
			}
		})
	}
	t.Run("of a chassis that the operator has removed", func(t *testing.T) {
		a := start(t)
		if _, err := s.store.RemoveChassis(t.Context(), "twin"); err != nil {
			t.Fatal(err)
		}
		a.nicChanged(t.Context(), nic{is, 1600})
		eventually(t, "its presence has the new address", func() bool {
			return get(t, s, topology.Presence{Chassis: "twin"}.Key()).(topology.Presence).IP == is
		})
		if s.is(own.Key()) {
			t.Error("the record is there again")
		}
	})
}

// Who comes as another chassis' user is told who it is, and what to do.
func TestPresenceOfAnother(t *testing.T) {
	s := newSite(t)
	s.restrict("hv-b")
	st, err := store.New(store.Config{Endpoints: []string{s.endpoint}, Username: "hv-b", Password: "secret", Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	said := &logbook{}
	p := newPresence(Config{Store: st, TunnelIP: netip.MustParseAddr("192.168.1.1"), Log: said.logger(t)}, "hv-a")
	ctx, cancel := context.WithCancel(t.Context())
	go p.run(ctx, make(chan error, 1))
	defer p.stop()
	defer cancel()
	eventually(t, "the log names the user and the remedy", func() bool {
		return said.said("announcing chassis hv-a", "permission denied; user hv-b is not the node hv-a, or not any more: tpctl auth add USER --node hv-a") > 0
	})
}
