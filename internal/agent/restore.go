package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tuplenet/internal/ovs"
)

const (
	// holdPatience bounds how long traffic is held for an ovs-vswitchd that is
	// away. It covers every restart and upgrade. A host that loses its power
	// meanwhile boots with its traffic held until its agent runs, which must
	// not be the fate of one whose ovs-vswitchd was stopped days ago.
	holdPatience = time.Minute
	// restorePatience is how long an ovs-vswitchd that is back may take to have
	// its flows. Another bridge of it may carry what the host lives on.
	restorePatience = 10 * time.Second
	// releasePatience bounds the agent's end.
	releasePatience = 2 * time.Second
)

// trafficHolder is what a restorer needs of a driver, see there.
type trafficHolder interface {
	InSync() bool
	NeedsSync() bool
	TrafficHeld() bool
	HoldTraffic(context.Context) error
	ReleaseTraffic(context.Context) error
}

var _ trafficHolder = (*ovs.Driver)(nil)

// restorer shortens the gap when ovs-vswitchd is restarted, by whomever and for
// whatever reason: the next one does not forward before the agent has put the
// flows back, and the kernel's datapath goes on meanwhile with what it was told
// by the last one. It has the state of the bridge's connection:
//
//	in sync ──lost──▶ held ──connected──▶ held, for restorePatience ──in sync──▶ released
//	                   └──── after holdPatience ────▶ released
//
// The connection is also lost when the bridge is deleted, or when the driver
// closes it over a change that got no answer. Then an ovs-vswitchd that runs
// pays no heed to the hold.
//
// What an agent finds held when it starts its predecessor has left, and it
// releases that before it has read etcd: with the host's NIC in a bridge, etcd
// may be reached only through ovs-vswitchd. For the same reason an agent that
// stops leaves nothing held; then nobody would put flows back.
//
// Its work is done beside the agent's loop, as OVSDB may be away.
type restorer struct {
	ovs  trafficHolder
	log  *slog.Logger
	wake chan struct{} // capacity 1
	stop context.CancelFunc
	done chan struct{} // closed when nothing is done beside the loop any more

	// Of follow alone.
	armed bool // the bridge has been in sync since traffic was last held
	held  bool // what was found last

	mu      sync.Mutex // guards the fields below
	hold    bool       // what is wanted
	until   time.Time  // when hold ends by itself
	settled bool       // the last try has succeeded; it may have found a hold of others
	clean   bool       // a release has succeeded and no hold was tried since
}

// newRestorer returns a restorer that begins with a release.
func newRestorer(driver trafficHolder, log *slog.Logger) *restorer {
	ctx, stop := context.WithCancel(context.Background())
	r := &restorer{ovs: driver, log: log, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	go r.work(ctx)
	return r
}

// follow looks at the state of the connection. The agent's loop calls it at every
// event of the driver, and after whatever may have brought the flows in.
func (r *restorer) follow() {
	inSync, connected, held := r.ovs.InSync(), r.ovs.NeedsSync(), r.ovs.TrafficHeld()
	r.mu.Lock()
	hold, until := r.hold, r.until
	switch {
	case inSync:
		r.armed, r.hold = true, false
	case connected:
		if limit := time.Now().Add(restorePatience); limit.Before(r.until) {
			r.until = limit
		}
	case r.armed:
		r.armed, r.hold, r.until = false, true, time.Now().Add(holdPatience)
	}
	due := r.hold != hold || r.until != until || !r.settled || r.hold != held && r.held != held
	r.mu.Unlock()
	r.held = held
	if due {
		r.signal()
	}
}

func (r *restorer) work(ctx context.Context) {
	defer close(r.done)
	for {
		next := r.settle(ctx)
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-next:
		}
	}
}

// settle does what is wanted, and returns when to look again.
func (r *restorer) settle(ctx context.Context) <-chan time.Time {
	r.mu.Lock()
	if r.hold && !time.Now().Before(r.until) {
		r.hold = false
		r.log.Warn("the flows are not back yet, ovs-vswitchd will not wait for them any longer")
	}
	hold, until := r.hold, r.until
	if hold {
		r.clean = false
	}
	r.mu.Unlock()
	if hold {
		// While OVSDB is away it fails. An event tells when it is back.
		err := r.ovs.HoldTraffic(ctx)
		if err != nil {
			r.log.Debug("cannot make the next ovs-vswitchd wait for its flows", "error", err)
		}
		r.mu.Lock()
		r.settled = err == nil
		r.mu.Unlock()
		return time.After(time.Until(until))
	}
	if r.release(ctx) != nil {
		return time.After(time.Second)
	}
	return nil
}

func (r *restorer) release(ctx context.Context) error {
	err := r.ovs.ReleaseTraffic(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = err == nil
	r.clean = r.settled && !r.hold
	return err
}

// close ends the restorer and leaves nothing held.
func (r *restorer) close() {
	r.stop()
	<-r.done
	r.mu.Lock()
	r.hold = false
	clean := r.clean
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	for !clean || r.ovs.TrafficHeld() {
		err := r.release(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			r.log.Warn("an ovs-vswitchd that starts may wait for flows and forward nothing until an agent runs; "+
				"if so: ovs-vsctl --no-wait remove Open_vSwitch . other_config flow-restore-wait", "error", err)
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (r *restorer) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
