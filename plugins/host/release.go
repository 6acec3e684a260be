package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cni.tuplenet/attach"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// releaseOne takes an attachment back, and succeeds whatever there is of it.
// While etcd is away, or denies it, its port stays there, and goes later.
func (s *server) releaseOne(ctx context.Context, r attach.Request) (answer attach.Answer, err error) {
	st := s.stores.getOrOwn(r.Etcd)
	owner := r.ID.Owner(r.Plugin)
	waiting, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	unlock := s.busy.lock(waiting, owner)
	if unlock == nil {
		s.sweepLater()
		return answer, fail(attach.CodeTryLater, "the interface %s of container %s is just being attached", r.ID.Ifname, r.ID.Container)
	}
	defer unlock()
	if left := s.releaseOrLater(ctx, st, owner); left != nil {
		answer.Pending, answer.Why = true, left.Error()
	}
	return answer, nil
}

// releaseOrLater releases an attachment whose lock is held, also if ctx ends:
// who wanted that need not wait for it. It returns why something is left to be
// done later.
func (s *server) releaseOrLater(ctx context.Context, st *store.Store, owner string) (left error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	var held []topology.SwitchPort
	err := s.agent.View(ctx, func(m *topology.Model, _ int) { held = s.owned(m, owner) })
	err = errors.Join(err, s.release(ctx, st, owner, held))
	denied, again := false, false
	if err == nil || st == s.stores.own { // what a plugin's user may not, the agent's may: it tries next
		denied, again = s.denied.note(owner, err)
	}
	if err == nil {
		return nil
	}
	pause := sweepPause
	if denied {
		pause = deniedPause
	}
	s.log.Log(ctx, quieter(slog.LevelWarn, again), "cannot take all of an attachment back, will try again", "owner", owner, "error", err)
	s.sweepAfter(pause)
	return err
}

// release takes an owner's ports out of the bridge and of the store.
func (s *server) release(ctx context.Context, st *store.Store, owner string, ports []topology.SwitchPort) error {
	var group errgroup.Group
	group.Go(func() error {
		if at, ok := s.attachment(owner); ok {
			return s.agent.Detach(ctx, at.Device)
		}
		return nil
	})
	for _, port := range ports {
		group.Go(func() error {
			unlock := s.turns.lock(ctx, port.Switch)
			if unlock == nil {
				return ctx.Err()
			}
			defer unlock()
			if err := st.ReleasePort(ctx, port.Key(), owner); err != nil {
				return explained(err, st, owner, port.Switch)
			}
			s.log.Info("released", "owner", owner, "port", port.Key(), "ip", port.IP)
			return nil
		})
	}
	return group.Wait()
}

// collect releases all attachments of a network but those that are valid.
func (s *server) collect(ctx context.Context, r attach.Request) (answer attach.Answer, err error) {
	st := s.stores.getOrOwn(r.Etcd)
	valid := map[string]bool{}
	for _, id := range r.Valid {
		id.Network = r.ID.Network
		valid[id.Owner(r.Plugin)] = true
	}
	prefix := r.Plugin + ":" + r.ID.Network + "/"
	owners, err := s.owners(ctx, func(owner string) bool { return strings.HasPrefix(owner, prefix) })
	if err != nil {
		return answer, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, owner := range owners {
		_, id, ok := attach.ParseOwner(owner)
		if !ok || valid[owner] {
			continue
		}
		unlock := s.busy.try(owner)
		if unlock == nil {
			continue // it is just being made, or released
		}
		// At once: while etcd is away each takes as long as it may.
		all.Go(func() {
			defer unlock()
			left := s.releaseOrLater(ctx, st, owner)
			mu.Lock()
			defer mu.Unlock()
			if left != nil {
				answer.Pending, answer.Why = true, left.Error() // of several, one is enough
			}
			answer.Released = append(answer.Released, id)
		})
	}
	all.Wait()
	return answer, nil
}

// owners returns the owners of this host, those that wanted returns true for, that
// have a port in the store or in the bridge.
func (s *server) owners(ctx context.Context, wanted func(owner string) bool) ([]string, error) {
	var owners []string
	err := s.agent.View(ctx, func(m *topology.Model, _ int) {
		for e := range m.All() {
			if port, ok := e.(topology.SwitchPort); ok && port.Owner != "" && port.Parent == "" &&
				port.Chassis == s.agent.Chassis() && wanted(port.Owner) {
				owners = append(owners, port.Owner)
			}
		}
	})
	for _, a := range s.agent.Attachments() {
		if wanted(a.Owner) {
			owners = append(owners, a.Owner)
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners), err
}

// swept reports whether sweep looks after an owner: one of ours.
func swept(owner string) bool {
	return strings.HasPrefix(owner, attach.CNI+":") || strings.HasPrefix(owner, attach.CNM+":")
}

// sweepAlways releases what plugins have left: attachments that have lost their
// device, as when the container's namespace has gone or the host was started
// anew, and ports of containers that have no device, as when the agent or etcd
// was away as a container went. A runtime may ask for the same (GC), but few do.
// What is whole but for its port of the bridge is plugged in again.
func (s *server) sweepAlways(ctx context.Context) {
	known := map[string]bool{} // owners that had a port of the bridge when it was last looked at
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.agent.Changed():
			now := map[string]bool{}
			for _, a := range s.agent.Attachments() {
				now[a.Owner] = true
				if (a.Failed || a.Dark) && swept(a.Owner) {
					s.sweep(ctx, a.Owner)
				}
			}
			for owner := range known {
				if _, id, ok := attach.ParseOwner(owner); ok && !now[owner] && s.exists(id.Device()) {
					s.sweep(ctx, owner)
				}
			}
			known = now
			continue
		case <-s.agent.Returned():
		case <-s.again:
		}
		owners, err := s.owners(ctx, swept)
		if err != nil {
			continue // it says when it is ready
		}
		if !s.storeAnswers(ctx) {
			s.sweepLater()
			continue
		}
		s.denied.among(owners)
		for _, owner := range owners {
			s.sweep(ctx, owner)
		}
	}
}

// storeAnswers reports whether etcd does. Else each attachment would be found out
// for itself to be one that cannot be released, and with the same noise.
func (s *server) storeAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	_, err := s.agent.Store().IsEmpty(ctx)
	return err == nil
}

// sweep releases an attachment that has no device. One that Open vSwitch has
// open has one, though this agent may not see it, as in a network namespace of
// its own.
func (s *server) sweep(ctx context.Context, owner string) {
	unlock := s.busy.try(owner)
	if unlock == nil {
		return
	}
	defer unlock()
	_, id, ok := attach.ParseOwner(owner)
	if !ok {
		return
	}
	at, plugged := s.attachment(owner)
	if s.exists(id.Device()) {
		if !plugged {
			s.plugAgain(ctx, owner, id.Device())
		}
		return
	}
	before, rests := s.denied.of(owner)
	if plugged && !at.Failed && !at.Dark || rests {
		return
	}
	s.log.Log(ctx, quieter(slog.LevelInfo, before), "a container's device has gone; releasing what it had", "owner", owner)
	s.releaseOrLater(ctx, s.stores.own, owner)
}

// plugAgain makes the bridge's port of an attachment that is whole but for that,
// as when somebody has made the bridge or Open vSwitch's database anew.
func (s *server) plugAgain(ctx context.Context, owner, device string) {
	var held []topology.SwitchPort
	err := s.agent.View(ctx, func(m *topology.Model, _ int) { held = s.owned(m, owner) })
	if err == nil && len(held) == 1 {
		s.log.Info("a container's port of the bridge has gone; making it anew", "owner", owner, "port", held[0].Key(), "device", device)
		err = s.agent.Attach(ctx, ovs.Attachment{Device: device, Port: held[0].Name, Owner: owner})
	}
	if err != nil {
		s.log.Warn("cannot make a container's port of the bridge anew", "owner", owner, "error", err)
	}
}

// sweepLater has all attachments looked at again, after a while.
func (s *server) sweepLater() { s.sweepAfter(sweepPause) }

func (s *server) sweepAfter(pause time.Duration) {
	time.AfterFunc(pause, func() {
		select {
		case s.again <- struct{}{}:
		default:
		}
	})
}
