package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

// fakeHolder is an Open vSwitch whose state a test sets.
type fakeHolder struct {
	mu           sync.Mutex
	connection   string // "in sync", "connected" or "lost"
	held         bool
	away         bool // OVSDB
	others       bool // hold traffic: nothing is done about that
	transactions int
	calls        int
}

func (f *fakeHolder) InSync() bool    { return f.is("in sync") }
func (f *fakeHolder) NeedsSync() bool { return f.is("connected") }

func (f *fakeHolder) is(connection string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connection == connection
}

func (f *fakeHolder) TrafficHeld() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held
}

// change is what happens to it.
func (f *fakeHolder) change(to func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to()
}

func (f *fakeHolder) HoldTraffic(ctx context.Context) error    { return f.set(ctx, true) }
func (f *fakeHolder) ReleaseTraffic(ctx context.Context) error { return f.set(ctx, false) }

func (f *fakeHolder) set(ctx context.Context, held bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case f.others && held:
		return nil
	case f.away:
		return errors.New("away")
	}
	if f.held != held {
		f.held = held
		f.transactions++
	}
	return nil
}

// restoring runs a restorer on a fake, with a clock that only waiting moves.
func restoring(t *testing.T, f *fakeHolder, test func(t *testing.T, f *fakeHolder, r *restorer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRestorer(f, logTo(t))
		synctest.Wait()
		test(t, f, r)
		r.close()
		if f.TrafficHeld() && !f.away {
			t.Error("traffic is held after the end")
		}
	})
}

// TestTrafficHeld: who starts while its agent is away from ovs-vswitchd finds
// the hold, and nobody finds it later.
func TestTrafficHeld(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.create(topology.Switch{Name: "LS-A", ID: 1})
	s.port("LS-A", "lsp-a", "10.0.0.10")
	h := s.newHost("hv1", "192.0.2.1")
	config := func() string {
		return h.Vsctl("--no-wait", "get", "Open_vSwitch", ".", "other_config", "external_ids")
	}
	const held, nothing = "{flow-restore-wait=\"true\"}\n{system-id=hv1, tuplenet-restore=\"true\"}", "{}\n{system-id=hv1}"
	// What an agent has left that was killed.
	h.Vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true", "external_ids:tuplenet-restore=true")
	h.start()
	h.plug("lsp-a")
	eventually(t, "the port has flows", func() bool { return h.flows(deliver) != "" })
	eventually(t, "what was left is released", func() bool { return config() == nothing })
	sorted := func() []string { return slices.Sorted(strings.Lines(h.bridge() + "\n")) }
	before := sorted()
	h.StopVswitchd()
	eventually(t, "traffic is held", func() bool { return config() == held })
	h.StartVswitchd()
	eventually(t, "traffic is released", func() bool { return config() == nothing })
	if diff := cmp.Diff(before, sorted()); diff != "" {
		t.Errorf("flows when traffic is released (-before +after):\n%s", diff)
	}
	h.StopVswitchd()
	eventually(t, "traffic is held again", func() bool { return config() == held })
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if got := config(); got != nothing {
		t.Errorf("an agent that stops leaves %s", got)
	}
}

func TestRestorer(t *testing.T) {
	// become is what happens to the bridge's connection, and what follows.
	become := func(t *testing.T, f *fakeHolder, r *restorer, connection string, wantHeld bool) {
		t.Helper()
		f.change(func() { f.connection = connection })
		r.follow()
		synctest.Wait()
		if f.TrafficHeld() != wantHeld {
			t.Errorf("%s: held is %t, want %t", connection, !wantHeld, wantHeld)
		}
	}
	pass := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	t.Run("restart", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "lost", false) // no agent has had flows there
			become(t, f, r, "connected", false)
			become(t, f, r, "in sync", false)
			become(t, f, r, "in sync", false)
			for range 2 {
				become(t, f, r, "lost", true)
				become(t, f, r, "connected", true)
				become(t, f, r, "in sync", false)
			}
			if f.transactions != 4 {
				t.Errorf("%d transactions, want 4", f.transactions)
			}
		})
	})
	t.Run("found at the start", func(t *testing.T) {
		restoring(t, &fakeHolder{held: true, connection: "connected"}, func(t *testing.T, f *fakeHolder, r *restorer) {
			if f.TrafficHeld() {
				t.Error("traffic is held still")
			}
		})
	})
	t.Run("start without OVSDB", func(t *testing.T) {
		restoring(t, &fakeHolder{held: true, away: true}, func(t *testing.T, f *fakeHolder, r *restorer) {
			f.change(func() { f.away = false })
			r.follow()
			synctest.Wait()
			if f.TrafficHeld() {
				t.Error("traffic is held still")
			}
		})
	})
	t.Run("never back", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
			pass(holdPatience - time.Second)
			become(t, f, r, "lost", true)
			pass(time.Second)
			become(t, f, r, "lost", false)
			become(t, f, r, "connected", false)
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
		})
	})
	t.Run("no sync", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
			pass(holdPatience / 2)
			become(t, f, r, "connected", true)
			pass(restorePatience - time.Second)
			become(t, f, r, "lost", true) // and once more
			become(t, f, r, "connected", true)
			pass(time.Second)
			become(t, f, r, "connected", false)
			become(t, f, r, "in sync", false)
		})
	})
	t.Run("OVSDB restarts too", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			f.change(func() { f.away = true })
			become(t, f, r, "lost", false)
			f.change(func() { f.away = false })
			become(t, f, r, "lost", true)
			f.change(func() { f.away = true })
			become(t, f, r, "in sync", true)
			f.change(func() { f.away = false })
			pass(2 * time.Second)
			become(t, f, r, "in sync", false)
		})
	})
	t.Run("a hold that came late", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			f.change(func() { f.held = true })
			become(t, f, r, "in sync", false)
		})
	})
	t.Run("others hold", func(t *testing.T) {
		restoring(t, &fakeHolder{others: true}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", false)
			calls := f.calls
			for range 5 {
				become(t, f, r, "lost", false)
			}
			if f.calls != calls {
				t.Errorf("%d calls for events that say nothing new", f.calls-calls)
			}
			become(t, f, r, "connected", false)
			become(t, f, r, "in sync", false)
		})
	})
	t.Run("released by another agent", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
			become(t, f, r, "lost", true)
			f.change(func() { f.held = false })
			become(t, f, r, "lost", true)
		})
	})
	t.Run("the agent ends", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
		})
	})
	t.Run("the agent ends without OVSDB", func(t *testing.T) {
		restoring(t, &fakeHolder{}, func(t *testing.T, f *fakeHolder, r *restorer) {
			become(t, f, r, "in sync", false)
			become(t, f, r, "lost", true)
			f.change(func() { f.away = true })
			start := time.Now()
			r.close()
			if took := time.Since(start); took != releasePatience {
				t.Errorf("the end took %s, want %s", took, releasePatience)
			}
		})
	})
}
