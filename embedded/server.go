package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Where a server listens unless it is told otherwise.
const (
	DefaultClientURL = "http://127.0.0.1:2379"
	DefaultPeerURL   = "http://127.0.0.1:2380"
)

// Config says how a server runs. Only DataDir is needed.
//
// URLs are http://ADDRESS:PORT or https://ADDRESS:PORT, for clients also
// unix:///PATH, which reaches into other network namespaces. Port 0, in one of
// them, is any port that is free (see Endpoints).
type Config struct {
	Name    string // of this member in its cluster; default "default"
	DataDir string // made when missing

	ClientURLs          []string // default DefaultClientURL
	AdvertiseClientURLs []string // as others reach them; default ClientURLs
	PeerURLs            []string // default DefaultPeerURL
	AdvertisePeerURLs   []string // default PeerURLs

	InitialCluster      string // NAME=PEER-URL,... of all members; default this member alone
	InitialClusterState string // "new", or "existing" for a member that joins; default "new"

	ClientTLS TLS // for https client URLs
	PeerTLS   TLS // for https peer URLs

	AutoCompactionMode      string   // "periodic" or "revision"; default "periodic"
	AutoCompactionRetention string   // how much history is kept: a duration or a number of revisions; default 1h
	MetricsURLs             []string // /metrics and /health in plain HTTP, beside those of the client URLs

	Log  *slog.Logger // gets etcd's errors; default slog.Default()
	Fast bool         // for tests: elects itself at once, and does not wait for the disk
}

// TLS names PEM files.
type TLS struct {
	CertFile, KeyFile string
	TrustedCAFile     string // authorities of the other side's certificate
	ClientCertAuth    bool   // refuse who has no certificate of theirs
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.CertFile, KeyFile: t.KeyFile, TrustedCAFile: t.TrustedCAFile, ClientCertAuth: t.ClientCertAuth}
}

// Server is an etcd server that runs.
type Server struct {
	etcd   *embed.Etcd
	log    *logCore
	drain  context.CancelFunc
	stop   sync.Once
	failed chan error
}

// Start starts a server and returns when it serves: for a new cluster when
// most of its members are there, however long that takes. It gives up when ctx
// ends, which does not bear on a server that has started.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("etcd needs a data directory")
	}
	core := newLogCore(cmp.Or(cfg.Log, slog.Default()))
	streams, drain := context.WithCancel(context.Background())
	settings, err := cfg.settings(core)
	if err != nil {
		drain()
		return nil, err
	}
	settings.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endWith(streams))}
	if err := checkUnlocked(cfg.DataDir); err != nil {
		drain()
		return nil, err
	}
	etcd, err := embed.StartEtcd(settings)
	if err != nil {
		drain()
		return nil, fmt.Errorf("cannot start etcd in %s: %w", cfg.DataDir, err)
	}
	s := &Server{etcd: etcd, log: core, drain: drain, failed: make(chan error, 1)}
	go s.watchOver()
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case err := <-s.failed:
		s.Stop()
		return nil, fmt.Errorf("etcd in %s: %w", cfg.DataDir, err)
	case <-ctx.Done():
		// Closing alone would wait for clients' servers, which only start
		// when the cluster is ready.
		etcd.Server.HardStop()
		s.Stop()
		return nil, fmt.Errorf("etcd in %s did not become ready (are most of its cluster's members there?): %w", cfg.DataDir, ctx.Err())
	}
}

// settings translates cfg.
func (cfg Config) settings(core *logCore) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name = cmp.Or(cfg.Name, embed.DefaultName)
	c.Dir = cfg.DataDir
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core))
	for _, u := range []struct {
		what     string
		to       *[]url.URL
		from, or []string
	}{
		{"client", &c.ListenClientUrls, cfg.ClientURLs, []string{DefaultClientURL}},
		{"advertised client", &c.AdvertiseClientUrls, cfg.AdvertiseClientURLs, cfg.ClientURLs},
		{"peer", &c.ListenPeerUrls, cfg.PeerURLs, []string{DefaultPeerURL}},
		{"advertised peer", &c.AdvertisePeerUrls, cfg.AdvertisePeerURLs, cfg.PeerURLs},
		{"metrics", &c.ListenMetricsUrls, cfg.MetricsURLs, nil},
	} {
		from := u.from
		if len(from) == 0 {
			from = u.or
		}
		if len(from) == 0 {
			continue // etcd's default, which is ours
		}
		urls, err := types.NewURLs(from)
		if err != nil {
			return nil, fmt.Errorf("%s URL of etcd: %w", u.what, err)
		}
		*u.to = urls
	}
	c.InitialCluster = cmp.Or(cfg.InitialCluster, c.InitialClusterFromName(c.Name))
	c.ClusterState = cmp.Or(cfg.InitialClusterState, embed.ClusterStateFlagNew)
	c.ClientTLSInfo, c.PeerTLSInfo = cfg.ClientTLS.info(), cfg.PeerTLS.info()
	c.AutoCompactionMode = cmp.Or(cfg.AutoCompactionMode, embed.CompactorModePeriodic)
	c.AutoCompactionRetention = cmp.Or(cfg.AutoCompactionRetention, "1h")
	if cfg.Fast {
		c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
	}
	return c, nil
}

// checkUnlocked refuses a data directory that another process uses. etcd would
// wait for it for ever.
func checkUnlocked(dir string) error {
	f, err := os.Open(filepath.Join(dir, database))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory of etcd: %w", err)
	}
	defer f.Close() // and with it the lock
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("data directory %s is in use by another etcd", dir)
	}
	if err != nil {
		return fmt.Errorf("locking data directory %s: %w", dir, err)
	}
	return nil
}

// watchOver reports when the server ends by itself.
func (s *Server) watchOver() {
	select {
	case err := <-s.etcd.Err():
		s.failed <- s.ended(err)
	case <-s.etcd.Server.StopNotify():
		s.failed <- s.ended(errStopped)
	}
}

// ended returns why the server has ended, for which err is a sign.
func (s *Server) ended(err error) error {
	if s.log.removed.Load() {
		return errRemoved
	}
	return cmp.Or(err, errStopped)
}

var (
	errStopped = errors.New("the server has stopped")
	errRemoved = errors.New("this member was removed from its cluster, and its data is of no use to it any more; " +
		"if it is to come back: set that directory aside, then tuplenet etcd add-member")
)

// Failed yields an error when the server ends otherwise than by Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// Answer reads from the server, without asking the other members of its cluster: it
// fails when this one does not get to it before ctx ends. That it refuses whom it
// does not know is an answer, too.
func (s *Server) Answer(ctx context.Context) error {
	_, _ = s.etcd.Server.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("health"), Serializable: true})
	return ctx.Err()
}

// Endpoints returns where clients reach the server, as store.Config takes it.
func (s *Server) Endpoints() []string {
	urls := slices.Clone(s.etcd.Config().ListenClientUrls)
	for i, u := range urls {
		if u.Port() != "0" {
			continue
		}
		for _, l := range s.etcd.Clients {
			tcp, ok := l.Addr().(*net.TCPAddr)
			if ok && !slices.ContainsFunc(urls, func(u url.URL) bool { return u.Port() == strconv.Itoa(tcp.Port) }) {
				urls[i].Host = tcp.String()
			}
		}
	}
	return types.URLs(urls).StringSlice()
}

// Stop ends the server. What it acknowledged is on the disk. It may be called
// more than once.
func (s *Server) Stop() {
	s.stop.Do(func() {
		s.log.muted.Store(true)
		s.drain()
		s.etcd.Close()
	})
}
