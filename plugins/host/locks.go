package host

import (
	"context"
	"sync"
)

// locks are as many locks as there are names.
type locks struct {
	mu   *sync.Mutex
	held map[string]chan struct{} // closed when the lock is free again
}

func newLocks() locks { return locks{&sync.Mutex{}, map[string]chan struct{}{}} }

// lock waits for the lock of a name, and returns what frees it, or nil if ctx
// ends before.
func (l locks) lock(ctx context.Context, name string) (unlock func()) {
	for {
		if unlock, wait := l.try(name); unlock != nil {
			return unlock
		} else {
			select {
			case <-wait:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// try returns what frees the lock, if it could be had, or what is closed when
// it may be had.
func (l locks) try(name string) (unlock func(), wait <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if busy, ok := l.held[name]; ok {
		return nil, busy
	}
	free := make(chan struct{})
	l.held[name] = free
	return func() {
		l.mu.Lock()
		delete(l.held, name)
		l.mu.Unlock()
		close(free)
	}, nil
}
