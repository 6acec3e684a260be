package host

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// locks are as many locks as there are names. Who has waited longest for one is
// the next to have it.
type locks struct {
	mu    sync.Mutex
	named map[string]*lock
}

// lock is a lock that somebody has or waits for.
type lock struct {
	*semaphore.Weighted
	users int
}

func newLocks() *locks { return &locks{named: map[string]*lock{}} }

// lock waits for the lock of a name, and returns what frees it, or nil if ctx
// ends before.
func (l *locks) lock(ctx context.Context, name string) (unlock func()) {
	return l.have(name, func(k *lock) bool { return k.Acquire(ctx, 1) == nil })
}

// try returns what frees the lock of a name, or nil if somebody has it.
func (l *locks) try(name string) (unlock func()) {
	return l.have(name, func(k *lock) bool { return k.TryAcquire(1) })
}

func (l *locks) have(name string, acquire func(*lock) bool) (unlock func()) {
	l.mu.Lock()
	k := l.named[name]
	if k == nil {
		k = &lock{Weighted: semaphore.NewWeighted(1)}
		l.named[name] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.named, name)
		}
	}
	if !acquire(k) {
		leave()
		return nil
	}
	return func() {
		k.Release(1)
		leave()
	}
}
