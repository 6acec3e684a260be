package cnm

import (
	"context"
	"slices"
	"time"

	"tuplenet/internal/store"
)

// How long things may be as they should not be. What Docker is about to make is in
// etcd, or on the host, before Docker itself says that it has it.
const (
	grace           = 30 * time.Second // networks and endpoints that Docker does not have
	reservationLife = 2 * time.Minute  // what Docker was given, and neither uses nor gives back
	retryRemoval    = 5 * time.Minute  // of a network whose switch is in use
)

const (
	passPatience  = time.Minute            // for all that one pass asks
	scopePatience = 500 * time.Millisecond // for what Docker waits for as it starts
	eventsPause   = 100 * time.Millisecond // as several events may come at once
	shortestPause = 100 * time.Millisecond // until what did not answer is asked again
	longestPause  = 5 * time.Second
	longestRetry  = time.Minute
)

// scope returns who knows the networks that are made without a word about that:
// as the configuration has it, or else as the engine shares its networks by a
// cluster store or not. An engine that is only starting does not say that yet, so
// then what there is in etcd decides.
func (p *Plugin) scope(ctx context.Context) store.Scope {
	if p.cfg.Scope != "" {
		return store.Scope(p.cfg.Scope)
	}
	quick, cancel := context.WithTimeout(ctx, scopePatience)
	defer cancel()
	info, err := p.engine.info(quick)
	if err != nil {
		info = p.engine.last()
	}
	switch {
	case info.ClusterStore != "":
		return store.ScopeGlobal
	case info.ID != "":
		return store.ScopeLocal
	}
	ctx, cancel = context.WithTimeout(ctx, 4*scopePatience)
	defer cancel()
	all, err := p.store.Networks(ctx)
	if err != nil {
		p.log.Warn("neither Docker nor etcd says which scope networks have; taking them for local", "error", err)
		return store.ScopeLocal
	}
	self, _ := p.chassis(ctx) // without it, no network is known to be of this host
	hasScope := func(scope store.Scope) func(store.Network) bool {
		return func(n store.Network) bool {
			return n.Scope == scope && (scope == store.ScopeGlobal || n.Chassis == self)
		}
	}
	if !slices.ContainsFunc(all, hasScope(store.ScopeLocal)) && slices.ContainsFunc(all, hasScope(store.ScopeGlobal)) {
		return store.ScopeGlobal
	}
	return store.ScopeLocal
}

// lookAgain has what Docker was given compared with what it has.
func (p *Plugin) lookAgain() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// reconciler compares what this plugin has made for Docker with what Docker has,
// as one or the other, or the host, may have been away while something went. One
// goroutine uses it.
//
// What it ends has to be proven dead: the engine is the one that had it, answers,
// shows what it cannot lack, and has not had it for a while in which it answered
// all the time.
type reconciler struct {
	*Plugin
	lostBy string               // the engine that lost is about, as store.Network.Engine
	lost   map[string]time.Time // what Docker does not have, and since when
	now    func() time.Time
}

func (p *Plugin) newReconciler() *reconciler {
	return &reconciler{Plugin: p, lost: map[string]time.Time{}, now: time.Now}
}

// reconcileAlways follows the engine until ctx ends.
func (p *Plugin) reconcileAlways(ctx context.Context) {
	r := p.newReconciler()
	said := ""
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		begun := time.Now()
		answered, err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if answered {
			said = ""
		}
		if time.Since(begun) > longestPause {
			pause = shortestPause
		}
		if err.Error() != said {
			said = err.Error()
			p.log.Warn("Docker's networks cannot be followed, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// follow reconciles when the engine begins to tell of its networks, when it tells
// something, and when something is due, until it tells no more. It reports
// whether the engine has answered at all.
func (r *reconciler) follow(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- r.engine.events(ctx, func() {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case err := <-ended:
		return false, err
	case <-heard:
	}
	r.log.Info("following Docker's networks", "socket", r.engine.socket)
	clear(r.lost) // while it was away it could not make what it had begun
	r.given.forget(ctx)
	due, retry := time.NewTimer(eventsPause), shortestPause
	defer due.Stop()
	soon, said := true, ""
	for {
		select {
		case err := <-ended:
			return true, err
		case <-heard:
			if !soon {
				due.Reset(eventsPause)
			}
			soon = true
			continue
		case <-r.again:
		case <-due.C:
		}
		soon = false
		next, err := r.pass(ctx)
		if ctx.Err() != nil {
			return true, <-ended
		}
		if err != nil {
			if err.Error() != said {
				r.log.Warn("cannot compare what Docker has with what it was given, will try again", "error", r.denied(err, ""))
			}
			said = err.Error()
			clear(r.lost) // the engine may have had no chance to go on
			next, retry = retry, min(2*retry, longestRetry)
		} else {
			retry, said = shortestPause, ""
		}
		due.Stop()
		if next > 0 {
			due.Reset(next)
		}
	}
}
