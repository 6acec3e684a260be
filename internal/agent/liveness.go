package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// liveness declares chassis down that are not heard of any more. Every agent
// sees when a presence vanishes from the store, as its lease was over; after a
// time of its own choice each declares the chassis down unless one of the
// others has. Who was declared down by mistake takes it back as it appears.
//
// Mistakes have to be rare all the same. Presences also vanish from under
// agents that live: all of them at once if etcd was out of their reach, or
// stood still, for longer than the leases. So an agent does not judge others
// before it has been in touch with etcd for settleTime, counted from when it read
// the whole store, as at its start, from when its watch of etcd was resumed, and
// from when its own presence was seen to vanish.
// In that time everybody is back who is coming back: connections are tried anew
// after at most 1.2 s and for at most 3 s each, requests and the watch after at
// most 3 s; and a node that sees its own presence vanish does not wait for its
// lease to tell. Leases that end together are found out within a second or so:
// no chassis is declared down sooner than minDelay after its presence vanished,
// which leaves our own the time to vanish, too.
//
// Who has gone while no agent watched is found when one reads the whole store:
// an agent like this one writes an MTU into its record, and has a presence by
// then. Of a record without an MTU, as of the original TupleNet, nobody knows.
// After a power cut all agents find each other so; settleTime lets them appear.
//
// Where etcd lets an agent write under its own name alone, none can declare
// another down. Then each keeps its verdict to itself: all see the same keys, and
// come to the same one.
//
// Its methods belong to the agent's loop.
type liveness struct {
	ctx      context.Context
	store    *store.Store
	self     string
	model    *topology.Model
	presence *presence
	log      *slog.Logger

	due     chan string                 // chassis to judge, for the loop
	denied  chan topology.Absence       // verdicts that etcd does not take, for the loop
	kept    map[string]topology.Absence // by chassis, verdicts of which the store does not know
	missing map[string]time.Time        // chassis that are not heard of, by when that was noticed; each will be due
	settled time.Time                   // before, nobody is judged
	rival   bool                        // another host was refused of late because it has our system-id
}

const (
	minDelay, maxDelay = 500 * time.Millisecond, 3 * time.Second
	settleTime         = 10 * time.Second
	// judgeAgain is when a chassis is looked at again after it was declared
	// down, which may have failed.
	judgeAgain = time.Second
)

// newLiveness returns a liveness that works until ctx ends.
func newLiveness(ctx context.Context, a *agent) *liveness {
	return &liveness{ctx: ctx, store: a.Store, self: a.self, model: a.model, presence: a.presence, log: a.log,
		due: make(chan string), denied: make(chan topology.Absence), kept: map[string]topology.Absence{}, missing: map[string]time.Time{}}
}

// unsettle notes that what is seen may be an outage of our own.
func (l *liveness) unsettle() { l.settled = time.Now().Add(settleTime) }

// changed follows up on what the store says now of whether a chassis is alive.
func (l *liveness) changed(key topology.Key) {
	e, own := l.model.Get(key), key.Name == l.self
	switch key.Kind {
	case topology.KindPresence:
		switch {
		case e == nil && own:
			l.unsettle()
			l.presence.confirm()
		case e == nil && l.registered(key.Name): // else the operator has removed it
			l.miss(key.Name)
		}
	case topology.KindAbsence:
		absence, down := e.(topology.Absence)
		switch {
		case down && own:
			l.presence.confirm() // takes it back
		case down:
			l.log.Warn("a chassis is not heard of any more", "chassis", key.Name, "since", time.Unix(absence.Since, 0).UTC())
		case l.alive(key.Name):
			l.log.Info("a chassis is back", "chassis", key.Name)
		}
	case topology.KindContender:
		if own {
			l.contended(e)
		}
	}
}

// contended tells that a second host has our system-id, or has it no more.
func (l *liveness) contended(e topology.Entity) {
	other, there := e.(topology.Contender)
	if node, _ := l.model.Get(topology.Node{}.Key()).(topology.Node); there && other.IP == node.IP {
		return // this host is the one that was refused
	}
	if !there {
		l.rival = false
		l.log.Info("no other host wants to take part under this host's system-id any more", "chassis", l.self)
		return
	}
	l.rival = true
	l.log.Error("another host has this host's system-id, and was refused; give it its own there: "+
		"ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME", "chassis", l.self, "its_ip", other.IP)
}

func (l *liveness) alive(chassis string) bool {
	return l.model.Get(topology.Presence{Chassis: chassis}.Key()) != nil
}

func (l *liveness) registered(chassis string) bool {
	return l.model.Told(topology.Chassis{Name: chassis}.Key()) != nil
}

// unheard reports whether the store says neither that a chassis is alive nor
// that it is down.
func (l *liveness) unheard(chassis string) bool {
	return !l.alive(chassis) && l.model.Get(topology.Absence{Chassis: chassis}.Key()) == nil
}

// survey looks for chassis that have gone unseen, after the store was read as a
// whole.
func (l *liveness) survey() {
	l.unsettle()
	for c := range l.model.Chassis() {
		_, isDue := l.missing[c.Name]
		if c.MTU > 0 && c.Name != l.self && l.unheard(c.Name) && !isDue {
			l.miss(c.Name)
		}
	}
}

// keep reports whether a verdict that the store does not take still holds, and is
// to be kept here.
func (l *liveness) keep(absence topology.Absence) bool {
	holds := l.unheard(absence.Chassis) && l.registered(absence.Chassis)
	if holds {
		l.kept[absence.Chassis] = absence
	}
	return holds
}

// revoke reports whether a chassis is down by a verdict that was kept here and
// holds no more, as it has appeared, or the operator has removed it.
func (l *liveness) revoke(chassis string) bool {
	if _, kept := l.kept[chassis]; !kept || !l.alive(chassis) && l.registered(chassis) {
		return false
	}
	delete(l.kept, chassis)
	return true
}

// miss notes that the presence of a chassis is not there any more.
func (l *liveness) miss(chassis string) {
	_, isDue := l.missing[chassis]
	l.missing[chassis] = time.Now()
	if !isDue {
		l.later(chassis, delay())
	}
}

// delay returns how long to wait, as all the others do, for one of them.
func delay() time.Duration { return minDelay + rand.N(maxDelay-minDelay) }

func (l *liveness) later(chassis string, d time.Duration) {
	time.AfterFunc(d, func() {
		select {
		case l.due <- chassis:
		case <-l.ctx.Done():
		}
	})
}

// judge declares a chassis from due down if it still is not heard of.
func (l *liveness) judge(chassis string) {
	if !l.unheard(chassis) || !l.registered(chassis) {
		delete(l.missing, chassis)
		return
	}
	if wait := time.Until(l.settled); wait > 0 {
		l.later(chassis, wait+delay())
		return
	}
	absence := topology.Absence{Chassis: chassis, Since: l.missing[chassis].Unix()}
	go func() {
		if err := l.store.DeclareDown(l.ctx, absence); errors.Is(err, store.ErrDenied) {
			select {
			case l.denied <- absence:
			case <-l.ctx.Done():
			}
		} else if err != nil {
			l.log.Debug("cannot declare a chassis down, will look at it again", "chassis", chassis, "error", err)
		}
		l.later(chassis, judgeAgain) // by then the store may have said what came of it
	}()
}

// upholdVerdicts enters the verdicts that were kept here into a model that was told
// anew what the store holds.
func (a *agent) upholdVerdicts() {
	for _, absence := range a.liveness.kept {
		if a.liveness.keep(absence) {
			a.change(topology.Change{Entity: absence})
		}
	}
}

// reconsider takes a verdict on a chassis back that was kept here.
func (a *agent) reconsider(chassis string) {
	if a.liveness.revoke(chassis) {
		a.change(topology.Change{Key: topology.Absence{Chassis: chassis}.Key()})
	}
}
