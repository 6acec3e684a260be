package cnm

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"tuplenet/internal/store"
)

// follow runs reconcileAlways until the test ends.
func (b *passBed) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.r.Plugin.reconcileAlways(ctx)
	}()
	b.t.Cleanup(func() { cancel(); <-done })
}

// The engine is not there, comes, tells, goes, and comes again: the plugin is told
// whatever happened.
func TestFollow(t *testing.T) {
	b := newPassBed(t)
	b.docker.stop()
	b.follow()
	b.network("n1")
	b.network("n2")
	b.network("n3")
	named := func(name, as string) map[string]any {
		n := dockerNet(name, "tuplenet", "10.20.3.0/24")
		n["Name"] = as
		return n
	}
	wantName := func(network, name string) {
		t.Helper()
		b.eventually(network+" is named "+name, func() bool { return b.record(network).Name == name })
	}
	b.docker.has(named("n1", "one"), dockerNet("n2", "tuplenet", ""), dockerNet("n3", "tuplenet", ""))
	b.docker.start()
	wantName("n1", "one")

	b.docker.has(named("n1", "one"), named("n2", "two"), dockerNet("n3", "tuplenet", ""))
	b.docker.event()
	wantName("n2", "two")

	b.docker.stop()
	b.docker.has(named("n1", "uno"), named("n2", "two"), dockerNet("n3", "tuplenet", ""))
	b.docker.start()
	wantName("n1", "uno")

	// What failed is tried again without an event.
	b.docker.answer("/networks", says(http.StatusInternalServerError, `{"message":"not yet"}`))
	b.docker.has(named("n1", "uno"), named("n2", "dos"), dockerNet("n3", "tuplenet", ""))
	b.docker.event()
	b.eventually("it was asked", func() bool {
		b.docker.mu.Lock()
		defer b.docker.mu.Unlock()
		return b.docker.asked[len(b.docker.asked)-1] == "/networks"
	})
	b.docker.answer("/networks", nil)
	wantName("n2", "dos")

	b.docker.has(named("n1", "uno"), named("n2", "dos"), named("n3", "tres"))
	b.r.lookAgain()
	wantName("n3", "tres")
}

// While nothing happens, nobody is asked anything.
func TestFollowIsNoPoll(t *testing.T) {
	b := newPassBed(t)
	b.follow()
	count := func() int {
		b.docker.mu.Lock()
		defer b.docker.mu.Unlock()
		return len(b.docker.asked)
	}
	b.eventually("the engine was asked", func() bool { return count() == 2 })
	time.Sleep(20 * eventsPause)
	if count() != 2 {
		t.Errorf("the engine was asked for %q", b.docker.asked)
	}
	for range 20 {
		b.docker.event()
	}
	b.eventually("it was asked again", func() bool { return count() >= 3 })
	time.Sleep(3 * eventsPause)
	if count() > 4 {
		t.Errorf("events that come at once are told one by one: %q", b.docker.asked)
	}
}

func TestScope(t *testing.T) {
	b := newPassBed(t)
	p := b.r.Plugin
	want := func(what string, scope store.Scope) {
		t.Helper()
		if got := p.scope(t.Context()); got != scope {
			t.Errorf("%s: scope is %s", what, got)
		}
	}
	p.cfg.Scope = "global"
	want("as configured", store.ScopeGlobal)
	p.cfg.Scope = ""
	b.docker.stop()
	want("nothing is known", store.ScopeLocal)
	n := store.Network{ID: id("n1"), Switch: "LS-A", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Scope: store.ScopeGlobal, Chassis: "hv2"}
	if err := b.store.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	want("others have a global network", store.ScopeGlobal)
	n.ID, n.Scope = id("n2"), store.ScopeLocal
	if err := b.store.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	want("others have a local one, too", store.ScopeGlobal)
	n.ID, n.Chassis = id("n3"), "hv1"
	if err := b.store.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	want("this host has a local one", store.ScopeLocal)

	b.docker.info["ClusterStore"] = "etcd://192.0.2.1:2379"
	b.docker.start()
	want("the engine has a cluster store", store.ScopeGlobal)
	b.docker.answer("/info", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	begun := time.Now()
	want("it had one", store.ScopeGlobal)
	if took := time.Since(begun); took > 4*scopePatience {
		t.Errorf("it took %s", took)
	}
	b.docker.answer("/info", says(http.StatusOK, `{"ID":"ENGINE"}`))
	want("the engine has no cluster store", store.ScopeLocal)

	unreachable, err := store.New(store.Config{Endpoints: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer unreachable.Close()
	begun = time.Now()
	alone := New(p.cfg, unreachable, p.log)
	alone.engine = newEngine(b.dir + "/nobody.sock")
	if got := alone.scope(t.Context()); got != store.ScopeLocal || time.Since(begun) > 10*scopePatience {
		t.Errorf("got %s after %s", got, time.Since(begun))
	}
}
