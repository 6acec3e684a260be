package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tuplenet/internal/topology"
)

// Update is what one or several revisions of the store changed.
type Update struct {
	Snapshot bool              // Changes is everything; what is not in it is gone
	Resumed  bool              // etcd was out of sight before: what comes now may be news from long ago
	Restored bool              // the store is not the one that was read before: a backup, or another history
	Revision int64             // of the store, after Changes
	Changes  []topology.Change // in the order in which they were made; a snapshot's in the order of etcd's keys
}

// Watch delivers a snapshot of all entities, then every change after it. It
// waits for etcd however long it is away; when etcd comes back with the past
// that was seen, changes go on from there, else (its history was compacted, or
// it was restored from a backup) another snapshot is delivered. The channel is
// closed when ctx ends, and only then.
func (s *Store) Watch(ctx context.Context) <-chan Update {
	// Buffered, so that the reader finds at once what came while it was busy.
	out := make(chan Update, 1024)
	w := &watch{store: s, out: out}
	go func() {
		defer close(out)
		w.run(ctx)
	}()
	return out
}

// watch is a Watch under way.
type watch struct {
	store *Store
	out   chan<- Update
	seen  *past // nil: a snapshot is needed
	lost  bool  // etcd has been out of sight
	away  bool  // and reported

	restored bool // the store has another past than was seen
}

// past is enough of the store's history, up to the revision that was delivered
// last, to tell it from another: a store that was restored from a backup is another
// cluster, or if somebody has put a data directory back, and it has grown since, has
// a different key, or another number of them, there.
type past struct {
	cluster  uint64 // etcd's id of it
	revision int64
	path     string           // of the change that came last
	kv       *mvccpb.KeyValue // what it left there; nil: it deleted the key
	count    int64            // keys in the range that is watched; of a revision, so that a lease that ends later changes nothing
}

func (w *watch) run(ctx context.Context) {
	wait := minWait
	for ctx.Err() == nil {
		progress, err := w.follow(ctx)
		w.store.sight.connected.Store(false)
		if progress {
			wait = minWait
		}
		w.lost = true
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errOtherPast):
			w.restored = w.restored || !errors.Is(err, errForgotten)
			w.store.log.Warn("the store's history is not the one that was seen, reading all of it", "reason", err)
			w.seen = nil
		case !w.away:
			w.away = true
			what := "lost the store, going on with what is known"
			if w.seen == nil {
				what = "waiting for the store; is etcd running there?"
			}
			w.store.log.Warn(what, "endpoints", w.store.endpoints, "reason", plain(err))
		}
		if !sleep(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// follow delivers what there is until the stream from etcd ends, which it
// gives the reason for, and tells whether it got so far as to see etcd well.
func (w *watch) follow(ctx context.Context) (progress bool, err error) {
	resumed := w.seen != nil
	if !resumed {
		if err := w.snapshot(ctx); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	from, end := w.store.layout.watched()
	// From the revision that was seen, not from the one after it: etcd does not
	// say how far a watch has come that begins in the future.
	start := w.seen.revision
	stream := w.store.client.Watch(ctx, from, clientv3.WithRange(end), clientv3.WithRev(start),
		clientv3.WithCreatedNotify(), clientv3.WithProgressNotify(), clientv3.WithFragment())
	go w.ask(ctx)
	for resp := range stream {
		if err := resp.Err(); err != nil {
			if errors.Is(err, rpctypes.ErrNoLeader) {
				w.store.failover.now() // another member may see more of the cluster
			}
			if errors.Is(err, rpctypes.ErrCompacted) {
				err = fmt.Errorf("%w: revision %d is compacted", errForgotten, w.seen.revision)
			}
			return progress, err
		}
		switch {
		case resp.Created:
			// A restored store may not know its past, which then is no sign.
			if resp.Header.ClusterId != w.seen.cluster {
				return progress, otherPast("it is another cluster, a backup for one")
			}
			// Not before: a store that is replaced from now on ends the stream.
			if err := w.verify(ctx); err != nil {
				return false, err
			}
			progress = true
			w.store.sight.connected.Store(true)
			w.store.sight.begun.Add(1)
			if w.away {
				w.away = false
				w.store.log.Info("the store is back", "revision", resp.Header.Revision)
			}
			if resumed {
				w.send(ctx, Update{Resumed: true, Revision: w.seen.revision})
			}
		case resp.Header.Revision < w.seen.revision:
			return progress, otherPast("it is at revision %d, %d was seen", resp.Header.Revision, w.seen.revision)
		case resp.IsProgressNotify():
			w.seen.revision = resp.Header.Revision
			w.delivered()
		default:
			w.deliver(ctx, slices.DeleteFunc(resp.Events, func(e *clientv3.Event) bool { return e.Kv.ModRevision <= start }))
		}
	}
	return progress, errors.New("the watch was closed")
}

// ask has etcd tell how far the watch has come, so that it is known whether it is
// still there, until ctx ends. Of an answer that does not come failover takes
// care.
func (w *watch) ask(ctx context.Context) {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// It fails only when the stream has ended, which is known then.
			_ = w.store.client.RequestProgress(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// snapshot reads and delivers everything.
func (w *watch) snapshot(ctx context.Context) error {
	s := w.store
	// The first question is the one that waits while etcd is away, and not for
	// ever, so that it is known what the matter is.
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.client.Get(try, s.layout.version())
	if err != nil {
		return err
	}
	if len(resp.Kvs) > 0 {
		if err := s.checkVersion(string(resp.Kvs[0].Value)); err != nil {
			return err
		}
	}
	from, end := s.layout.watched()
	seen := &past{cluster: resp.Header.ClusterId, path: from} // no key: what an empty store has
	var changes []topology.Change
	var last *mvccpb.KeyValue
	revision, err := s.scan(ctx, from, end, func(kv *mvccpb.KeyValue) {
		seen.count++
		if last == nil || kv.ModRevision > last.ModRevision {
			last = kv
		}
		changes = s.appendChange(changes, kv)
	})
	if err != nil {
		return err
	}
	seen.revision = revision
	if last != nil {
		seen.path, seen.kv = string(last.Key), last
	}
	w.seen = seen
	w.send(ctx, Update{Snapshot: true, Resumed: w.lost, Restored: w.restored, Revision: revision, Changes: changes})
	w.restored = false
	w.store.sight.snapshots.Add(1)
	w.delivered()
	return nil
}

// deliver sends the events of a response on.
func (w *watch) deliver(ctx context.Context, events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	changes := make([]topology.Change, 0, len(events))
	for _, event := range events {
		w.seen.note(event)
		if event.Type == clientv3.EventTypePut {
			changes = w.store.appendChange(changes, event.Kv)
		} else if key, ok := w.store.layout.key(string(event.Kv.Key)); ok {
			changes = append(changes, topology.Change{Key: key})
		}
	}
	if len(changes) > 0 {
		w.send(ctx, Update{Revision: w.seen.revision, Changes: changes})
	}
	w.delivered()
}

// delivered notes that all changes up to the revision that was seen have been
// sent on.
func (w *watch) delivered() { w.store.sight.delivered.Store(w.seen.revision) }

// note moves the past on to an event.
func (p *past) note(event *clientv3.Event) {
	p.revision, p.path, p.kv = event.Kv.ModRevision, string(event.Kv.Key), nil
	switch {
	case event.Type == clientv3.EventTypeDelete:
		p.count--
	case event.Kv.CreateRevision == event.Kv.ModRevision:
		p.count++
	}
	if event.Type == clientv3.EventTypePut {
		p.kv = event.Kv
	}
}

// appendChange adds what a key holds, if it is an entity's.
func (s *Store) appendChange(changes []topology.Change, kv *mvccpb.KeyValue) []topology.Change {
	key, ok := s.layout.key(string(kv.Key))
	if !ok {
		return changes
	}
	entity, err := topology.Parse(key, string(kv.Value))
	if err != nil {
		return append(changes, topology.Change{Key: key, Created: kv.CreateRevision, Err: fmt.Errorf("%s: %w", describe(key), err)})
	}
	return append(changes, topology.Change{Key: key, Entity: entity, Created: kv.CreateRevision})
}

func (w *watch) send(ctx context.Context, u Update) {
	select {
	case w.out <- u:
	case <-ctx.Done():
	}
}

// errOtherPast says that what was seen does not lead to what the store holds
// now.
var errOtherPast = errors.New("another past")

// errForgotten is an errOtherPast that says nothing of the store's past: it was
// compacted.
var errForgotten = fmt.Errorf("%w", errOtherPast)

func otherPast(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errOtherPast, fmt.Sprintf(format, args...))
}

// verify asks the store for its past.
func (w *watch) verify(ctx context.Context) error {
	seen, at := w.seen, clientv3.WithRev(w.seen.revision)
	from, end := w.store.layout.watched()
	resp, err := w.store.client.Txn(ctx).Then(
		clientv3.OpGet(seen.path, at),
		clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithCountOnly(), at),
	).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return otherPast("it has not reached revision %d, which was seen", seen.revision)
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: revision %d is compacted", errForgotten, seen.revision)
	case err != nil:
		return err
	}
	var kv *mvccpb.KeyValue
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		kv = kvs[0]
	}
	if count := resp.Responses[1].GetResponseRange().Count; count != seen.count {
		return otherPast("it had %d objects at revision %d, %d were seen", count, seen.revision, seen.count)
	}
	if !same(kv, seen.kv) {
		return otherPast("%s was something else at revision %d", seen.path, seen.revision)
	}
	return nil
}

func same(a, b *mvccpb.KeyValue) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision && bytes.Equal(a.Value, b.Value)
}

// endBrokenStreams makes a stream whose connection broke end. The etcd client
// would otherwise open it again on whatever etcd it finds, and not tell;
// nobody would ask whether that has the same past.
func endBrokenStreams(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return fragileStream{stream}, nil
}

type fragileStream struct{ grpc.ClientStream }

// RecvMsg implements grpc.ClientStream. The codes are those that the etcd
// client takes for a reason to try again. A watch that etcd refuses, as one that
// is shutting down does, breaks the stream, too: the client loses count of it
// when the stream ends at the same time, and waits for it for ever.
func (s fragileStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if resp, ok := m.(*etcdserverpb.WatchResponse); ok && err == nil && resp.Created && resp.Canceled {
		return status.Error(codes.Aborted, cmp.Or(resp.CancelReason, "etcd refuses the watch"))
	}
	if code := status.Code(err); code == codes.Unavailable || code == codes.Internal {
		return status.Error(codes.Aborted, plain(err))
	}
	return err
}
