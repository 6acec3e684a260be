package cnm

import "sync"

// locks are as many locks as there are names. The zero value is ready to use.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is freed
}

// isHeld reports whether somebody has the lock of a name.
func (l *locks) isHeld(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, held := l.held[name]
	return held
}

// lock waits for the lock of a name, and returns what frees it.
func (l *locks) lock(name string) (unlock func()) {
	for {
		l.mu.Lock()
		freed, busy := l.held[name]
		if !busy {
			break
		}
		l.mu.Unlock()
		<-freed
	}
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	freed := make(chan struct{})
	l.held[name] = freed
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, name)
		close(freed)
	}
}
