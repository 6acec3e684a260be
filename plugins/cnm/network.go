package cnm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// networkDriver carries out one call of Docker's, whose end is ctx's: Docker does
// not wait any more.
type networkDriver struct {
	*Plugin
	ctx context.Context
}

var _ network.Driver = (*networkDriver)(nil)

// bounded returns the call's context for what needs etcd.
func (d *networkDriver) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.ctx, patience)
}

// GetCapabilities implements network.Driver. Containers of one network reach each
// other on all hosts, whoever knows of the network.
func (d *networkDriver) GetCapabilities() (*network.CapabilitiesResponse, error) {
	ctx, cancel := d.bounded()
	defer cancel()
	return &network.CapabilitiesResponse{Scope: string(d.scope(ctx)), ConnectivityScope: network.GlobalScope}, nil
}

// CreateNetwork implements network.Driver. That of a swarm was made by
// AllocateNetwork before.
func (d *networkDriver) CreateNetwork(r *network.CreateNetworkRequest) error {
	w, err := parseOptions(r.Options)
	if err != nil {
		return err
	}
	if err := w.addPools(r.IPv4Data, len(r.IPv6Data)); err != nil {
		return err
	}
	ctx, cancel := d.bounded()
	defer cancel()
	n, err := d.store.Network(ctx, r.NetworkID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if err = d.create(ctx, r.NetworkID, d.scope(ctx), w); ctx.Err() != nil {
			return errors.Join(fmt.Errorf("network %s is given up: Docker does not wait for it any more, or etcd has not answered in time",
				topology.ShortDockerID(r.NetworkID)), err, d.giveUp(r.NetworkID))
		}
		return err
	case err != nil:
		return err
	case n.Scope == store.ScopeSwarm && w.internal && !n.Internal: // the manager was not told
		return d.store.ChangeNetwork(ctx, r.NetworkID, func(n *store.Network) { n.Internal = true })
	case w.subnet.IsValid() && w.subnet != n.Subnet:
		return fmt.Errorf("there is a network %s already, whose subnet is %s and not %s", r.NetworkID, n.Subnet, w.subnet)
	}
	return nil // Docker has not heard the answer when it asked before, or it is a worker of a swarm
}

// giveUp deletes a network that may have been made, and of which Docker will not
// know.
func (d *networkDriver) giveUp(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.store.DeleteNetwork(ctx, id); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// AllocateNetwork implements network.Driver. The manager of a swarm calls it, and
// whoever is manager after that, too.
func (d *networkDriver) AllocateNetwork(r *network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
	w, err := parseDriverOptions(r.Options)
	if err != nil {
		return nil, err
	}
	var v4 []*network.IPAMData
	for _, data := range r.IPv4Data {
		v4 = append(v4, &data)
	}
	if err := w.addPools(v4, len(r.IPv6Data)); err != nil {
		return nil, err
	}
	ctx, cancel := d.bounded()
	defer cancel()
	if _, err = d.store.Network(ctx, r.NetworkID); errors.Is(err, store.ErrNotFound) {
		err = d.create(ctx, r.NetworkID, store.ScopeSwarm, w)
	}
	if err != nil {
		return nil, err
	}
	return &network.AllocateNetworkResponse{Options: map[string]string{}}, nil
}

// create makes a network as it was wished for.
func (d *networkDriver) create(ctx context.Context, id string, scope store.Scope, w wish) error {
	n := w.record(id, scope, d.cfg.secured())
	var err error
	if n.Chassis, err = d.chassis(ctx); err != nil {
		return err
	}
	if w.sw != "" {
		err = d.onSwitch(ctx, &n, w)
	} else {
		err = d.onOwnSwitch(ctx, &n, w)
	}
	if err != nil {
		return err
	}
	if err := d.store.WriteGlobals(ctx); err != nil { // perhaps nobody has written to this store before
		return err
	}
	if err := d.store.CreateNetwork(ctx, n); err != nil {
		return d.denied(err, n.Router)
	}
	d.log.Info("network made", "network", n.ID, "switch", n.Switch, "subnet", n.Subnet, "gateway", n.Gateway, "router", n.Router, "scope", n.Scope)
	return nil
}

// onSwitch makes n a network on a switch that is there already. A router that is
// linked to it says what its subnet and gateway are.
func (d *networkDriver) onSwitch(ctx context.Context, n *store.Network, w wish) error {
	n.Switch = w.sw
	links, err := d.linksOf(ctx, w.sw)
	if err != nil {
		return err
	}
	if len(links) == 0 {
		if !n.Subnet.IsValid() {
			return fmt.Errorf("switch %s is linked to no router, so it has no subnet of its own: give -o subnet=, or link it: tpctl lr link ROUTER %[1]s CIDR", w.sw)
		}
		return nil
	}
	i, last := 0, links[len(links)-1].Net.Masked()
	if n.Subnet.IsValid() {
		i = slices.IndexFunc(links, func(l topology.RouterPort) bool { return l.Net.Masked() == n.Subnet })
	} else if first := links[0].Net.Masked(); first != last { // and no IPAM driver has said
		return fmt.Errorf("switch %s is linked to routers in several networks, %s and %s: say which one is meant by -o subnet=", w.sw, first, last)
	}
	if i < 0 {
		return fmt.Errorf("switch %s has the network %s of router %s, and the subnet %s is another: %s", w.sw, links[0].Net.Masked(), links[0].Router, n.Subnet, give(links[0], w.sw))
	}
	link := links[i]
	for _, l := range links { // several routers may be in one network
		if l.Net.Masked() == n.Subnet && l.Net.Addr() == n.Gateway {
			link = l
		}
	}
	if n.Gateway.IsValid() && n.Gateway != link.Net.Addr() {
		return fmt.Errorf("the gateway of %s on switch %s is router %s with %s, and not %s: %s", n.Subnet, w.sw, link.Router, link.Net.Addr(), n.Gateway, give(link, w.sw))
	}
	if n.Subnet, err = parseSubnet(link.Net.String()); err != nil {
		return fmt.Errorf("switch %s: %w", w.sw, err)
	}
	n.Gateway = link.Net.Addr()
	return nil
}

// give says what makes a network fit a switch that a router is linked to.
func give(link topology.RouterPort, sw string) string {
	return fmt.Sprintf("give --ipam-driver tuplenet --ipam-opt switch=%s, or --subnet %s --gateway %s", sw, link.Net.Masked(), link.Net.Addr())
}

// onOwnSwitch makes n a network on a switch of its own, which is linked to a
// router if there is one for it.
func (d *networkDriver) onOwnSwitch(ctx context.Context, n *store.Network, w wish) error {
	n.Switch, n.Made = n.ID, true
	if !n.Subnet.IsValid() {
		return errors.New("the network has no subnet: give --subnet, or with --ipam-driver null -o subnet=")
	}
	n.Router = d.cfg.EgressRouter
	switch {
	case w.router != nil:
		n.Router = *w.router
	case n.Internal:
		n.Router = ""
	}
	if !n.Gateway.IsValid() {
		var err error
		if n.Gateway, err = d.gatewayOf(ctx, n.Subnet, n.Router); err != nil {
			return err
		}
	}
	if n.Router == "" {
		return nil
	}
	return d.checkRouter(ctx, *n)
}

// checkRouter says what keeps a network from being linked to its router.
func (d *networkDriver) checkRouter(ctx context.Context, n store.Network) error {
	if _, err := d.store.Get(ctx, topology.Router{Name: n.Router}.Key()); errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("router %s, which the network would be linked to, is not found: make it with tpctl lr add %[1]s, or name another by -o router= (none at all: -o router=)", n.Router)
	} else if err != nil {
		return err
	}
	ports, _, err := d.store.List(ctx, topology.KindRouterPort, n.Router)
	if err != nil {
		return err
	}
	for _, e := range ports {
		port := e.(topology.RouterPort)
		switch {
		case port.Net.Overlaps(n.Subnet):
			return fmt.Errorf("router %s has the network %s already (port %s), which the subnet %s overlaps: give another --subnet%s", n.Router, port.Net.Masked(), port.Name, n.Subnet, d.orSwitch(ctx, port, n))
		case topology.PortID(port.Net.Addr()) == topology.PortID(n.Gateway):
			remedy := "give --subnet with another --gateway"
			if n.Router == d.cfg.EgressRouter {
				remedy += ", or leave it to --ipam-driver tuplenet"
			}
			return fmt.Errorf("the last two numbers of the gateway %s are those of %s, another port of router %s (%s), which tells its ports apart by them: %s", n.Gateway, port.Net.Addr(), n.Router, port.Name, remedy)
		}
	}
	return nil
}

// orSwitch offers the switch that has the network wanted.
func (d *networkDriver) orSwitch(ctx context.Context, port topology.RouterPort, n store.Network) string {
	keys, err := d.store.Named(ctx, topology.KindSwitchPort, port.Peer)
	if port.Net.Masked() != n.Subnet || err != nil || len(keys) != 1 {
		return ""
	}
	return fmt.Sprintf(", or be on its switch: -o switch=%s", keys[0].Parent)
}

// DeleteNetwork implements network.Driver. The manager of a swarm frees what is
// the swarm's.
func (d *networkDriver) DeleteNetwork(r *network.DeleteNetworkRequest) error {
	ctx, cancel := d.bounded()
	defer cancel()
	n, err := d.network(ctx, r.NetworkID)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && n.Scope == store.ScopeSwarm:
		return nil
	case err != nil:
		return err
	}
	err = d.deleteNetwork(ctx, n)
	if errors.Is(err, store.ErrNotEmpty) { // Docker forgets it all the same
		err = errors.Join(err, d.markFreed(ctx, n.ID))
	}
	return err
}

// FreeNetwork implements network.Driver.
func (d *networkDriver) FreeNetwork(r *network.FreeNetworkRequest) error {
	ctx, cancel := d.bounded()
	defer cancel()
	n, err := d.network(ctx, r.NetworkID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return d.free(ctx, n)
}

// deleteNetwork deletes a network, with the switch that was made for it.
func (p *Plugin) deleteNetwork(ctx context.Context, n store.Network) error {
	var err error
	if isOriginal(n) {
		err = p.deleteOriginal(ctx, n)
	} else {
		err = p.store.DeleteNetwork(ctx, n.ID)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return p.denied(err, n.Router)
	}
	p.log.Info("network deleted", "network", n.ID, "name", n.Name, "subnet", n.Subnet)
	return nil
}

// network returns what is known of a network. ErrNotFound: nothing is.
func (p *Plugin) network(ctx context.Context, id string) (store.Network, error) {
	n, err := p.store.Network(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return n, err
	}
	links, err := p.linksOf(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return n, fmt.Errorf("network %s of Docker is %w in TupleNet's etcd: was it removed by tpctl, or is data_store_prefix another one? "+
			"Remove it from Docker, too, and make it anew: docker network rm, docker network create", topology.ShortDockerID(id), store.ErrNotFound)
	case err != nil:
		return n, err
	}
	n = store.Network{ID: id, Switch: id, Made: true}
	if len(links) > 0 {
		n.Router, n.Subnet, n.Gateway = links[0].Router, links[0].Net.Masked(), links[0].Net.Addr()
	}
	return n, nil
}

// isOriginal reports whether a network is one that the original TupleNet has
// made: a switch under the network's id, without a record.
func isOriginal(n store.Network) bool { return n.Scope == "" }

// deleteOriginal deletes a network of the original.
func (p *Plugin) deleteOriginal(ctx context.Context, n store.Network) error {
	sw := topology.Switch{Name: n.Switch}.Key()
	links, err := p.linksOf(ctx, n.Switch)
	if err != nil {
		return err
	}
	unused := func(v *store.View) error {
		ports, err := v.List(topology.KindSwitchPort, n.Switch)
		for _, e := range ports {
			port := e.(topology.SwitchPort)
			if !slices.ContainsFunc(links, func(l topology.RouterPort) bool { return l.Peer == port.Name }) {
				return fmt.Errorf("switch %s is %w, it has the port %s (%s): see them with tpctl lsp show %[1]s", n.Switch, store.ErrNotEmpty, port.Name, port.IP)
			}
		}
		return err
	}
	if err := p.store.DeleteIf(ctx, unused, sw, true); err != nil {
		return err
	}
	for _, link := range links {
		if err := p.store.Delete(ctx, link.Key(), false); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// DiscoverNew implements network.Driver. Chassis find each other by etcd.
func (d *networkDriver) DiscoverNew(*network.DiscoveryNotification) error { return nil }

// DiscoverDelete implements network.Driver.
func (d *networkDriver) DiscoverDelete(*network.DiscoveryNotification) error { return nil }
