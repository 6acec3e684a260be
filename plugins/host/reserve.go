package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// reservation is an attachment that is being made.
type reservation struct {
	owner, device string
	port          topology.SwitchPort
	store         *store.Store
	unlock        func()
	plugged       bool
}

// reserve makes a port, with an address, for an attachment that is not there
// yet. What an earlier attempt has left of it goes first.
func (c *conversation) reserve(ctx context.Context, r attach.Request) (answer attach.Answer, err error) {
	if c.made != nil {
		return answer, fail(attach.CodeAgent, "one connection makes one attachment")
	}
	w, err := wanted(r)
	if err != nil {
		return answer, err
	}
	if len(r.Switches) == 0 {
		return answer, fail(attach.CodeConfig, "the network configuration names no switch (switchname)")
	}
	st, err := c.stores.get(r.Etcd)
	if err == nil {
		err = c.checkBridge(r)
	}
	if err != nil {
		return answer, err
	}
	owner := r.ID.Owner(r.Plugin)
	unlock := c.busy.lock(ctx, owner)
	if unlock == nil {
		return answer, ctx.Err()
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	// Also of a plugin that has gone meanwhile the outcome must be known, for it
	// to be taken back.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var mtu int
	var held []topology.SwitchPort
	var names topology.Entity
	err = c.agent.View(ctx, func(m *topology.Model, workloads int) {
		mtu = workloads
		held = c.owned(m, owner)
		names = m.Get(topology.Key{Kind: topology.KindPortName, Name: r.ID.Port(r.Plugin)})
	})
	if err != nil {
		return answer, err
	}
	if at, ok := c.attachment(owner); ok && !at.Failed && c.exists(at.Device) {
		return answer, fail(attach.CodeAttached, "container %s has the interface %s in network %s already (device %s); it has to be deleted before it can be added again",
			r.ID.Container, r.ID.Ifname, r.ID.Network, at.Device)
	} else if ok || len(held) > 0 {
		if err := c.release(ctx, st, owner, held); err != nil {
			return answer, err
		}
	} else if other, taken := names.(topology.SwitchPort); taken {
		return answer, fail(attach.CodeTaken, "switch %s has a port of the name %s already, and it is not this attachment's (chassis %q, owner %q); remove it with: tpctl lsp del %[1]s %[2]s",
			other.Switch, other.Name, other.Chassis, other.Owner)
	}
	port, place, err := c.allocate(ctx, st, r, owner, w)
	if err != nil {
		if asError(err).Code == attach.CodeTryLater { // etcd may have made it all the same
			c.sweepLater()
		}
		return answer, err
	}
	c.made = &reservation{owner: owner, device: r.Device, port: port, store: st, unlock: unlock}
	answer = attach.Answer{Switch: port.Switch, Port: port.Name, IP: netip.PrefixFrom(port.IP, place.bits).String(), MAC: port.MAC.String(),
		MTU: mtu, NoOffload: c.agent.Userspace()}
	if place.gateway.IsValid() {
		answer.Gateway = place.gateway.String()
	}
	return answer, nil
}

// want is what a request asks for, understood.
type want struct {
	ip  netip.Addr
	mac topology.MAC
}

func wanted(r attach.Request) (w want, err error) {
	if r.IP != "" {
		if w.ip, err = topology.ParseAddr(r.IP); err != nil {
			return w, fail(attach.CodeConfig, "%s", err)
		}
	}
	if r.MAC != "" {
		if w.mac, err = topology.ParseMAC(r.MAC); err == nil && (w.mac == topology.MAC{} || w.mac.IsMulticast()) {
			err = fmt.Errorf("invalid MAC %s, it belongs to no single interface", r.MAC)
		}
		if err != nil {
			return w, fail(attach.CodeConfig, "%s", err)
		}
	}
	return w, nil
}

// owned returns an owner's ports that are here, or nowhere: a runtime's names of
// containers may be those of another host, too. Children are not among them: they
// belong to a node that is itself plugged in here, and releases them itself.
func (s *server) owned(m *topology.Model, owner string) (ports []topology.SwitchPort) {
	for _, e := range m.List(topology.Key{Kind: topology.KindOwned, Name: owner}) {
		port := e.(topology.SwitchPort)
		if port.Parent == "" && (port.Chassis == s.agent.Chassis() || port.Chassis == "") {
			ports = append(ports, port)
		}
	}
	return ports
}

// attachment finds the bridge's port of an attachment.
func (s *server) attachment(owner string) (ovs.Attachment, bool) {
	for _, a := range s.agent.Attachments() {
		if a.Owner == owner {
			return a, true
		}
	}
	return ovs.Attachment{}, false
}

// allocate makes a port in the first of the switches that has an address for it.
func (c *conversation) allocate(ctx context.Context, st *store.Store, r attach.Request, owner string, w want) (port topology.SwitchPort, p place, err error) {
	var full, elsewhere error
	for _, sw := range r.Switches {
		if p, err = c.place(ctx, sw); err != nil {
			return port, p, err
		}
		if w.ip.IsValid() && !p.net.Contains(w.ip) {
			elsewhere = fail(attach.CodeConfig, "address %s is not in the subnet %s of switch %s", w.ip, p.net.Masked(), sw.Name)
			continue
		}
		if err := p.admits(w.ip); err != nil {
			return port, p, err
		}
		port, err = c.allocateIn(ctx, st, r, owner, w, p)
		switch {
		case errors.Is(err, store.ErrFull):
			full = fail(attach.CodeFull, "switch %s has no free address in %s for container %s%s; take a wider subnet, another switch, or see who has them: tpctl lsp show %s",
				sw.Name, p.net.Masked(), r.ID.Container, c.kept(ctx, p), sw.Name)
		case errors.Is(err, store.ErrConflict):
			return port, p, fail(attach.CodeTaken, "address %s is taken, or none of the ports that were made for this host has it: %s; see: tpctl lsp show %s --filter ip=%[1]s", w.ip, err, sw.Name)
		case errors.Is(err, store.ErrNotFound):
			return port, p, fail(attach.CodeConfig, "%s; make it with: tpctl ls add %s", err, sw.Name)
		default:
			return port, p, explained(err, st, owner, sw.Name)
		}
	}
	if full != nil {
		return port, p, full
	}
	return port, p, elsewhere
}

func (c *conversation) allocateIn(ctx context.Context, st *store.Store, r attach.Request, owner string, w want, p place) (port topology.SwitchPort, err error) {
	// Ports of one switch are made one after another: on one host nobody has to
	// try twice.
	unlock := c.turns.lock(ctx, p.name)
	if unlock == nil {
		return port, fmt.Errorf("waiting for other attachments to switch %s: %w", p.name, ctx.Err())
	}
	defer unlock()
	if w.mac != (topology.MAC{}) {
		if has, ok := c.holder(ctx, st, topology.PortWithMAC(p.name, w.mac)); ok && has.MAC == w.mac {
			return port, fail(attach.CodeTaken, "MAC %s belongs to %s", w.mac, has.Key())
		}
	}
	if p.pool {
		return st.ClaimPort(ctx, p.name, c.agent.Chassis(), owner,
			store.Want{IP: w.ip, MAC: w.mac, Chassis: c.agent.Chassis(), Secured: r.Secured})
	}
	port = topology.SwitchPort{Switch: p.name, Name: r.ID.Port(r.Plugin), IP: w.ip, MAC: w.mac, Chassis: c.agent.Chassis(), Secured: r.Secured, Owner: owner}
	// A port may have an address though the book of addresses does not say so, as
	// when somebody has written it by other means.
	inUse := func(ip netip.Addr) bool {
		has, ok := c.holder(ctx, st, topology.PortAt(p.name, topology.PortID(ip)))
		return ok && has.ID() == topology.PortID(ip)
	}
	if !w.ip.IsValid() {
		return st.AllocatePort(ctx, port, p.net, func(ip netip.Addr) bool { return p.isReserved(ip) || inUse(ip) })
	}
	if has, ok := c.holder(ctx, st, topology.PortAt(p.name, topology.PortID(w.ip))); ok && has.ID() == topology.PortID(w.ip) {
		return port, fail(attach.CodeTaken, "address %s belongs to %s%s", w.ip, has.Key(), ofOwner(has))
	}
	if port.MAC == (topology.MAC{}) {
		port.MAC = topology.MACFromIP(w.ip)
	}
	made, err := st.Create(ctx, port)
	if err != nil {
		return port, err
	}
	return made[0].(topology.SwitchPort), nil
}

// ofOwner says whose a port is, if it is somebody's.
func ofOwner(port topology.SwitchPort) string {
	if port.Owner == "" {
		return ""
	}
	return fmt.Sprintf(" (owner %s, chassis %s)", port.Owner, port.Chassis)
}

// kept says how many addresses are free, but kept for other nodes.
func (c *conversation) kept(ctx context.Context, p place) string {
	n, node := 0, ""
	_ = c.agent.View(ctx, func(m *topology.Model, _ int) {
		for e := range m.All() {
			port, ok := e.(topology.SwitchPort)
			if ok && port.Switch == p.name && port.Pool != "" && port.Pool != c.agent.Chassis() && port.Owner == "" && p.net.Contains(port.IP) {
				n, node = n+1, port.Pool
			}
		}
	})
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d more are kept for other nodes, such as %s)", n, node)
}

// holder returns the port that an index of the model leads to, as it is in etcd
// by now. What the store cannot tell at this moment, the model does.
func (c *conversation) holder(ctx context.Context, st *store.Store, index topology.Key) (port topology.SwitchPort, ok bool) {
	if c.agent.View(ctx, func(m *topology.Model, _ int) { port, ok = m.Get(index).(topology.SwitchPort) }) != nil || !ok {
		return port, false
	}
	now, err := st.Get(ctx, port.Key())
	if err != nil {
		return port, !errors.Is(err, store.ErrNotFound)
	}
	port, ok = now.(topology.SwitchPort)
	return port, ok
}

// plug makes the bridge's port, and waits until packets can pass.
func (c *conversation) plug(ctx context.Context, r attach.Request) error {
	if c.made == nil {
		return fail(attach.CodeAgent, "there is nothing reserved that could be plugged in")
	}
	limit := flowsPatience
	if r.Wait > 0 {
		limit = time.Duration(r.Wait) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.made.plugged = true
	a := ovs.Attachment{Device: c.made.device, Port: c.made.port.Name, Owner: c.made.owner}
	// What is given up in its middle takes the connection to OVSDB, which others
	// use, with it. So a plugin that goes now does not end it.
	try, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	if err := c.agent.Attach(try, a); err != nil {
		return err
	}
	if err := c.agent.Carried(ctx, c.made.port.Key(), a.Device); err != nil {
		return fail(attach.CodeTryLater, "port %s carries no traffic: %s", a.Port, err)
	}
	return nil
}

// keep makes the attachment last.
func (c *conversation) keep() error {
	if c.made == nil || !c.made.plugged {
		return fail(attach.CodeAgent, "there is nothing plugged in that could be kept")
	}
	c.made.unlock()
	if !c.exists(c.made.device) { // it has gone meanwhile, and the sweep has left alone what was in the making
		c.sweepLater()
	}
	c.log.Info("attached", "owner", c.made.owner, "port", c.made.port.Key(), "ip", c.made.port.IP, "device", c.made.device)
	c.made = nil
	return nil
}

// end takes back what was not kept.
func (c *conversation) end() {
	if c.made == nil {
		return
	}
	defer c.made.unlock()
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	if err := c.release(ctx, c.made.store, c.made.owner, []topology.SwitchPort{c.made.port}); err != nil {
		c.log.Warn("cannot take back an attachment that has failed, will try again", "owner", c.made.owner, "error", err)
		c.sweepLater()
	}
}
