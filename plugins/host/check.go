package host

import (
	"context"
	"errors"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/plugins/roles"
)

// settleTime is how long an attachment that was made or moved just now may take
// until it is whole.
const settleTime = 2 * time.Second

// check says what is wrong with an attachment.
func (s *server) check(ctx context.Context, r attach.Request) error {
	w, err := wanted(r)
	if err != nil {
		return err
	}
	owner := r.ID.Owner(r.Plugin)
	at, ok := s.attachment(owner)
	switch {
	case !ok:
		return fail(attach.CodeNotAttached, "Open vSwitch has no port of container %s; delete the container, so that it is made anew", r.ID.Container)
	case at.Device != r.Device:
		return fail(attach.CodeNotAttached, "Open vSwitch's port of container %s is device %s, want %s", r.ID.Container, at.Device, r.Device)
	}
	var held []topology.SwitchPort
	if err := s.agent.View(ctx, func(m *topology.Model, _ int) { held = s.owned(m, owner) }); err != nil {
		return err
	}
	if len(held) != 1 || held[0].Name != at.Port {
		return fail(attach.CodeNotAttached, "etcd has no port %s of container %s any more; delete the container, so that it is made anew", at.Port, r.ID.Container)
	}
	switch port := held[0]; {
	case port.IP != w.ip:
		return fail(attach.CodeNotAttached, "port %s has the address %s, the container %s", port.Name, port.IP, w.ip)
	case port.MAC != w.mac:
		return fail(attach.CodeNotAttached, "port %s has the MAC %s, the container %s", port.Name, port.MAC, w.mac)
	case port.Chassis != s.agent.Chassis():
		return fail(attach.CodeNotAttached, "port %s is bound to chassis %q, not to this host, %s", port.Name, port.Chassis, s.agent.Chassis())
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := s.agent.Carried(ctx, held[0].Key(), at.Device); err != nil {
		return fail(attach.CodeNotAttached, "port %s carries no traffic: %s", at.Port, err)
	}
	return nil
}

// status says why no container could be attached now. Without a switch, which
// every container then names itself, that is about this host and etcd alone.
//
// That a switch is full is not said: another container may leave at any moment,
// and a runtime takes a node out of service for what is said here, with all that
// run on it.
func (s *server) status(ctx context.Context, r attach.Request) (answer attach.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	st, err := s.stores.get(r.Etcd)
	if err == nil {
		err = s.checkBridge(r)
	}
	if err != nil {
		return answer, err
	}
	if err := s.agent.View(ctx, func(*topology.Model, int) {}); err != nil {
		return answer, fail(attach.CodeUnavailable, "%s", err)
	}
	if _, err := st.Get(ctx, topology.Chassis{Name: s.agent.Chassis()}.Key()); err != nil && !errors.Is(err, store.ErrNotFound) {
		return answer, fail(attach.CodeUnavailable, "%s", err)
	}
	for _, sw := range r.Switches {
		p, err := s.place(ctx, sw)
		if err != nil {
			return answer, fail(attach.CodeUnavailable, "%s", err)
		}
		role := store.Party{Duty: store.DutyPlugin, Of: p.name}
		if err := st.MayBe(ctx, role); errors.Is(err, store.ErrDenied) {
			return answer, fail(attach.CodeUnavailable, "%s", roles.Missing(err, st, role))
		}
		answer.Routed = p.routed
	}
	if !s.agent.Forwards() {
		return answer, fail(attach.CodeLimited, "Open vSwitch does not answer, or does not have the agent's flows")
	}
	answer.Chassis, answer.Bridge = s.agent.Chassis(), s.agent.Bridge()
	return answer, nil
}

// checkBridge refuses to work for a plugin that means another bridge.
func (s *server) checkBridge(r attach.Request) error {
	if r.Bridge != "" && r.Bridge != s.agent.Bridge() {
		return fail(attach.CodeConfig, "bridge is %s, but this host's agent works with %s", r.Bridge, s.agent.Bridge())
	}
	return nil
}
