package store

import (
	"testing"
	"time"

	"tuplenet/internal/topology"
)

// What is known of etcd follows what it says, also of changes that concern
// somebody else, and does not run ahead of what was delivered.
func TestSight(t *testing.T) {
	w := newWorld(t)
	until := func(what string, ok func(Sight) bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(w.store.Sight()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, w.store.Sight())
			}
		}
	}
	if s := w.open(w.socket).Sight(); s != (Sight{}) {
		t.Errorf("without a watch it is %+v", s)
	}
	if !w.next().Snapshot {
		t.Fatal("no snapshot")
	}
	other := w.open(w.socket)
	revision := func() int64 {
		resp, err := other.client.Put(t.Context(), "/others/key", "changed")
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	now := revision()
	until("a change of somebody else", func(s Sight) bool {
		return s == Sight{Connected: true, Snapshots: 1, Revision: now, Delivered: now}
	})
	mustCreate(t, other, topology.Switch{Name: "LS"})
	made := w.next().Revision
	until("one that was delivered", func(s Sight) bool { return s.Revision == made && s.Delivered == made })
	w.server.Stop()
	until("etcd has gone", func(s Sight) bool { return !s.Connected })
	w.start()
	until("etcd is back", func(s Sight) bool { return s.Connected && s.Reconnects == 1 && s.Snapshots == 1 })
	now = revision()
	until("the next change", func(s Sight) bool { return s.Revision == now && s.Delivered == now })
}
