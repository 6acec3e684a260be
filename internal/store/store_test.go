package store

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// quiet keeps what tests provoke out of their output.
var quiet = slog.New(slog.DiscardHandler)

// startEtcd runs an etcd for a test.
func startEtcd(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	if cfg.ClientURLs == nil {
		cfg.ClientURLs = []string{"http://127.0.0.1:0"}
	}
	cfg.PeerURLs, cfg.Fast, cfg.Log = []string{"http://127.0.0.1:0"}, true, quiet
	server, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// open returns a store of its own, with connections of its own.
func open(t *testing.T, server *embedded.Server) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Endpoints: server.Endpoints(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start returns a store over an etcd of its own.
func start(t *testing.T) *Store {
	t.Helper()
	return open(t, startEtcd(t, embedded.Config{}))
}

// put writes a key as others do.
func put(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if _, err := s.client.Put(t.Context(), string(s.layout)+key, value); err != nil {
		t.Fatal(err)
	}
}

// dump returns everything that is stored, by key without prefix.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	resp, err := s.client.Get(t.Context(), "/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range resp.Kvs {
		all[strings.TrimPrefix(string(kv.Key), string(s.layout))] = string(kv.Value)
	}
	return all
}

func wantOnlyGlobals(t *testing.T, s *Store) {
	t.Helper()
	all := dump(t, s)
	if len(all) != 2 || all["globals/version"] != "1" || all["globals/device_ids"] != "OjAAAAAAAAA=" {
		t.Errorf("the store should hold two globals and nothing else, holds %v", all)
	}
}

// wantError expects an error of a kind, whose text holds all of words.
func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) {
		t.Errorf("got error %v, want %v", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not contain %q", err, word)
		}
	}
}

func mustCreate(t *testing.T, s *Store, entities ...topology.Stored) []topology.Stored {
	t.Helper()
	made, err := s.Create(t.Context(), entities...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func mustDelete(t *testing.T, s *Store, key topology.Key, recursive bool) {
	t.Helper()
	if err := s.Delete(t.Context(), key, recursive); err != nil {
		t.Fatal(err)
	}
}

func port(parent, name, ip string) topology.SwitchPort {
	addr := netip.MustParseAddr(ip)
	return topology.SwitchPort{Switch: parent, Name: name, IP: addr, MAC: topology.MACFromIP(addr)}
}

func routerPort(parent, name, cidr, peer string) topology.RouterPort {
	net := netip.MustParsePrefix(cidr)
	return topology.RouterPort{Router: parent, Name: name, Net: net, MAC: topology.MACFromIP(net.Addr()), Peer: peer}
}

func TestOpenMakesGlobals(t *testing.T) {
	s := start(t)
	wantOnlyGlobals(t, s)
	if err := s.Init(t.Context()); err != nil {
		t.Error(err)
	}
	wantOnlyGlobals(t, s)
}

func TestPrefix(t *testing.T) {
	for given, want := range map[string]string{"": "/tuplenet/", "/x": "/x/", "/x/": "/x/", "y": "y/"} {
		if got := newLayout(given); string(got) != want {
			t.Errorf("prefix %q becomes %q, want %q", given, got, want)
		}
	}
}

func TestOpenRebuildsDeviceIDs(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	mustCreate(t, s, topology.Switch{Name: "A"}, topology.Switch{Name: "B"})
	put(t, s, "entity_view/LR/R", "id=4")
	put(t, s, "entity_view/LS/broken", "id=much")
	if _, err := s.client.Delete(t.Context(), s.layout.deviceIDs()); err != nil {
		t.Fatal(err)
	}
	again := open(t, server)
	made := mustCreate(t, again, topology.Router{Name: "C"}, topology.Router{Name: "D"})
	if made[0].(topology.Router).ID != 3 || made[1].(topology.Router).ID != 5 {
		t.Errorf("got %v, want the ids 3 and 5", made)
	}
	// Somebody deletes it while the store is in use.
	if _, err := s.client.Delete(t.Context(), s.layout.deviceIDs()); err != nil {
		t.Fatal(err)
	}
	if made := mustCreate(t, again, topology.Switch{Name: "E"}); made[0].(topology.Switch).ID != 6 {
		t.Errorf("got %v, want the id 6", made)
	}
}

func TestOpenRefusesHigherVersion(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	put(t, s, "globals/version", "2")
	_, err := Open(t.Context(), Config{Endpoints: server.Endpoints()})
	wantError(t, err, ErrVersion, "db accessed by higher version", "/tuplenet/globals/version is 2")
	put(t, s, "globals/version", "two")
	_, err = Open(t.Context(), Config{Endpoints: server.Endpoints()})
	wantError(t, err, nil, `"two"`, "want a number")
}

func TestOpenWithoutEtcd(t *testing.T) {
	_, err := Open(t.Context(), Config{Endpoints: []string{"127.0.0.1:1", "127.0.0.1:2"}, DialTimeout: 200 * time.Millisecond})
	wantError(t, err, nil, "does not answer within 200ms", "127.0.0.1:1, 127.0.0.1:2", ": nobody listens there (connection refused)")
	socket := "unix://" + filepath.Join(t.TempDir(), "etcd.sock")
	_, err = Open(t.Context(), Config{Endpoints: []string{socket}, DialTimeout: 200 * time.Millisecond})
	wantError(t, err, nil, "etcd at "+socket+" does not answer within 200ms: nobody listens there (no such file or directory)")
}

func TestOpenWithOneDeadEndpoint(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s, err := Open(t.Context(), Config{Endpoints: append([]string{"127.0.0.1:1"}, server.Endpoints()...)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		if _, err := s.Create(t.Context(), topology.Switch{Name: string(rune('a' + i))}); err != nil {
			t.Fatal(err)
		}
	}
}

// New needs no etcd, Init waits for it.
func TestInitWaitsForEtcd(t *testing.T) {
	socket := "unix://" + t.TempDir() + "/etcd"
	s, err := New(Config{Endpoints: []string{socket}, Username: "nobody", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ready := make(chan error)
	go func() { ready <- s.Init(t.Context()) }()
	startEtcd(t, embedded.Config{ClientURLs: []string{socket}})
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Init does not notice that etcd is there")
	}
	wantOnlyGlobals(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Init(ctx); err == nil {
		t.Error("Init with a dead context succeeded")
	}
}
