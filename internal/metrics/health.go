package metrics

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// feelFor is how long one who asks for the agent's health waits for its loop to
	// turn.
	feelFor = time.Second
	// stuckAfter is how long the loop may be at one thing. It waits for Open
	// vSwitch for up to a minute, when that takes in all flows or hangs, and then
	// a restart mends nothing.
	stuckAfter = 2 * time.Minute
	// readyFor bounds how long one who asks whether the node is ready has to wait.
	readyFor = time.Second
)

// pulse tells whether the agent's loop turns. It asks the loop to, at most once at
// a time: who asks next, after seconds or minutes, learns how long that has been.
type pulse struct {
	turn func() // returns when the loop has turned

	mu    sync.Mutex    // guards the fields below
	since time.Time     // when the loop was asked to
	done  chan struct{} // closed when it has; nil: nobody has asked
}

// busy waits a moment for the loop to turn, and returns for how long it has not; 0
// if it has.
func (p *pulse) busy(wait time.Duration) time.Duration {
	p.mu.Lock()
	if p.done == nil {
		p.since, p.done = time.Now(), make(chan struct{})
		go p.ask(p.done)
	}
	since, done := p.since, p.done
	p.mu.Unlock()
	select {
	case <-done:
		return 0
	case <-time.After(wait):
		return time.Since(since)
	}
}

func (p *pulse) ask(done chan struct{}) {
	p.turn()
	p.mu.Lock()
	p.done = nil
	p.mu.Unlock()
	close(done)
}

// ServeHTTP implements http.Handler.
func (p *pulse) ServeHTTP(w http.ResponseWriter, _ *http.Request) { answerHealth(w, p.busy(feelFor)) }

func answerHealth(w http.ResponseWriter, busy time.Duration) {
	switch {
	case busy == 0:
		fmt.Fprintln(w, "ok")
	case busy < stuckAfter:
		fmt.Fprintf(w, "ok, busy with one thing for %s\n", busy.Round(time.Second))
	default:
		http.Error(w, fmt.Sprintf("the agent has been at one thing for %s; its log tells with what it began", busy.Round(time.Second)), http.StatusServiceUnavailable)
	}
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyFor)
	defer cancel()
	if missing := s.source.Missing(ctx); len(missing) > 0 {
		http.Error(w, strings.Join(missing, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
