package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// binder writes into the store which ports are plugged in here, and which are not
// any more. Its methods belong to the agent's loop, the writing is done beside it:
// etcd may be away. A claim is tried until it succeeds, until the port is gone or
// until the claim is forgotten; so is a release.
type binder struct {
	store *store.Store
	self  string
	log   *slog.Logger
	done  chan *claim // claims that have ended, for the loop

	ctx    context.Context
	limit  *semaphore.Weighted // writes at a time
	claims map[string]*claim   // under way, by the port's bare name
}

type claim struct {
	name    string
	key     topology.Key
	release bool // the binding is to end
	cancel  context.CancelFunc
	ended   chan struct{} // closed when nothing will be written any more
	ok      bool          // it is in the store
	again   bool          // the store changed while it was under way
}

// newBinder returns a binder whose claims end with ctx.
func newBinder(ctx context.Context, s *store.Store, self string, log *slog.Logger) *binder {
	return &binder{store: s, self: self, log: log, done: make(chan *claim), ctx: ctx,
		limit: semaphore.NewWeighted(16), claims: map[string]*claim{}}
}

// claim has a port bound to this chassis. If a claim on it is under way already,
// it only notes that there is cause for another one.
func (b *binder) claim(name string, key topology.Key) { b.begin(&claim{name: name, key: key}) }

// release has the binding ended that this chassis has of a port in a key of its
// own.
func (b *binder) release(name string, key topology.Key) {
	b.begin(&claim{name: name, key: key, release: true})
}

// begin has c written, after what is under way for the port: of a claim and a
// release the later one holds.
func (b *binder) begin(c *claim) {
	before := b.claims[c.name]
	if before != nil && before.release == c.release && before.key == c.key {
		before.again = true
		return
	}
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(b.ctx)
	c.ended = make(chan struct{})
	b.claims[c.name] = c
	go func() {
		defer c.cancel()
		if before != nil {
			before.cancel()
			<-before.ended
		}
		c.ok = b.write(ctx, c)
		close(c.ended)
		select {
		case b.done <- c:
		case <-b.ctx.Done():
		}
	}()
}

// forget ends a claim that is under way.
func (b *binder) forget(name string) {
	if c := b.claims[name]; c != nil {
		c.cancel()
		delete(b.claims, name)
	}
}

// ended takes note of a claim from done. It reports whether the claim was
// still wanted.
func (b *binder) ended(c *claim) bool {
	if b.claims[c.name] != c {
		return false
	}
	delete(b.claims, c.name)
	return true
}

// write reports whether the claim is in the store.
func (b *binder) write(ctx context.Context, c *claim) bool {
	do, what := b.store.Bind, "cannot bind a port, will try again"
	if c.release {
		do, what = b.store.Unbind, "cannot end the binding of a port, will try again"
	}
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if b.limit.Acquire(ctx, 1) != nil {
			return false
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := do(try, c.key, b.self)
		cancel()
		b.limit.Release(1)
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil, errors.Is(err, store.ErrNotFound): // its return is an event
			return false
		case !said:
			said = true
			b.log.Warn(what, "port", c.key, "error", err)
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}
