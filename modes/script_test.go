package modes

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
)

// TestScripts runs testdata/*.txtar. Each script gets a store of its own in
// one etcd, named to it by the environment: $TUPLENET_ENDPOINTS and
// $TUPLENET_PREFIX; $PEER_A and $PEER_B are addresses that nobody listens at.
// Beside testscript's commands a script has
//
//	put KEY VALUE    write what stands under the prefix, as another tool would;
//	                 with a third argument, "leased", under a lease of a minute
//	mend             carry out, one by one, the remedies of tpctl check, until it
//	                 finds nothing that has one; each ends what it is the remedy of
//	keys             print all keys under the prefix and their values
//	expand FILE      put the values of $VARIABLES into a file of the script
//	excerpt DOC FILE write FILE as docs/DOC has it: the block that begins with "# FILE"
func TestScripts(t *testing.T) {
	server, err := embedded.Start(t.Context(), embedded.Config{
		DataDir:    t.TempDir(),
		ClientURLs: []string{"http://127.0.0.1:0"},
		PeerURLs:   []string{"http://127.0.0.1:0"},
		Log:        slog.New(slog.NewTextHandler(t.Output(), nil)),
		Fast:       true,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	var scripts atomic.Int32
	// The scripts run in parallel, after this function has returned.
	t.Cleanup(func() {
		client.Close()
		server.Stop()
	})
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TUPLENET_ENDPOINTS", strings.Join(server.Endpoints(), ","))
			env.Setenv("TUPLENET_PREFIX", fmt.Sprintf("/script%d", scripts.Add(1)))
			// Not what this machine has in /etc.
			env.Setenv("TUPLENET_CONFIG", filepath.Join(env.WorkDir, "empty.yaml"))
			for i, peer := range freeAddresses(t, 2) {
				env.Setenv(fmt.Sprintf("PEER_%c", 'A'+i), peer)
			}
			return os.WriteFile(env.Getenv("TUPLENET_CONFIG"), nil, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"put":     func(ts *testscript.TestScript, neg bool, args []string) { put(ts, client, neg, args) },
			"expand":  expand,
			"mend":    func(ts *testscript.TestScript, neg bool, args []string) { mend(ts, client, neg, args) },
			"excerpt": excerpt,
			"keys":    func(ts *testscript.TestScript, neg bool, args []string) { keys(ts, client, neg, args) },
		},
	})
}

// freeAddresses returns n addresses of this machine that nobody listens at.
func freeAddresses(t *testing.T, n int) []string {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func put(ts *testscript.TestScript, client *clientv3.Client, neg bool, args []string) {
	if neg || len(args) != 2 && (len(args) != 3 || args[2] != "leased") {
		ts.Fatalf("usage: put KEY VALUE [leased]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var opts []clientv3.OpOption
	if len(args) == 3 {
		lease, err := client.Grant(ctx, 60)
		ts.Check(err)
		opts = append(opts, clientv3.WithLease(lease.ID))
	}
	_, err := client.Put(ctx, ts.Getenv("TUPLENET_PREFIX")+"/"+args[0], args[1], opts...)
	ts.Check(err)
}

func keys(ts *testscript.TestScript, client *clientv3.Client, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: keys")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	prefix := ts.Getenv("TUPLENET_PREFIX") + "/"
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	ts.Check(err)
	var lines []string
	for _, kv := range resp.Kvs {
		lines = append(lines, fmt.Sprintf("%s %s\n", strings.TrimPrefix(string(kv.Key), prefix), kv.Value))
	}
	slices.Sort(lines)
	_, err = ts.Stdout().Write([]byte(strings.Join(lines, "")))
	ts.Check(err)
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func excerpt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: excerpt DOC FILE")
	}
	doc, err := os.ReadFile(filepath.Join("..", "docs", args[0]))
	ts.Check(err)
	_, block, found := strings.Cut(string(doc), "\n# "+args[1]+"\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !found || !closed {
		ts.Fatalf("docs/%s has no block that begins with %q", args[0], "# "+args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(block+"\n"), 0o600))
}
