package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// local is a server on ports that are free.
func local(t *testing.T) Config {
	return Config{
		DataDir:    t.TempDir(),
		ClientURLs: []string{"http://127.0.0.1:0"},
		PeerURLs:   []string{"http://127.0.0.1:0"},
		Fast:       true,
		Log:        slog.New(slog.DiscardHandler),
	}
}

func mustStart(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not contain %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has several lines", err)
	}
}

func TestDataSurvivesStop(t *testing.T) {
	cfg := local(t)
	s := mustStart(t, cfg)
	if _, err := connect(t, s.Endpoints()...).Put(within(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	s = mustStart(t, cfg)
	got, err := connect(t, s.Endpoints()...).Get(within(t), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestUnixSocket(t *testing.T) {
	cfg := local(t)
	socket := "unix://" + filepath.Join(t.TempDir(), "etcd.sock")
	cfg.ClientURLs = append(cfg.ClientURLs, socket)
	s := mustStart(t, cfg)
	if got := s.Endpoints(); len(got) != 2 || strings.HasSuffix(got[0], ":0") || got[1] != socket {
		t.Errorf("endpoints are %v", got)
	}
	for _, endpoint := range s.Endpoints() {
		if _, err := connect(t, endpoint).Put(within(t), "k", "v"); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestHealth(t *testing.T) {
	cfg := local(t)
	cfg.MetricsURLs = []string{"http://127.0.0.1:0"}
	s := mustStart(t, cfg)
	resp, err := http.Get(s.Endpoints()[0] + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"health":"true"`) {
		t.Errorf("got %s %s (%v)", resp.Status, body, err)
	}
}

func TestStartRefuses(t *testing.T) {
	_, err := Start(t.Context(), Config{})
	wantError(t, err, "needs a data directory")

	cfg := local(t)
	cfg.ClientURLs = []string{"127.0.0.1:2379"}
	_, err = Start(t.Context(), cfg)
	wantError(t, err, "client URL of etcd", "127.0.0.1:2379")

	running := local(t)
	mustStart(t, running)
	_, err = Start(t.Context(), running)
	wantError(t, err, "data directory "+running.DataDir+" is in use")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg = local(t)
	cfg.ClientURLs = []string{"http://" + listener.Addr().String()}
	_, err = Start(t.Context(), cfg)
	wantError(t, err, cfg.DataDir, listener.Addr().String(), "address already in use")

	cfg = local(t)
	cfg.ClientURLs = []string{"https://127.0.0.1:0"}
	_, err = Start(t.Context(), cfg)
	wantError(t, err, "TLS key/cert", "https://127.0.0.1:0")

	cfg = local(t)
	cfg.AutoCompactionMode = "never"
	_, err = Start(t.Context(), cfg)
	wantError(t, err, `"never"`)
}

// A stream ends when the server stops, as if the server were away.
func TestStreamsEndWhenStopping(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	serve := endWith(stopping)
	stream := &fakeStream{ctx: t.Context()}
	if err := serve(nil, stream, nil, func(any, grpc.ServerStream) error { return io.EOF }); err != io.EOF {
		t.Errorf("got %v, want what the handler returned", err)
	}
	err := serve(nil, stream, nil, func(_ any, s grpc.ServerStream) error {
		stop()
		<-s.Context().Done()
		return s.Context().Err()
	})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *fakeStream) Context() context.Context { return s.ctx }

// A client's watch outlives the server and goes on when it is there again.
func TestWatchOutlivesStop(t *testing.T) {
	cfg := local(t)
	cfg.ClientURLs = []string{"unix://" + filepath.Join(t.TempDir(), "etcd.sock")}
	s := mustStart(t, cfg)
	client := connect(t, s.Endpoints()...)
	watch := client.Watch(within(t), "k", clientv3.WithCreatedNotify())
	<-watch
	s.Stop()
	mustStart(t, cfg)
	if _, err := client.Put(within(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if resp, ok := <-watch; !ok || resp.Err() != nil || len(resp.Events) != 1 {
		t.Errorf("got %+v, want the put", resp)
	}
}

// freePorts returns addresses that nobody listens on. Members of a cluster
// have to know each other's before they start.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
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

func TestStaticCluster(t *testing.T) {
	ports := freePorts(t, 3)
	var members, cluster = make([]Config, 3), []string{}
	for i := range members {
		members[i] = local(t)
		members[i].Name = fmt.Sprint("m", i)
		members[i].PeerURLs = []string{"http://" + ports[i]}
		cluster = append(cluster, members[i].Name+"="+members[i].PeerURLs[0])
	}
	servers := make([]*Server, 3)
	errs := make(chan error)
	for i := range members {
		members[i].InitialCluster = strings.Join(cluster, ",")
		go func() {
			var err error
			servers[i], err = Start(within(t), members[i])
			errs <- err
		}()
	}
	for range members {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		t.Cleanup(s.Stop)
	}
	if _, err := connect(t, servers[0].Endpoints()...).Put(within(t), "k", "1"); err != nil {
		t.Fatal(err)
	}
	// Two go on without the third, which catches up when it is back.
	servers[2].Stop()
	if _, err := connect(t, servers[1].Endpoints()...).Put(within(t), "k", "2"); err != nil {
		t.Fatal(err)
	}
	back := mustStart(t, members[2])
	got, err := connect(t, back.Endpoints()...).Get(within(t), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "2" {
		t.Errorf("got %v, %v", got, err)
	}
}

// The first member of a new cluster waits for the others, and can be told to
// give up.
func TestStartGivesUpWithItsContext(t *testing.T) {
	cfg := local(t)
	ports := freePorts(t, 2)
	cfg.Name = "m0"
	cfg.PeerURLs = []string{"http://" + ports[0]}
	cfg.InitialCluster = "m0=http://" + ports[0] + ",m1=http://" + ports[1]
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, cfg)
	wantError(t, err, cfg.DataDir, "did not become ready")
}

func TestLogPassesErrorsOn(t *testing.T) {
	var out strings.Builder
	core := newLogCore(slog.New(slog.NewTextHandler(&out, nil)))
	logger := zap.New(core).With(zap.String("member", "m1"))
	logger.Info("unimportant")
	logger.Error("broken", zap.Int("n", 3))
	logger.Warn("unimportant, too")
	if core.removed.Load() {
		t.Error("it was not removed yet")
	}
	logger.Warn("server error", zap.Error(errors.New("the member has been permanently removed from the cluster")))
	if !core.removed.Load() {
		t.Error("that it was removed was not understood")
	}
	core.muted.Store(true)
	logger.Error("late")
	if got := out.String(); !strings.Contains(got, `level=ERROR msg="etcd: broken" member=m1 n=3`) || strings.Contains(got, "unimportant") || strings.Contains(got, "permanently") || strings.Contains(got, "late") {
		t.Errorf("got %q", got)
	}
}
