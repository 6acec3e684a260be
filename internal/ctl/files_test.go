package ctl

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// bed is an etcd in which commands are run, each store under a prefix of its own.
type bed struct {
	testing.TB
	server *embedded.Server
	client *clientv3.Client
}

func newBed(t testing.TB) *bed {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir(), Fast: true,
		ClientURLs: []string{"http://127.0.0.1:0"}, PeerURLs: []string{"http://127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client, err := clientv3.New(clientv3.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &bed{t, server, client}
}

func (b *bed) open(ctx context.Context, prefix string) (*store.Store, error) {
	return store.Open(ctx, store.Config{Endpoints: b.server.Endpoints(), Prefix: prefix, Log: slog.New(slog.DiscardHandler)})
}

func (b *bed) store(prefix string) *store.Store {
	b.Helper()
	s, err := b.open(b.Context(), prefix)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// run runs a command that has no verb and returns what it prints.
func (b *bed) run(ctx context.Context, prefix, name string, flags map[string]string, args ...string) (string, error) {
	var out bytes.Buffer
	all := All()
	i := slices.IndexFunc(all, func(c Command) bool { return c.Name() == name })
	err := all[i].Run(ctx, Env{In: strings.NewReader(""), Out: &out, Err: io.Discard, Flags: flags,
		Open: func(ctx context.Context) (*store.Store, error) { return b.open(ctx, prefix) }}, args)
	return out.String(), err
}

// must is run for what does not fail.
func (b *bed) must(prefix, name string, flags map[string]string, args ...string) string {
	b.Helper()
	out, err := b.run(b.Context(), prefix, name, flags, args...)
	if err != nil {
		b.Fatalf("tpctl %s: %v", name, err)
	}
	return out
}

func (b *bed) file(text string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "net.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// keys returns what is under a prefix.
func (b *bed) keys(prefix string) map[string]string {
	b.Helper()
	resp, err := b.client.Get(b.Context(), prefix+"/", clientv3.WithPrefix())
	if err != nil {
		b.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range resp.Kvs {
		all[strings.TrimPrefix(string(kv.Key), prefix)] = string(kv.Value)
	}
	return all
}

// sound sees to it that the books are what the objects say, and that each peer
// is there and names its peer.
func (b *bed) sound(prefix string) {
	b.Helper()
	before, s := b.keys(prefix), b.store(prefix)
	if err := s.SyncDeviceIDs(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := s.RebuildIPBooks(b.Context()); err != nil {
		b.Fatal(err)
	}
	if diff := cmp.Diff(b.keys(prefix), before); diff != "" {
		b.Errorf("the books are not what the objects say: %s", diff)
	}
	n, err := s.Snapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	peers := map[string]string{}
	for _, e := range n.Entities {
		switch e := e.(type) {
		case topology.SwitchPort:
			if !e.Outer() { // whose peer is a bridge
				peers[e.Name] = e.Peer
			}
		case topology.RouterPort:
			peers[e.Name] = e.Peer
		}
	}
	for name, peer := range peers {
		if peer != "" && peers[peer] != name {
			b.Errorf("port %s has the peer %s, whose peer is %q", name, peer, peers[peer])
		}
	}
}

// network makes a random network in which nothing is wrong, by single
// transactions as commands make them.
func (b *bed) network(prefix string, r *rand.Rand) {
	b.Helper()
	s := b.store(prefix)
	create := func(e ...topology.Stored) {
		if _, err := s.Create(b.Context(), e...); err != nil {
			b.Fatal(err)
		}
	}
	chassis := topology.Chassis{Name: "hv1", IP: netip.MustParseAddr("172.16.0.1"), Tick: 1}
	if err := s.PutChassis(b.Context(), chassis); err != nil {
		b.Fatal(err)
	}
	switches := 1 + r.IntN(6)
	for i := range switches {
		if r.IntN(3) == 0 { // leaves an id that is free
			create(topology.Switch{Name: "gone"})
			create(topology.Switch{Name: fmt.Sprint("LS-", i)})
			if err := s.Delete(b.Context(), topology.Switch{Name: "gone"}.Key(), false); err != nil {
				b.Fatal(err)
			}
		} else {
			create(topology.Switch{Name: fmt.Sprint("LS-", i)})
		}
		for j := range r.IntN(8) {
			ip := netip.AddrFrom4([4]byte{10, 0, byte(i), byte(10 + j)})
			p := topology.SwitchPort{Switch: fmt.Sprint("LS-", i), Name: fmt.Sprintf("lsp-%d-%d", i, j), IP: ip, MAC: topology.MACFromIP(ip)}
			if r.IntN(3) == 0 {
				p.MAC = topology.MAC{2, 0, 0, 0, byte(i), byte(j)}
			}
			if r.IntN(2) == 0 {
				p.Chassis = "hv1"
			}
			create(p)
		}
		outer := topology.SwitchPort{Switch: fmt.Sprint("LS-", i), Name: fmt.Sprint("out-", i), IP: topology.OuterIP, MAC: topology.OuterMAC}
		switch r.IntN(4) {
		case 0:
			create(outer)
		case 1:
			outer.Peer, outer.Chassis = "br0", "hv1"
			create(outer)
		}
	}
	for i := range r.IntN(4) {
		lr := topology.Router{Name: fmt.Sprint("LR-", i)}
		if r.IntN(2) == 0 {
			lr.Chassis = "hv1"
		}
		create(lr)
		for j := range switches {
			if r.IntN(2) == 0 {
				continue
			}
			address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(j), byte(200 + i)}), 24)
			sp, rp := manifest.Link(lr.Name, fmt.Sprint("LS-", j), address)
			if r.IntN(4) == 0 {
				sp.Name, rp.Peer = "odd-"+sp.Name, "odd-"+sp.Name
			}
			create(sp, rp)
			create(topology.StaticRoute{Router: lr.Name, Name: fmt.Sprint("r", j), Net: netip.MustParsePrefix(fmt.Sprintf("10.%d.3.0/16", 9+j)),
				NextHop: netip.AddrFrom4([4]byte{10, 0, byte(j), 230}), OutPort: rp.Name})
			create(topology.NAT{Router: lr.Name, Name: fmt.Sprint("n", j), Net: netip.MustParsePrefix("192.168.0.0/16"),
				XlateIP: netip.AddrFrom4([4]byte{10, 0, byte(j), byte(240 + i)}), Type: topology.SNAT})
		}
	}
}

// Export and apply on an empty store make the same keys and values, books
// included; and the same again, with --prune, of a store that holds something else.
func TestExportApply(t *testing.T) {
	b := newBed(t)
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 1))
		from, to, other := fmt.Sprint("/from", seed), fmt.Sprint("/to", seed), fmt.Sprint("/other", seed)
		b.network(from, r)
		b.network(other, r)
		text := b.must(from, "export", map[string]string{"bound": "true"})
		flags := map[string]string{"file": b.file(text), "force": "true"}
		b.must(to, "apply", flags)
		want, got := b.keys(from), b.keys(to)
		delete(want, "/entity_view/chassis/hv1")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d: %s\n%s", seed, diff, text)
		}
		before := b.revision()
		if out := b.must(to, "apply", flags); !strings.HasPrefix(out, "nothing to do") && !strings.HasPrefix(text, "{}") {
			t.Errorf("seed %d, the second time: %s", seed, out)
		}
		if now := b.revision(); now != before {
			t.Errorf("seed %d: the second time it wrote something", seed)
		}
		flags["prune"], flags["yes"] = "true", "true"
		b.must(other, "apply", flags)
		b.sound(other)
		// There, ports stay bound of which the file says nothing.
		if diff := cmp.Diff(unbound(b.keys(from)), unbound(b.keys(other))); diff != "" {
			t.Errorf("seed %d, pruned: %s\n%s", seed, diff, text)
		}
	}
}

// unbound returns keys and values without the chassis of ordinary ports.
func unbound(keys map[string]string) map[string]string {
	for key, value := range keys {
		if strings.Contains(key, "/lsp/lsp-") || strings.HasSuffix(value, "ee,chassis=hv1") {
			keys[key] = strings.TrimSuffix(value, ",chassis=hv1")
		}
	}
	return keys
}

func (b *bed) revision() int64 {
	resp, err := b.client.Get(b.Context(), "x")
	if err != nil {
		b.Fatal(err)
	}
	return resp.Header.Revision
}

// grid describes switches with ports, and a router that links them.
func grid(switches, ports int) string {
	var text strings.Builder
	text.WriteString("switches:\n")
	for i := range switches {
		fmt.Fprintf(&text, "  LS-%d:\n    ports:\n", i)
		for j := range ports {
			host := i<<9 + j + 2
			fmt.Fprintf(&text, "      port-%d-%d: 10.0.%d.%d\n", i, j, host>>8, host&0xff)
		}
	}
	text.WriteString("routers:\n  LR:\n    links:\n")
	for i := range switches {
		fmt.Fprintf(&text, "      - {switch: LS-%d, cidr: 10.0.%d.1/23}\n", i, i<<1)
	}
	return text.String()
}

// Others make ports in the same switches, and bind those that apply makes, while
// it writes.
func TestApplyBesideOthers(t *testing.T) {
	b := newBed(t)
	file := b.file(grid(4, 400))
	s := b.store("/p")
	for i := range 4 {
		if _, err := s.Create(t.Context(), topology.Switch{Name: fmt.Sprint("LS-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var others sync.WaitGroup
	var made atomic.Int32
	var isDone atomic.Bool // what is cancelled while it is written may still be written
	for i := range 4 {
		others.Go(func() {
			for j := 0; !isDone.Load(); j++ {
				port := topology.SwitchPort{Switch: fmt.Sprint("LS-", i), Name: fmt.Sprintf("pod-%d-%d", i, j)}
				subnet := netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i<<1+1)) // the upper half, most of which the file needs
				if _, err := s.AllocatePort(t.Context(), port, subnet, reserved(i)); err == nil {
					made.Add(1)
				}
				bound := topology.Key{Kind: topology.KindSwitchPort, Parent: port.Switch, Name: fmt.Sprintf("port-%d-%d", i, j%400)}
				_ = s.Bind(t.Context(), bound, "hv1") // which may not be there yet
			}
		})
	}
	out, err := b.run(t.Context(), "/p", "apply", map[string]string{"file": file})
	isDone.Store(true)
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "\n1 router, 1608 ports created, ") {
		t.Error(out)
	}
	if made.Load() == 0 {
		t.Error("the others made nothing")
	}
	b.sound("/p")
	if out := b.must("/p", "apply", map[string]string{"file": file}); out != "nothing to do: the store holds the 1613 objects described\n" {
		t.Error(out)
	}
}

// reserved tells which addresses of a grid's switch its file needs.
func reserved(sw int) func(netip.Addr) bool {
	needs := map[netip.Addr]bool{}
	for j := range 400 {
		host := sw<<9 + j + 2
		needs[netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)})] = true
	}
	return func(ip netip.Addr) bool { return needs[ip] }
}

// Interrupted in the middle, it leaves what is complete in itself, says how far it
// came, and goes on the next time.
func TestApplyInterrupted(t *testing.T) {
	b := newBed(t)
	flags := map[string]string{"file": b.file(grid(10, 200))}
	ctx, cancel := context.WithCancel(t.Context())
	watch := b.client.Watch(t.Context(), "/p/entity_view/LS/LS-4/lsp/", clientv3.WithPrefix())
	go func() { <-watch; cancel() }()
	_, err := b.run(ctx, "/p", "apply", flags)
	if err == nil || !regexp.MustCompile(`\n\d+ switches, \d+ ports created, 0 changed, 0 deleted before that, all of it complete; run it again to go on$`).MatchString(err.Error()) {
		t.Fatalf("got %v", err)
	}
	b.sound("/p")
	out := b.must("/p", "apply", flags)
	if strings.Contains(out, "\n10 switches") || !strings.Contains(out, " created, 0 changed, 0 deleted in ") {
		t.Error(out)
	}
	b.sound("/p")
	if out := b.must("/p", "apply", flags); !strings.HasPrefix(out, "nothing to do: ") {
		t.Error(out)
	}
}
