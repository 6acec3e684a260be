package cnm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// pass is one comparison.
type pass struct {
	*reconciler
	ctx     context.Context
	self    string // system-id
	none    string // id of Docker's own network none, as store.Network.Engine
	records []store.Network
	listed  map[string]dockerNetwork // by id
	detail  map[string]dockerNetwork // with its endpoints, as far as it was asked for
	still   map[string]time.Time     // what lost will be
	next    time.Duration            // until something is due; 0: nothing is
}

// pass compares once, and returns after what time it has to be done again; 0: not
// before something happens.
func (r *reconciler) pass(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, passPatience)
	defer cancel()
	p := &pass{reconciler: r, ctx: ctx, listed: map[string]dockerNetwork{}, detail: map[string]dockerNetwork{}, still: map[string]time.Time{}}
	if p.self, err = r.chassis(ctx); err != nil {
		return 0, err
	}
	if p.records, err = r.store.Networks(ctx); err != nil {
		return 0, err
	}
	listed, err := r.engine.networks(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range listed {
		p.listed[n.ID] = n
		if n.Driver == nullDriver {
			p.none = n.ID
		}
	}
	// An engine that cannot read its networks answers all the same, that it has none.
	if p.none == "" {
		return 0, fmt.Errorf("the Docker Engine at %s lists its networks without its own, none: it cannot read them all; restart it, and see its log", r.engine.socket)
	}
	if p.none != r.lostBy {
		r.lostBy = p.none
		clear(r.lost)
	}
	if err := p.tellNames(); err != nil {
		return 0, err
	}
	// A network is removed once it has no endpoints.
	for _, step := range []func() error{p.endEndpoints, p.endNetworks, p.endReservations} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	r.lost = p.still
	return p.next, nil
}

// after has the next pass be no later than after d.
func (p *pass) after(d time.Duration) {
	if p.next == 0 || d < p.next {
		p.next = max(d, time.Millisecond)
	}
}

// isDead notes that Docker does not have what, and reports whether that is so for
// as long as life. A clock that is set changes nothing of that.
func (p *pass) isDead(what string, life time.Duration) bool {
	since, ok := p.lost[what]
	if !ok {
		since = p.now()
	}
	p.still[what] = since
	left := life - p.now().Sub(since)
	if left > 0 {
		p.after(left)
	}
	return left <= 0
}

// tellNames writes into the records of networks what only the engine knows. That
// it lists a network is also the proof that it is the engine that had it made: the
// configuration may name another one's socket.
func (p *pass) tellNames() error {
	for _, n := range p.records {
		in, ok := p.listed[n.ID]
		if !ok {
			continue
		}
		edit := func(n *store.Network) {
			if store.CheckNetworkName(in.Name) == nil {
				n.Name = in.Name
			}
			if n.Scope == store.ScopeLocal && n.Chassis == p.self {
				n.Engine = p.none
			}
		}
		told := n
		if edit(&told); told == n {
			continue
		}
		if err := p.store.ChangeNetwork(p.ctx, n.ID, edit); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// later notes that something cannot be ended now. It does not keep the rest from
// that, and is tried again.
func (p *pass) later(what string, err error) {
	p.log.Warn("cannot end what Docker does not have, will try again", "what", what, "error", p.denied(err, ""))
	p.after(retryRemoval)
}

// endNetworks removes the networks that Docker has removed, and that are still
// there: what it asked for could not be done then, or the plugin was away. Those
// that several engines know are not one engine's to end.
func (p *pass) endNetworks() error {
	for _, n := range p.records {
		if n.Freed {
			if gone, err := p.endFreed(p.ctx, n); err != nil {
				p.later("network "+n.ID, err)
			} else if !gone {
				p.after(retryRemoval)
			}
			continue
		}
		if _, ok := p.listed[n.ID]; ok || n.Scope != store.ScopeLocal || n.Chassis != p.self || n.Engine != p.none {
			continue
		}
		what := "network " + n.ID
		if !p.isDead(what, grace) {
			continue
		}
		if _, err := p.endpointsOf(n.ID); !errors.Is(err, errGone) {
			if err != nil {
				return err
			}
			continue
		}
		if err := p.store.DeleteNetwork(p.ctx, n.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			p.later(what, p.denied(err, n.Router))
			continue
		}
		p.log.Info("removed a network that Docker has removed while the plugin or etcd was away", "network", n, "id", n.ID, "subnet", n.Subnet)
		delete(p.still, what)
	}
	return nil
}

// endpointsOf returns a network with its endpoints, or errGone.
func (p *pass) endpointsOf(id string) (n dockerNetwork, err error) {
	n, ok := p.detail[id]
	if ok {
		return n, nil
	}
	if n, err = p.engine.network(p.ctx, id); err == nil {
		p.detail[id] = n
	}
	return n, err
}

// endEndpoints removes the veth pairs, and all that belongs to them, that no
// container has: their container's end is on the host, and Docker has no such
// endpoint. It, or the plugin, died before a container had it, or Docker has
// removed the container while the plugin was away.
func (p *pass) endEndpoints() error {
	veths, err := hostVeths()
	if err != nil {
		return fmt.Errorf("list the veth pairs of this host: %w", err)
	}
	var ends []string
	for _, name := range veths {
		if hostEnd(name) != "" {
			ends = append(ends, name)
		}
	}
	if len(ends) == 0 {
		return nil
	}
	ports, err := p.store.Owned(p.ctx, "", attach.CNM+":")
	if err != nil {
		return err
	}
	owners := map[string]attach.ID{} // by host's end
	for _, port := range ports {
		if _, id, ok := attach.ParseOwner(port.Owner); ok && port.Chassis == p.self {
			owners[id.Device()] = id
		}
	}
	for _, name := range ends {
		id, owned := owners[hostEnd(name)]
		if !owned && !slices.Contains(veths, hostEnd(name)) {
			continue // it is somebody else's, of that name
		}
		if p.endpoints.isHeld(hostEnd(name)) { // it is just being made, or removed
			p.after(grace)
			continue
		}
		if owned {
			n, err := p.endpointsOf(id.Network)
			if err != nil && !errors.Is(err, errGone) {
				return err
			}
			if hasEndpoint(n, id.Container) { // until it has a container, or Docker has forgotten it
				p.after(grace)
				continue
			}
		}
		if !p.isDead("veth "+name, grace) {
			continue
		}
		if err := p.endEndpoint(name, id, owned); err != nil {
			p.later("veth "+name, err)
			continue
		}
		delete(p.still, "veth "+name)
	}
	return nil
}

func (p *pass) endEndpoint(name string, id attach.ID, owned bool) error {
	if !owned {
		p.log.Info("removing a veth pair that no endpoint has", "device", name)
		return removeLink(name)
	}
	p.log.Info("removing an endpoint that Docker does not have", "network", id.Network, "endpoint", id.Container, "device", name)
	_, err := p.deleteEndpoint(id)
	return err
}

// hostEnd returns the name of the host's end of the veth pair that a container's
// end belongs to, or nothing if it is the name of no such end.
func hostEnd(name string) string {
	rest, ok := strings.CutPrefix(name, "tc")
	if !ok || len(rest) != 13 || strings.Trim(rest, "0123456789abcdef") != "" {
		return ""
	}
	return "tp" + rest
}

func hasEndpoint(n dockerNetwork, id string) bool {
	for _, c := range n.Containers {
		if c.EndpointID == id {
			return true
		}
	}
	return false
}

// hostVeths returns the names of this host's ends of veth pairs.
func hostVeths() ([]string, error) {
	all, err := netlink.LinkList()
	var names []string
	for _, link := range all {
		if link.Type() == "veth" {
			names = append(names, link.Attrs().Name)
		}
	}
	return names, err
}

// removeLink removes an interface of this host. That it has gone is no error.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// endReservations ends what Docker was given, has not given back, and does not
// have.
func (p *pass) endReservations() error {
	all, err := p.store.Reservations(p.ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Chassis != p.self {
			continue
		}
		// One that was made since is another, of the same address.
		what := fmt.Sprintf("reservation %s %s %d", r.Subnet, r.IP, r.Since)
		if !p.isDead(what, reservationLife) {
			continue
		}
		has, err := p.has(r)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		p.log.Info("ending a reservation that Docker does not use", "subnet", r.Subnet, "ip", r.IP, "since", time.Unix(r.Since, 0))
		if r.IP.IsValid() {
			err = p.store.ReleaseAddress(p.ctx, r.Subnet, r.IP, p.self)
		} else {
			err = p.store.ReleaseSubnet(p.ctx, r.Subnet, p.self)
		}
		if err != nil {
			p.later(what, err)
			continue
		}
		delete(p.still, what)
	}
	return nil
}

// has reports whether Docker has what was reserved for it, or cannot tell.
func (p *pass) has(r store.Reservation) (bool, error) {
	for _, n := range p.records {
		if n.Subnet != r.Subnet {
			continue
		}
		// What a swarm has, its manager alone knows, and does not tell. Another network
		// is one of a cluster whose store Docker does not reach, or of another engine.
		_, ok := p.listed[n.ID]
		if n.Scope == store.ScopeSwarm || !ok && (n.Scope != store.ScopeLocal || n.Chassis == p.self && n.Engine != p.none) {
			return true, nil
		}
	}
	for _, n := range p.listed {
		for _, config := range n.IPAM.Config {
			if subnet, err := netip.ParsePrefix(config.Subnet); err != nil || subnet.Masked() != r.Subnet {
				continue
			}
			if !r.IP.IsValid() {
				return true, nil
			}
			for _, ip := range config.AuxiliaryAddresses {
				if ip == r.IP.String() {
					return true, nil
				}
			}
			detail, err := p.endpointsOf(n.ID)
			if err != nil && !errors.Is(err, errGone) {
				return false, err
			}
			for _, c := range detail.Containers {
				if ip, err := topology.ParsePrefix(c.IPv4Address); err == nil && ip.Addr() == r.IP {
					return true, nil
				}
			}
		}
	}
	return false, nil
}
