package ovs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

const (
	connectTimeout  = 10 * time.Second
	transactTimeout = 20 * time.Second
	// probeInterval is how often an OVSDB connection is tried; it also is how
	// long an end of the connection may stay unseen that libovsdb announces
	// before anybody listens.
	probeInterval = time.Second
)

// session is one connection to OVSDB with the replica that it feeds. It is
// never mended: the next connection is a new session with a new replica, so
// that no reader ever meets a replica that is being filled again. (libovsdb's
// own reconnecting empties the replica in use, and cannot be stopped.)
type session struct {
	client client.Client
	cache  *cache.TableCache
	lost   context.Context // ends with the connection
	end    context.CancelFunc
	dirty  chan struct{} // capacity 1: the replica has changed
}

// newSession connects, and returns when the replica is complete.
func newSession(ctx context.Context, endpoint string, log *slog.Logger) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	m, err := databaseModel()
	if err != nil {
		return nil, fmt.Errorf("model of OVSDB: %w", err)
	}
	logger := logr.FromSlogHandler(debugOnly{log.Handler()})
	c, err := client.NewOVSDBClient(m, client.WithEndpoint(endpoint), client.WithLogger(&logger))
	if err != nil {
		return nil, fmt.Errorf("OVSDB endpoint %s: %w", endpoint, err)
	}
	s := &session{client: c, dirty: make(chan struct{}, 1)}
	s.lost, s.end = context.WithCancel(context.Background())
	// libovsdb tells of a lost connection only those who wait for it already.
	go func() {
		select {
		case <-c.DisconnectNotify():
			s.end()
		case <-s.lost.Done():
		}
	}()
	if err := c.Connect(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("connect to OVSDB at %s: %w", endpoint, err)
	}
	monitor := c.NewMonitor(monitorOptions()...)
	// The "since" method, libovsdb's default, does not report a replica that
	// went wrong; a server of one database has no history to send either.
	monitor.Method = ovsdb.ConditionalMonitorRPC
	if _, err := c.Monitor(ctx, monitor); err != nil {
		s.close()
		return nil, fmt.Errorf("monitor OVSDB at %s: %w", endpoint, err)
	}
	if s.cache = c.Cache(); s.cache == nil {
		s.close()
		return nil, fmt.Errorf("OVSDB at %s: connection lost at once", endpoint)
	}
	s.cache.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { signal(s.dirty) },
		UpdateFunc: func(string, model.Model, model.Model) { signal(s.dirty) },
		DeleteFunc: func(string, model.Model) { signal(s.dirty) },
	})
	signal(s.dirty)
	return s, nil
}

func (s *session) close() {
	s.end()
	s.client.Close()
}

// probe ends the session when the server does not answer.
func (s *session) probe(ctx context.Context) {
	ctx, cancel := s.bound(ctx, connectTimeout)
	defer cancel()
	if s.client.Echo(ctx) != nil {
		s.end()
	}
}

// transact runs the operations as one transaction. When it returns, the
// replica has seen them: the server sends updates ahead of the answer. Without
// an answer nobody can tell whether the server runs them, so the session ends.
// The replica of the next one tells: a server that goes on works off the old
// connection before it fills that.
//
// Transactions must fit into the buffer of the socket, some 200 KB: libovsdb
// writes without a deadline, and a server that hangs reads nothing.
func (s *session) transact(ctx context.Context, ops []ovsdb.Operation) error {
	if len(ops) == 0 {
		return nil
	}
	ctx, cancel := s.bound(ctx, transactTimeout)
	defer cancel()
	results, err := s.client.Transact(ctx, ops...)
	if err != nil {
		s.end()
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return checkResults(results, ops)
}

// bound returns a context for one request, which ends with the session, too:
// libovsdb cannot close the connection before the request has ended.
func (s *session) bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	stop := context.AfterFunc(s.lost, cancel)
	return ctx, func() { stop(); cancel() }
}

// signal makes a channel of capacity 1 readable.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// debugOnly passes a library's records on at debug level, and drops those that
// are finer. What matters of them the driver says itself.
type debugOnly struct{ slog.Handler }

func (h debugOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelDebug && h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h debugOnly) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h debugOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return debugOnly{h.Handler.WithAttrs(attrs)}
}

func (h debugOnly) WithGroup(name string) slog.Handler {
	return debugOnly{h.Handler.WithGroup(name)}
}
