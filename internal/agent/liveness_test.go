package agent

import (
	"context"
	"errors"
	"net/netip"
	"path"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// raw returns a client that reads and writes as etcdctl would.
func (s *site) raw() *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// is reports whether the store has an entity.
func (s *site) is(key topology.Key) bool {
	s.t.Helper()
	_, err := s.store.Get(s.t.Context(), key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	return err == nil
}

// visitor is alive as a chassis with a record until the returned function is
// called. Then it is not heard of any more.
func (s *site) visitor(chassis, ip string) (vanish func()) {
	s.t.Helper()
	c := topology.Chassis{Name: chassis, IP: netip.MustParseAddr(ip), Tick: 1}
	if err := s.store.PutChassis(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	if _, err := s.store.Appear(ctx, chassis, c.IP, 2*time.Second, nil); err != nil {
		s.t.Fatal(err)
	}
	return cancel
}

// written returns which keys under a directory have been put since the
// revision at, and how often.
func (s *site) written(directory string, at int64) map[string]int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	raw := s.raw()
	end, err := raw.Put(ctx, "/tuplenet/"+directory+"end", "")
	if err != nil {
		s.t.Fatal(err)
	}
	puts := map[string]int{}
	for resp := range raw.Watch(ctx, "/tuplenet/"+directory, clientv3.WithPrefix(), clientv3.WithRev(at)) {
		for _, e := range resp.Events {
			if e.Kv.ModRevision == end.Header.Revision {
				return puts
			}
			if e.Type == clientv3.EventTypePut {
				puts[path.Base(string(e.Kv.Key))]++
			}
		}
	}
	s.t.Fatalf("the watch of %s ended", directory)
	return nil
}

// A chassis whose agent dies is down, as all see, and is back when it appears.
func TestChassisGoesDown(t *testing.T) {
	s := newSite(t)
	hosts := []*host{s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")}
	s.create(topology.Chassis{Name: "original", IP: netip.MustParseAddr("192.168.1.8"), Tick: 1})
	vanish := s.visitor("hv-x", "192.168.1.9")
	unregistered, cancel := context.WithCancel(t.Context())
	if _, err := s.store.Appear(unregistered, "hv-y", netip.MustParseAddr("192.168.1.7"), 2*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both agents know it", func() bool {
		return strings.Contains(hosts[0].Vsctl("list-ports", "br-int"), "tupleNet-3232235785") &&
			strings.Contains(hosts[1].Vsctl("list-ports", "br-int"), "tupleNet-3232235785")
	})
	vanish()
	cancel()
	before := time.Now().Unix()
	absence := topology.Absence{Chassis: "hv-x"}.Key()
	eventually(t, "it is down", func() bool { return s.is(absence) })
	if since := get(t, s, absence).(topology.Absence).Since; since < before || since > time.Now().Unix() {
		t.Errorf("it is down since %d, it vanished after %d", since, before)
	}
	eventually(t, "both say so", func() bool {
		return hosts[0].log.said("not heard of any more", "chassis=hv-x") == 1 && hosts[1].log.said("not heard of any more", "chassis=hv-x") == 1
	})
	s.visitor("hv-x", "192.168.1.9")
	eventually(t, "both say that it is back", func() bool {
		return hosts[0].log.said("is back", "chassis=hv-x") == 1 && hosts[1].log.said("is back", "chassis=hv-x") == 1
	})
	if s.is(absence) {
		t.Error("it is back and down")
	}
	for chassis, n := range s.written("down/", 1) {
		if chassis != "hv-x" || n != 1 {
			t.Errorf("chassis %s was declared down %d times", chassis, n)
		}
	}
}

// A verdict that etcd does not take outlives that the store is read anew.
func TestVerdictIsUpheld(t *testing.T) {
	a := newAgent(Config{Log: logTo(t)})
	a.self, a.binder = "hv-a", newBinder(t.Context(), nil, "hv-a", a.log)
	a.liveness = newLiveness(t.Context(), a)
	record := topology.Chassis{Name: "hv-x", IP: netip.MustParseAddr("192.168.1.9"), Tick: 1}
	absence := topology.Absence{Chassis: "hv-x", Since: 7}
	read := func(entities ...topology.Entity) {
		u := store.Update{Snapshot: true}
		for _, e := range entities {
			u.Changes = append(u.Changes, topology.Change{Key: e.Key(), Entity: e, Created: 1})
		}
		a.readUpdate(t.Context(), u)
	}
	read(record)
	if !a.liveness.keep(absence) {
		t.Fatal("the verdict does not hold")
	}
	a.change(topology.Change{Entity: absence})
	read(record)
	if got := a.model.Get(absence.Key()); got != absence {
		t.Errorf("the store was read anew, and the model has %v", got)
	}
	read(record, topology.Presence{Chassis: "hv-x", IP: record.IP})
	read(record)
	if got := a.model.Get(absence.Key()); got != nil {
		t.Errorf("the chassis was back, and the model has %v", got)
	}
}

// An agent that is stopped and started within the lease was never down, and
// neither are those that lose all their leases together, as when etcd was out of
// reach for all.
func TestNobodyGoesDown(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	presence := func(chassis string) string {
		e, err := s.store.Get(t.Context(), topology.Presence{Chassis: chassis}.Key())
		if err != nil {
			return err.Error()
		}
		return e.(topology.Presence).Value()
	}
	eventually(t, "both are alive and registered", func() bool {
		return presence("hv-a") == "192.168.1.1" && presence("hv-b") == "192.168.1.2" &&
			s.is(topology.Chassis{Name: "hv-a"}.Key()) && s.is(topology.Chassis{Name: "hv-b"}.Key())
	})
	a.stop()
	if got := presence("hv-a"); got != "192.168.1.1,stopped" {
		t.Errorf("the presence of an agent that was stopped is %q", got)
	}
	a.start()
	eventually(t, "it is alive again", func() bool { return presence("hv-a") == "192.168.1.1" })
	s.put("down/hv-a", "since=1") // by hand
	eventually(t, "it denies that it is down", func() bool { return !s.is(topology.Absence{Chassis: "hv-a"}.Key()) })

	raw := s.raw()
	for range 3 {
		at := s.revision(raw)
		leases, err := raw.Leases(t.Context())
		if err != nil || len(leases.Leases) < 2 {
			t.Fatalf("leases: %v, %v", leases, err)
		}
		for _, lease := range leases.Leases {
			if _, err := raw.Revoke(t.Context(), lease.ID); err != nil {
				t.Logf("revoking: %v", err) // of an agent that has let go of it
			}
		}
		eventually(t, "both are alive again", func() bool {
			return presence("hv-a") == "192.168.1.1" && presence("hv-b") == "192.168.1.2"
		})
		if puts := s.written("contact/", at+1); puts["hv-a"] > 2 || puts["hv-b"] > 2 {
			t.Errorf("presences were written %v times", puts)
		}
	}
	time.Sleep(maxDelay + judgeAgain)
	if puts := s.written("down/", 1); puts["hv-a"] != 1 || len(puts) != 1 {
		t.Errorf("declared down: %v, want hv-a once and by hand", puts)
	}
	if n := a.log.said("not heard of", "hv-b") + b.log.said("not heard of", "hv-b"); n > 0 {
		t.Errorf("hv-b was missed %d times", n)
	}
}

func (s *site) revision(raw *clientv3.Client) int64 {
	s.t.Helper()
	resp, err := raw.Get(s.t.Context(), "x")
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

// judging returns an agent that knows of another chassis, which is alive.
func judging(t *testing.T, s *site, log *logbook) *agent {
	t.Helper()
	a := newAgent(Config{Store: s.store, TunnelIP: netip.MustParseAddr("192.168.1.1"), Log: log.logger(t)})
	a.self, a.binder = "hv-a", newBinder(t.Context(), nil, "hv-a", a.log)
	a.presence = newPresence(a.Config, a.self)
	a.liveness = newLiveness(t.Context(), a)
	other := topology.Chassis{Name: "hv-b", IP: netip.MustParseAddr("192.168.1.2"), Tick: 1}
	s.create(other)
	tell(t, a, other, topology.Presence{Chassis: "hv-b", IP: other.IP}, topology.Presence{Chassis: "hv-a", IP: a.TunnelIP})
	return a
}

func tell(t *testing.T, a *agent, entities ...topology.Entity) {
	t.Helper()
	var u store.Update
	for _, e := range entities {
		u.Changes = append(u.Changes, topology.Change{Key: e.Key(), Entity: e, Created: 1})
	}
	a.readUpdate(t.Context(), u)
}

func gone(t *testing.T, a *agent, keys ...topology.Key) {
	t.Helper()
	var u store.Update
	for _, key := range keys {
		u.Changes = append(u.Changes, topology.Change{Key: key})
	}
	a.readUpdate(t.Context(), u)
}

// An agent that was out of touch itself judges later.
func TestJudgesLater(t *testing.T) {
	presence, own := topology.Presence{Chassis: "hv-b"}.Key(), topology.Presence{Chassis: "hv-a"}.Key()
	for name, happens := range map[string]func(a *agent){
		"its watch was away":      func(a *agent) { a.readUpdate(t.Context(), store.Update{Resumed: true}); gone(t, a, presence) },
		"it was given up as well": func(a *agent) { gone(t, a, presence); gone(t, a, own) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := judging(t, s, &logbook{})
			happens(a)
			a.liveness.judge(<-a.liveness.due)
			if left := time.Until(a.liveness.settled); left < settleTime-2*maxDelay {
				t.Fatalf("it judges in %s", left)
			}
			if s.is(topology.Absence{Chassis: "hv-b"}.Key()) {
				t.Error("the other chassis was declared down too early")
			}
			a.liveness.settled = time.Now() // when that time is over
			a.liveness.judge("hv-b")
			eventually(t, "the other chassis is down", func() bool { return s.is(topology.Absence{Chassis: "hv-b"}.Key()) })
		})
	}
}

// Who has gone while nobody watched is down soon after an agent has started. Of
// many that start at once, as after a power cut, nobody is; nor is one of which
// nobody knows, as of the original TupleNet.
func TestAllStartAtOnce(t *testing.T) {
	s := newSite(t)
	s.put("entity_view/chassis/hv-a", "ip=192.168.1.1,mtu=1438,tick=1")
	s.put("entity_view/chassis/hv-b", "ip=192.168.1.2,mtu=1438,tick=1")
	s.put("entity_view/chassis/hv-x", "ip=192.168.1.9,mtu=1438,tick=1")
	s.put("entity_view/chassis/original", "ip=192.168.1.8,tick=1")
	before := time.Now().Unix()
	hosts := []*host{s.newHost("hv-a", "192.168.1.1"), s.newHost("hv-b", "192.168.1.2")}
	for _, h := range hosts {
		h.start()
	}
	absence := topology.Absence{Chassis: "hv-x"}.Key()
	eventually(t, "hv-x is down", func() bool { return s.is(absence) })
	if since := get(t, s, absence).(topology.Absence).Since; since < before || since > time.Now().Unix() {
		t.Errorf("it is down since %d, the agents started at %d", since, before)
	}
	time.Sleep(maxDelay) // in which others would be declared down
	if puts := s.written("down/", 1); puts["hv-x"] != 1 || len(puts) != 1 {
		t.Errorf("declared down: %v, want hv-x once", puts)
	}
}

// A snapshot that the agent reads later, as after a compaction, is looked
// through like the first; who is down, alive, or this host itself is not missed.
func TestSurvey(t *testing.T) {
	a := judging(t, newSite(t), &logbook{})
	u := store.Update{Snapshot: true}
	for _, e := range []topology.Entity{
		topology.Chassis{Name: "hv-a", IP: a.TunnelIP, Tick: 1, MTU: 1438},
		topology.Chassis{Name: "hv-c", IP: netip.MustParseAddr("192.168.1.3"), Tick: 1, MTU: 1438},
		topology.Chassis{Name: "up", IP: netip.MustParseAddr("192.168.1.4"), Tick: 1, MTU: 1438},
		topology.Presence{Chassis: "up", IP: netip.MustParseAddr("192.168.1.4")},
		topology.Chassis{Name: "down", IP: netip.MustParseAddr("192.168.1.5"), Tick: 1, MTU: 1438},
		topology.Absence{Chassis: "down", Since: 1},
		topology.Chassis{Name: "original", IP: netip.MustParseAddr("192.168.1.6"), Tick: 1},
	} {
		u.Changes = append(u.Changes, topology.Change{Key: e.Key(), Entity: e, Created: 1})
	}
	a.readUpdate(t.Context(), u)
	if _, isMissing := a.liveness.missing["hv-c"]; !isMissing || len(a.liveness.missing) != 1 {
		t.Errorf("missing: %v, want hv-c", a.liveness.missing)
	}
	if left := time.Until(a.liveness.settled); left < settleTime-maxDelay {
		t.Errorf("it judges in %s", left)
	}
}

// Who is back, or has no record, is not missed.
func TestMissesNobody(t *testing.T) {
	s := newSite(t)
	a := judging(t, s, &logbook{})
	key := topology.Presence{Chassis: "hv-b"}.Key()
	gone(t, a, key)
	tell(t, a, topology.Presence{Chassis: "hv-b", IP: netip.MustParseAddr("192.168.1.2")})
	a.liveness.judge(<-a.liveness.due)
	record := topology.Chassis{Name: "hv-b", IP: netip.MustParseAddr("192.168.1.2"), Tick: 1}
	gone(t, a, key)
	gone(t, a, record.Key())
	a.liveness.judge(<-a.liveness.due)
	// An operator removes the chassis, and the original TupleNet starts there.
	tell(t, a, record, topology.Presence{Chassis: "hv-b", IP: record.IP})
	gone(t, a, key, record.Key())
	tell(t, a, record)
	if s.is(topology.Absence{Chassis: "hv-b"}.Key()) || len(a.liveness.missing) > 0 {
		t.Errorf("missing: %v", a.liveness.missing)
	}
}

// The host that is alive is told of a second one with its system-id, and when
// that is over.
func TestContended(t *testing.T) {
	log := &logbook{}
	a := judging(t, newSite(t), log)
	contender := topology.Contender{Chassis: "hv-a", IP: netip.MustParseAddr("192.168.1.13")}
	tell(t, a, contender, topology.Contender{Chassis: "hv-b", IP: contender.IP})
	tell(t, a, contender)
	if n := log.said("level=ERROR", "system-id", "its_ip=192.168.1.13"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	if !a.liveness.rival {
		t.Error("it counts as over")
	}
	gone(t, a, contender.Key())
	if a.liveness.rival || log.said("any more", "chassis=hv-a") != 1 {
		t.Error("it does not count as over")
	}
}
