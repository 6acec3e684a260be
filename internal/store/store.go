package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"tuplenet/internal/topology"
)

// Config says where etcd is and how to reach it.
type Config struct {
	Endpoints []string // host:port, http(s)://host:port or unix:///path; default localhost:2379
	Prefix    string   // of all keys; default /tuplenet, a trailing slash is added where it is missing

	CAFile            string // PEM, the authorities that etcd's certificate is judged by; empty: the system's
	CertFile, KeyFile string // PEM, our own certificate, if etcd wants one
	Username          string
	Password          string

	ReadOnly    bool          // write nothing, not even the globals that are missing
	DialTimeout time.Duration // how long Open waits for an answer; default 5 s
	Log         *slog.Logger  // default slog.Default()
}

// Store is TupleNet's data in etcd.
type Store struct {
	client   *clientv3.Client
	layout   layout
	readOnly bool
	log      *slog.Logger

	endpoints   []string // as they were given, for messages
	user        string   // see User
	certificate string   // file with the certificate to show to etcd; empty if there is none
	connections *connections
	failover    *failover
	sight       *sight
	confined    sync.Once // said that bindings are kept in keys of their own
}

// New prepares a store without any I/O; connections are made and made again
// when they are needed. It fails only for what is wrong with cfg. Who changes
// something through the store calls Init first.
func New(cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []string{"localhost:2379"}
	}
	open, sees := &connections{}, &sight{}
	other := &failover{sight: sees}
	// Where there are several members, each has its share of the nodes.
	endpoints := slices.Clone(cfg.Endpoints)
	rand.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	config := clientv3.Config{
		Endpoints: endpoints,
		Logger:    zap.NewNop(), // every attempt of a retry is a warning there
		// A connection that is open at one end only is noticed after their sum.
		// etcd closes connections that ping more often than every 5 s.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
			grpc.WithChainStreamInterceptor(endBrokenStreams, other.mind),
			grpc.WithChainUnaryInterceptor(other.mindRead),
			grpc.WithDisableServiceConfig(), // the client's own would ask all members in turn
			grpc.WithDefaultServiceConfig(oneMember),
			grpc.WithContextDialer(open.dial),
		},
	}
	if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" {
		tls, err := transport.TLSInfo{TrustedCAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("TLS for etcd: %w", err)
		}
		config.TLS = tls
	}
	// With a user name the client logs in while it is made, and fails without
	// etcd. So it starts with a token that nobody honours, and logs in when it
	// is told so.
	if cfg.Username != "" {
		config.Token = "none"
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %s", strings.Join(cfg.Endpoints, ", "), plain(err))
	}
	client.Token, client.Username, client.Password = "", cfg.Username, cfg.Password
	s := &Store{client: client, layout: newLayout(cfg.Prefix), readOnly: cfg.ReadOnly, log: cmp.Or(cfg.Log, slog.Default()),
		endpoints: cfg.Endpoints, user: userOf(cfg), certificate: cfg.CertFile, connections: open, failover: other, sight: sees}
	other.leave = s.leaveMember
	return s, nil
}

// Open connects and calls Init; it fails when no endpoint answers within
// cfg.DialTimeout.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	timeout := cmp.Or(cfg.DialTimeout, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.Init(ctx); err != nil {
		reason := s.unreachable(err)
		s.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("etcd at %s does not answer within %s: %s", strings.Join(s.endpoints, ", "), timeout, reason)
		}
		return nil, err
	}
	return s, nil
}

// Close ends the connection.
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Init checks that the store is in a version that we know (ErrVersion if it is
// not) and makes the globals that are missing. While etcd is away it waits,
// until ctx ends.
func (s *Store) Init(ctx context.Context) error {
	for wait := minWait; ; wait = longer(wait) {
		err := s.init(ctx)
		if errors.Is(err, ErrDenied) {
			return fmt.Errorf("%w; %s has no role for %s there, or not any more", err, s.Who(), s.Prefix())
		}
		if err == nil || !passing(err) || !sleep(ctx, wait) {
			return err
		}
	}
}

// unreachable says why there was no answer. A request waits for a connection
// until its context ends, and then says no more than that.
func (s *Store) unreachable(err error) string {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	request := &etcdserverpb.RangeRequest{Key: []byte(s.layout.version())}
	if _, now := etcdserverpb.NewKVClient(s.client.ActiveConnection()).Range(ctx, request); now != nil {
		err = now
	}
	why := reason(err)
	for _, refused := range []error{syscall.ECONNREFUSED, syscall.ENOENT} { // of a host, of a socket; gRPC keeps the text alone
		if strings.HasSuffix(why, refused.Error()) {
			return "nobody listens there (" + refused.Error() + ")"
		}
	}
	return why
}

func (s *Store) init(ctx context.Context) error {
	if s.readOnly {
		resp, err := s.client.Get(ctx, s.layout.version())
		if err != nil {
			return s.failed("looking at the store's version", err)
		}
		if len(resp.Kvs) == 0 {
			return nil
		}
		return s.checkVersion(string(resp.Kvs[0].Value))
	}
	return s.WriteGlobals(ctx)
}

// WriteGlobals makes the globals that are missing, as Init does for a store that
// may be written to.
func (s *Store) WriteGlobals(ctx context.Context) error {
	return s.change(ctx, "looking at the store's version", []string{s.layout.version(), s.layout.deviceIDs()}, func(t *txn) error {
		if text, ok := t.get(s.layout.version()); !ok {
			t.put(s.layout.version(), strconv.Itoa(version))
		} else if err := s.checkVersion(text); err != nil {
			return err
		}
		if _, ok := t.get(s.layout.deviceIDs()); !ok {
			ids, err := s.usedIDs(ctx, topology.Key{})
			if err != nil {
				return err
			}
			t.put(s.layout.deviceIDs(), encodeBitmap(ids))
		}
		return nil
	})
}

func (s *Store) checkVersion(text string) error {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	switch {
	case err != nil:
		return fmt.Errorf("%s holds %q, want a number", s.layout.version(), text)
	case n > version:
		return fmt.Errorf("%w: %s is %d, this program knows %d; use a newer one", ErrVersion, s.layout.version(), n, version)
	}
	return nil
}

// Prefix returns what all keys of the store begin with, a slash at its end.
func (s *Store) Prefix() string { return string(s.layout) }

// Endpoints returns where etcd is, as New was told.
func (s *Store) Endpoints() []string { return slices.Clone(s.endpoints) }

// IsEmpty reports whether there is no key at all under the prefix: not even what
// every change makes first.
func (s *Store) IsEmpty(ctx context.Context) (bool, error) {
	resp, err := s.client.Get(ctx, s.Prefix(), clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return false, s.failed("looking for keys under "+s.Prefix(), err)
	}
	return len(resp.Kvs) == 0, nil
}

// usedIDs returns the ids of all switches and routers but one, as their values
// tell them.
func (s *Store) usedIDs(ctx context.Context, but topology.Key) (*roaring.Bitmap, error) {
	used := roaring.New()
	for _, kind := range []topology.Kind{topology.KindSwitch, topology.KindRouter} {
		devices, _, err := s.List(ctx, kind, "")
		if err != nil {
			return nil, err
		}
		for _, device := range devices {
			if device.Key() != but {
				used.Add(idOf(device))
			}
		}
	}
	return used, nil
}

// usedPortIDs returns the ids of all ports of a switch or router but one.
func (s *Store) usedPortIDs(ctx context.Context, device topology.Key, but topology.Key) (*roaring.Bitmap, error) {
	used := roaring.New()
	ports, err := s.ports(ctx, device)
	for _, port := range ports {
		if port.Key() != but {
			used.Add(idOf(port))
		}
	}
	return used, err
}

// ports returns the ports of a switch or router.
func (s *Store) ports(ctx context.Context, device topology.Key) ([]topology.Stored, error) {
	kind := topology.KindSwitchPort
	if device.Kind == topology.KindRouter {
		kind = topology.KindRouterPort
	}
	ports, _, err := s.List(ctx, kind, device.Name)
	return ports, err
}

// idOf returns the number that e takes in a book: device_ids for a switch or
// router, its parent's ip_book for a port.
func idOf(e topology.Stored) uint32 {
	switch e := e.(type) {
	case topology.SwitchPort:
		return uint32(e.ID())
	case topology.RouterPort:
		return uint32(e.ID())
	}
	return topology.DatapathID(e)
}

// minWait and maxWait bound how long to wait before etcd is asked again.
const (
	minWait = 50 * time.Millisecond
	maxWait = 2 * time.Second
)

func longer(wait time.Duration) time.Duration { return min(2*wait, maxWait) }

// sleep waits for about d, as many do the same at the same time, and reports
// false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
