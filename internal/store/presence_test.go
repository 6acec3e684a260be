package store

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

var (
	first  = netip.MustParseAddr("192.168.1.1")
	second = netip.MustParseAddr("192.168.1.2")
)

const presenceTTL = 2 * time.Second

func appear(t *testing.T, ctx context.Context, s *Store, ip netip.Addr, before *Presence) *Presence {
	t.Helper()
	p, err := s.Appear(ctx, "hv1", ip, presenceTTL, before)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantKey(t *testing.T, s *Store, key, want string) {
	t.Helper()
	if got := dump(t, s)[key]; got != want {
		t.Errorf("%s is %q, want %q", key, got, want)
	}
}

// awaitKey waits for a key to have a value, or with an empty one to be gone.
func awaitKey(t *testing.T, s *Store, key, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); dump(t, s)[key] != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q", key, dump(t, s)[key], want)
		}
	}
}

func revision(t *testing.T, s *Store) int64 {
	t.Helper()
	resp, err := s.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func TestPresence(t *testing.T) {
	s := start(t)
	put(t, s, "down/hv1", "since=1")
	put(t, s, "contender/hv1", "192.168.1.1") // it was refused before
	p := appear(t, t.Context(), s, first, nil)
	wantKey(t, s, "contact/hv1", "192.168.1.1")
	wantKey(t, s, "down/hv1", "")
	wantKey(t, s, "contender/hv1", "")

	var taken *TakenError
	if _, err := s.Appear(t.Context(), "hv1", second, presenceTTL, nil); !errors.As(err, &taken) || taken.IP != first {
		t.Errorf("a second host gets %v", err)
	}
	if err := s.Contend(t.Context(), "hv1", second, time.Second); err != nil {
		t.Error(err)
	}
	wantKey(t, s, "contender/hv1", "192.168.1.2")

	// The host's address changes, and somebody says that it is down.
	put(t, s, "down/hv1", "since=2")
	if err := p.Confirm(t.Context(), netip.MustParseAddr("192.168.1.9")); err != nil {
		t.Error(err)
	}
	wantKey(t, s, "contact/hv1", "192.168.1.9")
	wantKey(t, s, "down/hv1", "")

	// It lives for longer than the lease, and that writes nothing.
	at := revision(t, s)
	select {
	case <-p.Lost():
		t.Error("the presence is lost")
	case <-time.After(2 * presenceTTL):
	}
	if now := revision(t, s); now != at+1 { // the contender's word is over
		t.Errorf("%d writes in two leases", now-at)
	}
	wantKey(t, s, "contender/hv1", "")

	// It is stopped: that shows, and the next may have any address.
	if err := p.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	wantKey(t, s, "contact/hv1", "192.168.1.9,stopped")
	appear(t, t.Context(), s, second, nil)
	wantKey(t, s, "contact/hv1", "192.168.1.2")
}

// An agent that has been stopped for good goes with its lease.
func TestPresenceEnds(t *testing.T) {
	s := start(t)
	p := appear(t, t.Context(), s, first, nil)
	if err := p.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	awaitKey(t, s, "contact/hv1", "")
}

// The announcement is deleted by hand, then taken over by force.
func TestPresenceTamperedWith(t *testing.T) {
	s := start(t)
	lost := func(p *Presence) {
		t.Helper()
		if err := p.Confirm(t.Context(), first); err != nil {
			t.Error(err)
		}
		select {
		case <-p.Lost():
		case <-time.After(10 * time.Second):
			t.Error("the presence is not lost")
		}
	}
	p := appear(t, t.Context(), s, first, nil)
	if _, err := s.client.Delete(t.Context(), "/tuplenet/contact/hv1"); err != nil {
		t.Fatal(err)
	}
	lost(p)
	wantKey(t, s, "contact/hv1", "")
	p = appear(t, t.Context(), s, first, p)
	put(t, s, "contact/hv1", "192.168.1.2")
	lost(p)
	wantKey(t, s, "contact/hv1", "192.168.1.2")
	if err := p.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	wantKey(t, s, "contact/hv1", "192.168.1.2")
	// What nobody can read keeps nobody out.
	put(t, s, "contact/hv1", "nonsense")
	appear(t, t.Context(), s, first, p)
	wantKey(t, s, "contact/hv1", "192.168.1.1")
}

// A host loses its announcement, while its lease goes on, and comes back with
// another address: it is not its own rival.
func TestPresenceFollowsItself(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	before := appear(t, ctx, s, first, nil)
	cancel()
	<-before.Lost()
	wantKey(t, s, "contact/hv1", "192.168.1.1")
	appear(t, t.Context(), s, second, before)
	wantKey(t, s, "contact/hv1", "192.168.1.2")
}

func TestDeclareDown(t *testing.T) {
	s := start(t)
	declare := func(since int64) {
		t.Helper()
		if err := s.DeclareDown(t.Context(), topology.Absence{Chassis: "hv1", Since: since}); err != nil {
			t.Error(err)
		}
	}
	declare(1)
	wantKey(t, s, "down/hv1", "") // no record
	if err := s.PutChassis(t.Context(), topology.Chassis{Name: "hv1", IP: first, Tick: 1}); err != nil {
		t.Fatal(err)
	}
	p := appear(t, t.Context(), s, first, nil)
	declare(2)
	wantKey(t, s, "down/hv1", "") // alive
	if err := p.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	declare(3)
	wantKey(t, s, "down/hv1", "") // stopped, and may be back
	awaitKey(t, s, "contact/hv1", "")
	declare(4)
	declare(5)
	wantKey(t, s, "down/hv1", "since=4")
}

// A lease that ends while the watch is away is a change like another, and no
// other history.
func TestWatchOfLeases(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.socket)
	put(t, s, "entity_view/LS/S", "id=1")
	appear(t, t.Context(), s, first, nil)
	for _, key := range []string{"contender/hv1", "communicate/push/hv1/cmd/1"} {
		lease, err := s.client.Grant(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Put(t.Context(), string(s.layout)+key, "192.168.1.2", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if w.wantEventually("contender for chassis hv1 192.168.1.2", "presence of chassis hv1 192.168.1.1", "switch S id=1") != 1 {
		t.Error("want one snapshot")
	}
	w.server.Stop()
	s.Close()
	w.inSecret(func(s *Store) {
		for _, key := range []string{"contact/hv1", "contender/hv1", "communicate/push/hv1/cmd/1"} {
			awaitKey(t, s, key, "")
		}
	})
	w.start()
	u := w.next()
	if !u.Resumed || u.Snapshot || len(u.Changes) > 0 {
		t.Errorf("first comes %+v, want the word that the watch was away", u)
	}
	if w.wantEventually("switch S id=1") > 0 {
		t.Error("everything was delivered again, though nothing was missed")
	}
	// After a compaction it is a snapshot that says so.
	w.server.Stop()
	w.inSecret(func(s *Store) {
		put(t, s, "down/hv1", "since=5")
		if _, err := s.client.Compact(t.Context(), revision(t, s), clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
	})
	w.start()
	for {
		if u := w.next(); u.Snapshot {
			if !u.Resumed || len(u.Changes) != 2 {
				t.Errorf("got %+v", u)
			}
			break
		}
	}
}

// The connections of a store are closed and come back, and the watch goes on.
func TestReconnect(t *testing.T) {
	for name, cfg := range map[string]embedded.Config{"tcp": {}, "unix": {ClientURLs: []string{"unix://" + t.TempDir() + "/etcd"}}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, startEtcd(t, cfg))
			updates := s.Watch(t.Context())
			<-updates
			p := appear(t, t.Context(), s, first, nil)
			if u := <-updates; len(u.Changes) != 1 {
				t.Errorf("got %+v, want the presence", u)
			}
			for range 3 {
				s.Reconnect()
				if u := <-updates; !u.Resumed || u.Snapshot || len(u.Changes) > 0 {
					t.Errorf("got %+v, want the word that the watch was away", u)
				}
				if _, err := s.Get(t.Context(), topology.Presence{Chassis: "hv1"}.Key()); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-p.Lost():
				t.Error("the presence is lost")
			case u := <-updates:
				t.Errorf("nothing happens, and there is %+v", u)
			case <-time.After(2 * presenceTTL):
			}
			s.connections.mu.Lock()
			defer s.connections.mu.Unlock()
			if n := len(s.connections.open); n != 1 {
				t.Errorf("%d connections are kept account of, want one", n)
			}
		})
	}
}
