package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// world is an etcd that is stopped, changed in secret and started again, and a
// watch on it.
type world struct {
	t       *testing.T
	dir     string
	socket  string
	server  *embedded.Server
	store   *Store // what the watch uses
	updates <-chan Update
	have    map[topology.Key]string // what the updates make up

	restored bool // what the last snapshot said
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), socket: "unix://" + t.TempDir() + "/etcd", have: map[topology.Key]string{}}
	w.start()
	w.store = w.open(w.socket)
	w.updates = w.store.Watch(t.Context())
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.server = startEtcd(w.t, embedded.Config{DataDir: w.dir, ClientURLs: []string{w.socket}})
}

func (w *world) open(endpoint string) *Store {
	w.t.Helper()
	s, err := Open(w.t.Context(), Config{Endpoints: []string{endpoint}, Log: quiet})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

// inSecret runs etcd where the watch does not see it.
func (w *world) inSecret(change func(s *Store)) {
	w.t.Helper()
	socket := "unix://" + w.t.TempDir() + "/etcd"
	server := startEtcd(w.t, embedded.Config{DataDir: w.dir, ClientURLs: []string{socket}})
	defer server.Stop()
	change(w.open(socket))
}

// next takes the next update in.
func (w *world) next() Update {
	w.t.Helper()
	select {
	case u, ok := <-w.updates:
		if !ok {
			w.t.Fatal("the watch has ended")
		}
		if u.Snapshot {
			clear(w.have)
			w.restored = u.Restored
		}
		for _, c := range u.Changes {
			switch {
			case c.Err != nil:
				w.have[c.Key] = "bad"
			case c.Entity == nil:
				delete(w.have, c.Key)
			default:
				w.have[c.Key] = c.Entity.(topology.Stored).Value()
			}
		}
		return u
	case <-time.After(30 * time.Second):
		w.t.Fatalf("no update; have %v", w.have)
	}
	panic("unreachable")
}

// wantEventually takes updates in until they make up what want holds, as "KEY VALUE",
// and returns how many of them were snapshots.
func (w *world) wantEventually(want ...string) (snapshots int) {
	w.t.Helper()
	for {
		if u := w.next(); u.Snapshot {
			snapshots++
		}
		var have []string
		for key, value := range w.have {
			have = append(have, key.String()+" "+value)
		}
		slices.Sort(have)
		if slices.Equal(have, want) {
			return snapshots
		}
	}
}

func TestWatchDelivers(t *testing.T) {
	w := newWorld(t)
	if u := w.next(); !u.Snapshot || len(u.Changes) != 0 {
		t.Fatalf("got %+v, want an empty snapshot", u)
	}
	s := w.open(w.socket)
	mustCreate(t, s, topology.Switch{Name: "S"}, port("S", "p", "10.0.0.1"))
	u := w.next()
	if u.Snapshot || len(u.Changes) != 2 || u.Changes[0].Created != u.Revision {
		t.Errorf("got %+v, want both in one update with their create revision", u)
	}
	// What is no entity is not delivered; a value that is bad is, as such.
	put(t, s, "communicate/push/hv1/cmd/1", "cmd=pkt_trace")
	put(t, s, "entity_view/LS/S/strange/x", "id=1")
	put(t, s, "entity_view/LS/S/lsp/p", "ip=nonsense")
	if u := w.next(); len(u.Changes) != 1 || u.Changes[0].Err == nil || u.Changes[0].Entity != nil || !strings.Contains(u.Changes[0].Err.Error(), "switch S port p: ") {
		t.Errorf("got %+v, want the port's error", u)
	}
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S"}, true)
	if u := w.next(); len(u.Changes) != 2 || u.Changes[0].Entity != nil || u.Changes[0].Err != nil {
		t.Errorf("got %+v, want two deletions", u)
	}
	// While nobody listens a key comes and goes; its last state must win.
	put(t, s, "entity_view/LS/T", "id=7")
	put(t, s, "entity_view/LS/U", "id=8")
	if _, err := s.client.Delete(t.Context(), string(s.layout)+"entity_view/LS/T"); err != nil {
		t.Fatal(err)
	}
	w.wantEventually("switch U id=8")
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	updates := s.Watch(ctx)
	<-updates
	cancel()
	if u, ok := <-updates; ok {
		t.Errorf("got %+v", u)
	}
}

func TestWatchSnapshotOfManyPages(t *testing.T) {
	s := start(t)
	const n = 2*pageSize + 1
	var ops []clientv3.Op
	for i := range n {
		key := topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: fmt.Sprint("p", i)}
		ops = append(ops, clientv3.OpPut(s.layout.path(key), "ip=10.0.0.1,mac=f2:01:0a:00:00:01,peer=x,chassis=hv1"))
	}
	for batch := range slices.Chunk(ops, maxOps) {
		if _, err := s.client.Txn(t.Context()).Then(batch...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	u := <-s.Watch(t.Context())
	names := map[string]bool{}
	for _, c := range u.Changes {
		names[c.Entity.Key().Name] = true
	}
	if !u.Snapshot || len(u.Changes) != n || len(names) != n {
		t.Errorf("got %d changes of %d ports, want %d", len(u.Changes), len(names), n)
	}
}

func TestWatchGoesOnAfterRestart(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.socket)
	put(t, s, "entity_view/LS/S", "id=1")
	w.wantEventually("switch S id=1")
	for round := range 3 {
		w.server.Stop()
		w.start()
		put(t, s, "entity_view/LS/S", fmt.Sprint("id=", round+2))
		if w.wantEventually(fmt.Sprint("switch S id=", round+2)) > 0 {
			t.Error("everything was delivered again, though nothing was missed")
		}
	}
	// The last thing that was seen is a deletion.
	mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "S"}, false)
	w.wantEventually()
	w.server.Stop()
	w.inSecret(func(s *Store) { put(t, s, "entity_view/LS/T", "id=5") })
	w.start()
	if w.wantEventually("switch T id=5") > 0 {
		t.Error("everything was delivered again, though nothing was missed")
	}
}

func TestWatchAfterCompaction(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.socket)
	put(t, s, "entity_view/LS/A", "id=1")
	put(t, s, "entity_view/LS/B", "id=2")
	w.wantEventually("switch A id=1", "switch B id=2")
	w.server.Stop()
	w.inSecret(func(s *Store) {
		mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "A"}, false)
		put(t, s, "entity_view/LS/C", "id=3")
		resp, err := s.client.Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
	})
	w.start()
	if w.wantEventually("switch B id=2", "switch C id=3") != 1 {
		t.Error("want one snapshot")
	}
	put(t, s, "entity_view/LS/D", "id=4")
	w.wantEventually("switch B id=2", "switch C id=3", "switch D id=4")
	if w.restored {
		t.Error("a compacted store counts as restored")
	}
}

// restore makes the data directory what it was when it was copied.
func (w *world) restore(backup string) {
	w.t.Helper()
	os.RemoveAll(w.dir)
	if err := os.CopyFS(w.dir, os.DirFS(backup)); err != nil {
		w.t.Fatal(err)
	}
}

// backup copies the data directory of an etcd that is stopped.
func (w *world) backup() string {
	w.t.Helper()
	dir := w.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// A backup comes back that has not reached the revision that was seen.
func TestWatchAfterRestore(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.socket)
	put(t, s, "entity_view/LS/A", "id=1")
	w.wantEventually("switch A id=1")
	w.server.Stop()
	backup := w.backup()
	w.start()
	put(t, s, "entity_view/LS/B", "id=2")
	w.wantEventually("switch A id=1", "switch B id=2")
	w.server.Stop()
	w.restore(backup)
	w.start()
	if w.wantEventually("switch A id=1") != 1 || !w.restored {
		t.Error("want one snapshot, of a store that was restored")
	}
}

// A backup comes back as "tuplenet etcd restore" makes it: as another cluster, whose
// past is compacted.
func TestWatchAfterRestoreOfBackup(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.socket)
	put(t, s, "entity_view/LS/A", "id=1")
	w.wantEventually("switch A id=1")
	admin, err := embedded.Connect(t.Context(), embedded.Access{Endpoints: []string{w.socket}})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := admin.Backup(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	put(t, s, "entity_view/LS/B", "id=2")
	w.wantEventually("switch A id=1", "switch B id=2")
	w.server.Stop()
	os.RemoveAll(w.dir)
	if _, err := embedded.Restore(file, embedded.Config{DataDir: w.dir}); err != nil {
		t.Fatal(err)
	}
	w.start()
	if w.wantEventually("switch A id=1") != 1 || !w.restored {
		t.Error("want one snapshot, of a store that was restored")
	}
	put(t, s, "entity_view/LS/C", "id=2")
	w.wantEventually("switch A id=1", "switch C id=2")
}

// A backup comes back and has another history since, at least as long as the
// one that was seen.
func TestWatchAfterRestoreWithAnotherHistory(t *testing.T) {
	putB := func(t *testing.T, s *Store) { put(t, s, "entity_view/LS/B", "id=2") }
	deleteA := func(t *testing.T, s *Store) {
		mustDelete(t, s, topology.Key{Kind: topology.KindSwitch, Name: "A"}, false)
	}
	elsewhere := func(t *testing.T, s *Store) { put(t, s, "elsewhere", "") }
	for _, tt := range []struct {
		name        string
		seen, truth func(t *testing.T, s *Store) // what the watch saw after the backup, and what happened instead
		late        bool                         // the watch starts after what it sees
		want        string
	}{
		{"another key", putB, func(t *testing.T, s *Store) { put(t, s, "entity_view/LS/C", "id=2") }, false, "switch A id=1,switch C id=2"},
		{"another value", putB, func(t *testing.T, s *Store) { put(t, s, "entity_view/LS/B", "id=3") }, false, "switch A id=1,switch B id=3"},
		{"no put", putB, elsewhere, false, "switch A id=1"},
		{"no deletion", deleteA, elsewhere, false, "switch A id=1"},
		{"no deletion, seen from a snapshot", deleteA, elsewhere, true, "switch A id=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.open(w.socket)
			put(t, s, "entity_view/LS/A", "id=1")
			w.wantEventually("switch A id=1")
			w.server.Stop()
			backup := w.backup()
			w.start()
			tt.seen(t, s)
			if tt.late {
				w.updates = s.Watch(t.Context())
			}
			for w.next().Resumed { // the word that etcd is back comes first
			}
			w.server.Stop()
			w.restore(backup)
			w.inSecret(func(s *Store) { tt.truth(t, s) })
			w.start()
			if w.wantEventually(strings.Split(tt.want, ",")...) != 1 || !w.restored {
				t.Error("want one snapshot, of a store that was restored")
			}
		})
	}
}

// A store that a newer program has taken over is not read.
func TestWatchRefusesHigherVersion(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	put(t, s, "globals/version", "2")
	updates := s.Watch(t.Context())
	select {
	case u := <-updates:
		t.Errorf("got %+v", u)
	case <-time.After(300 * time.Millisecond):
	}
	put(t, s, "globals/version", "1")
	if u := <-updates; !u.Snapshot {
		t.Errorf("got %+v", u)
	}
}

// A connection dies without a word: nothing comes back any more, as when a
// cable is cut.
func TestWatchNoticesDeadConnection(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, embedded.Config{})
	var dead atomic.Bool
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			etcd, err := net.Dial("tcp", strings.TrimPrefix(server.Endpoints()[0], "http://"))
			if err != nil {
				client.Close()
				continue
			}
			// Connections that were there when the cable was cut stay cut.
			cut := &atomic.Bool{}
			pass := func(to, from net.Conn) {
				defer to.Close()
				io.Copy(writerFunc(func(b []byte) (int, error) {
					if dead.Load() {
						cut.Store(true)
					}
					if cut.Load() {
						return len(b), nil
					}
					return to.Write(b)
				}), from)
			}
			go pass(etcd, client)
			go pass(client, etcd)
		}
	}()
	s, err := Open(t.Context(), Config{Endpoints: []string{listener.Addr().String()}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &world{t: t, updates: s.Watch(t.Context()), have: map[topology.Key]string{}}
	w.next()
	dead.Store(true)
	other := open(t, server)
	put(t, other, "entity_view/LS/S", "id=1")
	time.AfterFunc(time.Second, func() { dead.Store(false) })
	if w.wantEventually("switch S id=1") > 0 {
		t.Error("want no snapshot")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestPassing(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded:               true,
		context.Canceled:                       false,
		fmt.Errorf("reading: %w", ErrNotFound): false,
		errors.New("other"):                    false,
	} {
		if passing(err) != want {
			t.Errorf("passing(%v) = %v", err, !want)
		}
	}
}

// refusing is a stream on which etcd refuses every watch.
type refusing struct{ grpc.ClientStream }

func (refusing) RecvMsg(m any) error {
	resp := m.(*etcdserverpb.WatchResponse)
	resp.Created, resp.Canceled, resp.CancelReason = true, true, "etcdserver: server stopped"
	return nil
}

// A watch that is refused ends its stream, lest the client waits for it for ever.
func TestRefusedWatchEndsStream(t *testing.T) {
	t.Parallel()
	err := fragileStream{refusing{}}.RecvMsg(&etcdserverpb.WatchResponse{})
	if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "server stopped") {
		t.Errorf("error %v, want the reason", err)
	}
}
