package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// benchStore is a store with some ports in it.
func benchStore(b *testing.B, ports int) *Store {
	server, err := embedded.Start(b.Context(), embedded.Config{DataDir: b.TempDir(), Fast: true, Log: quiet,
		ClientURLs: []string{"http://127.0.0.1:0"}, PeerURLs: []string{"http://127.0.0.1:0"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	s, err := Open(b.Context(), Config{Endpoints: server.Endpoints(), Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	var ops []clientv3.Op
	for i := range ports {
		key := topology.Key{Kind: topology.KindSwitchPort, Parent: fmt.Sprint("switch-", i%100), Name: fmt.Sprint("lsp-", i)}
		ops = append(ops, clientv3.OpPut(s.layout.path(key), fmt.Sprintf("ip=10.%d.%d.%d,mac=f2:01:0a:00:00:01,chassis=hv%d", i%100, i/100/250, i/100%250+1, i%2000)))
	}
	for batch := range slices.Chunk(ops, maxOps) {
		if _, err := s.client.Txn(b.Context()).Then(batch...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// From the return of a put to its update.
func BenchmarkWatchLatency(b *testing.B) {
	s := benchStore(b, 20_000)
	updates := s.Watch(b.Context())
	<-updates
	var waited time.Duration
	for i := range b.N {
		if _, err := s.client.Put(b.Context(), s.layout.entities()+"LS/S", fmt.Sprint("id=", i+1)); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		<-updates
		waited += time.Since(start)
	}
	b.ReportMetric(float64(waited.Microseconds())/float64(b.N), "µs/update")
}

// Reading and parsing everything.
func BenchmarkSnapshot20000(b *testing.B) {
	s := benchStore(b, 20_000)
	for b.Loop() {
		if u := <-s.Watch(b.Context()); len(u.Changes) != 20_000 {
			b.Fatal(len(u.Changes))
		}
	}
}

// Parsing everything, without etcd.
func BenchmarkParse20000(b *testing.B) {
	s := benchStore(b, 20_000)
	resp, err := s.client.Get(b.Context(), s.layout.entities(), clientv3.WithPrefix())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var changes []topology.Change
		for _, kv := range resp.Kvs {
			changes = s.appendChange(changes, kv)
		}
	}
}
