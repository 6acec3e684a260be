package cnm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/go-plugins-helpers/ipam"

	"tuplenet/internal/store"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// What libnetwork's IPAM drivers are told, and tell.
const (
	addressSpace = "tuplenet" // there is one, for networks of any scope

	// gatewayKey is in RequestPool's answer, with an address, and the value of
	// addressType in the options of a RequestAddress.
	gatewayKey  = "com.docker.network.gateway"
	addressType = "RequestAddressType"
)

// switchOption is --ipam-opt switch=LS-A: the network's subnet is the switch's.
const switchOption = "switch"

// ipamDriver gives Docker subnets and addresses, which are reserved in etcd
// until a network, or a port, has them.
type ipamDriver struct{ *Plugin }

var _ ipam.Ipam = ipamDriver{}

// given is which addresses this process has given out. Who has its turn may use
// it: a host need not contend with itself.
type given struct {
	turn chan struct{}               // holds one while somebody has the turn
	last map[netip.Prefix]netip.Addr // by what they are taken from
	// times says how often an address, with the length of its subnet, was reserved
	// for Docker, and not given back: that of one container comes back while the next
	// one has it already.
	times map[netip.Prefix]int
}

func newGiven() given {
	return given{turn: make(chan struct{}, 1), last: map[netip.Prefix]netip.Addr{}, times: map[netip.Prefix]int{}}
}

// take begins a turn, and returns what ends it, or an error if ctx ends before.
func (g given) take(ctx context.Context) (end func(), err error) {
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the addresses that others ask for: %w", ctx.Err())
	}
}

// forget forgets what has not been given back: that will not be by an engine that
// was started anew.
func (g given) forget(ctx context.Context) {
	if end, err := g.take(ctx); err == nil {
		clear(g.times)
		end()
	}
}

// GetCapabilities implements ipam.Ipam.
func (d ipamDriver) GetCapabilities() (*ipam.CapabilitiesResponse, error) {
	return &ipam.CapabilitiesResponse{}, nil
}

// GetDefaultAddressSpaces implements ipam.Ipam.
func (d ipamDriver) GetDefaultAddressSpaces() (*ipam.AddressSpacesResponse, error) {
	return &ipam.AddressSpacesResponse{LocalDefaultAddressSpace: addressSpace, GlobalDefaultAddressSpace: addressSpace}, nil
}

// RequestPool implements ipam.Ipam. A subnet that Docker names is its own to
// answer for: several networks may have it, on one switch. One that this driver
// chooses is reserved, until a network has it.
func (d ipamDriver) RequestPool(r *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sw, err := poolOptions(r.Options)
	switch {
	case err != nil:
		return nil, err
	case r.V6:
		return nil, errors.New("networks of TupleNet have IPv4 alone: leave --ipv6 and its subnet out")
	case r.Pool == "" && r.SubPool != "":
		return nil, fmt.Errorf("the range of addresses %s needs the subnet that it is a part of: give --subnet, too", r.SubPool)
	case sw != "":
		return d.poolOfSwitch(ctx, sw, r)
	case r.Pool == "":
		return d.freePool(ctx)
	}
	p, err := newPool(r.Pool, r.SubPool)
	if err != nil {
		return nil, err
	}
	return &ipam.RequestPoolResponse{PoolID: p.String(), Pool: p.subnet.String()}, nil
}

// poolOptions reads what --ipam-opt says. Docker's own options come among them.
func poolOptions(options map[string]string) (sw string, err error) {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		switch {
		case key == switchOption:
			sw = options[key]
			if err := topology.CheckName(sw); err != nil {
				return "", fmt.Errorf("--ipam-opt %s: %w", switchOption, err)
			}
		case key != addressType && !strings.HasPrefix(key, "com.docker."):
			return "", fmt.Errorf("unknown option --ipam-opt %s=%s%s", key, options[key], suggest.Among(key, []string{switchOption}))
		}
	}
	return sw, nil
}

// poolOfSwitch returns the subnet of the router that a switch is linked to, with
// the router's address as the gateway.
func (d ipamDriver) poolOfSwitch(ctx context.Context, sw string, r *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	links, err := d.linksOf(ctx, sw)
	if err != nil {
		return nil, err
	}
	if r.Pool != "" {
		wanted, err := newPool(r.Pool, "")
		if err != nil {
			return nil, err
		}
		links = slices.DeleteFunc(links, func(l topology.RouterPort) bool { return l.Net.Masked() != wanted.subnet })
		if len(links) == 0 {
			return nil, fmt.Errorf("subnet %s is not that of switch %s, nor of any router linked to it: see them with tpctl topology %[2]s, or leave --subnet out", wanted.subnet, sw)
		}
	}
	switch {
	case len(links) == 0:
		return nil, fmt.Errorf("switch %s is linked to no router, so it has no subnet of its own: give --subnet and --gateway, or link it: tpctl lr link ROUTER %[1]s CIDR", sw)
	case links[0].Net.Masked() != links[len(links)-1].Net.Masked(): // several routers may be in one
		return nil, fmt.Errorf("switch %s is linked to routers in several networks, %s and %s: say which one is meant by --subnet", sw, links[0].Net.Masked(), links[len(links)-1].Net.Masked())
	}
	p, err := newPool(links[0].Net.String(), r.SubPool)
	if err != nil {
		return nil, fmt.Errorf("switch %s: %w", sw, err)
	}
	// Docker asks again and again for a subnet that it has not named, until it is
	// given one that no route of the host overlaps.
	if r.Pool == "" {
		self, err := d.chassis(ctx)
		if err != nil {
			return nil, err
		}
		switch again, err := d.store.HoldSubnet(ctx, p.subnet, self); {
		case err != nil:
			return nil, err
		case again:
			return nil, fmt.Errorf("subnet %s of switch %s was given to Docker on this host just now, and no network was made of it: "+
				"either another one is being made, or a route or name server of this host is in that subnet; if that is meant, say --subnet %[1]s, too", p.subnet, sw)
		}
	}
	return &ipam.RequestPoolResponse{PoolID: p.String(), Pool: p.subnet.String(), Data: map[string]string{gatewayKey: links[0].Net.String()}}, nil
}

// linksOf returns the routers' ports that are linked to a switch, in the order of
// their networks, which may be none. ErrNotFound: there is no such switch.
func (p *Plugin) linksOf(ctx context.Context, sw string) ([]topology.RouterPort, error) {
	if _, err := p.store.Get(ctx, topology.Switch{Name: sw}.Key()); errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: make it with tpctl ls add %s, or see those that there are: tpctl ls show", err, sw)
	} else if err != nil {
		return nil, err
	}
	ports, _, err := p.store.List(ctx, topology.KindSwitchPort, sw)
	if err != nil {
		return nil, err
	}
	var links []topology.RouterPort
	for _, e := range ports {
		port := e.(topology.SwitchPort)
		if port.Peer == "" || port.IP == topology.OuterIP {
			continue
		}
		keys, err := p.store.Named(ctx, topology.KindRouterPort, port.Peer)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			e, err := p.store.Get(ctx, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			if link, ok := e.(topology.RouterPort); ok && link.Peer == port.Name {
				links = append(links, link)
			}
		}
	}
	slices.SortFunc(links, func(a, b topology.RouterPort) int {
		return cmp.Or(a.Net.Addr().Compare(b.Net.Addr()), strings.Compare(a.Name, b.Name))
	})
	return links, nil
}

// freePool reserves the first subnet of the configured pools that nobody has, and
// chooses its gateway.
func (d ipamDriver) freePool(ctx context.Context) (*ipam.RequestPoolResponse, error) {
	if len(d.cfg.AddressPools) == 0 {
		return nil, errors.New("which subnet the network is to have has to be said: give --subnet and --gateway, or set default_address_pools in the plugin's configuration file")
	}
	self, err := d.chassis(ctx)
	if err != nil {
		return nil, err
	}
	for _, from := range d.cfg.AddressPools {
		subnet, err := d.store.ReserveSubnet(ctx, []netip.Prefix{from.Base}, from.Size, self)
		if errors.Is(err, store.ErrFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		gateway, err := d.gatewayOf(ctx, subnet, d.cfg.EgressRouter)
		if err != nil {
			return nil, errors.Join(err, d.store.ReleaseSubnet(ctx, subnet, self))
		}
		p := pool{subnet, subnet}
		return &ipam.RequestPoolResponse{PoolID: p.String(), Pool: p.String(), Data: map[string]string{gatewayKey: p.cidr(gateway)}}, nil
	}
	return nil, errors.New("all subnets of default_address_pools in the plugin's configuration file are in use: " +
		"remove networks (docker network prune), add a pool, or give --subnet and --gateway")
}

// ReleasePool implements ipam.Ipam.
func (d ipamDriver) ReleasePool(r *ipam.ReleasePoolRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := parsePool(r.PoolID)
	if err != nil {
		return err
	}
	self, err := d.chassis(ctx)
	if err == nil {
		err = d.store.ReleaseSubnet(ctx, p.subnet, self)
	}
	if err != nil {
		d.lookAgain() // Docker does not ask a second time
	}
	return err
}

// RequestAddress implements ipam.Ipam. A gateway is nothing that is reserved: a
// network's record has it, and several networks of one switch have the same.
func (d ipamDriver) RequestAddress(r *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := parsePool(r.PoolID)
	if err != nil {
		return nil, err
	}
	var ip netip.Addr
	if r.Address != "" {
		if ip, err = p.host(r.Address); err != nil {
			return nil, err
		}
	}
	if r.Options[addressType] == gatewayKey {
		if !ip.IsValid() {
			ip, err = d.gatewayOf(ctx, p.subnet, d.cfg.EgressRouter)
		}
	} else {
		ip, err = d.reserve(ctx, p, ip)
	}
	if err != nil {
		return nil, err
	}
	return &ipam.RequestAddressResponse{Address: p.cidr(ip)}, nil
}

// reserve reserves an address for a container of this host; the zero Addr: any,
// and not one that another container has just given back, if there are others.
func (d ipamDriver) reserve(ctx context.Context, p pool, ip netip.Addr) (netip.Addr, error) {
	self, err := d.chassis(ctx)
	if err != nil {
		return ip, err
	}
	end, err := d.given.take(ctx)
	if err != nil {
		return ip, err
	}
	defer end()
	got, err := d.store.ReserveAddress(ctx, p.subnet, p.within, ip, d.given.last[p.within], self)
	switch {
	case err == nil:
		d.given.times[netip.PrefixFrom(got, p.subnet.Bits())]++
		if !ip.IsValid() {
			d.given.last[p.within] = got
		}
	case errors.Is(err, store.ErrFull):
		err = fmt.Errorf("%w: see who has them with tpctl lsp show --all --filter owner~cnm:, or take a wider subnet", err)
	case errors.Is(err, store.ErrConflict) && ip.IsValid():
		// In a swarm the manager gives the addresses, and the engine of the container
		// asks for that address again, as does the next manager for all of them.
		if ofSwarm, failed := d.ofSwarm(ctx, p.subnet); failed == nil && ofSwarm {
			got, err = ip, nil
		}
	}
	return got, err
}

// ofSwarm reports whether a network of a swarm has the subnet.
func (d ipamDriver) ofSwarm(ctx context.Context, subnet netip.Prefix) (bool, error) {
	all, err := d.store.Networks(ctx)
	return slices.ContainsFunc(all, func(n store.Network) bool { return n.Scope == store.ScopeSwarm && n.Subnet == subnet }), err
}

// ReleaseAddress implements ipam.Ipam. Only what this host has reserved ends: an
// address that is in use is a port's. What one manager of a swarm has reserved,
// another one may give back.
func (d ipamDriver) ReleaseAddress(r *ipam.ReleaseAddressRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := parsePool(r.PoolID)
	if err != nil {
		return err
	}
	ip, err := p.host(r.Address)
	if err != nil {
		return err
	}
	if err := d.release(ctx, p, ip); err != nil {
		d.lookAgain()
		return err
	}
	return nil
}

func (d ipamDriver) release(ctx context.Context, p pool, ip netip.Addr) error {
	self, err := d.chassis(ctx)
	if err != nil {
		return err
	}
	ofSwarm, err := d.ofSwarm(ctx, p.subnet)
	if err != nil {
		return err
	}
	if ofSwarm {
		self = ""
	}
	end, err := d.given.take(ctx)
	if err != nil {
		return err
	}
	defer end()
	key := netip.PrefixFrom(ip, p.subnet.Bits())
	if d.given.times[key] > 1 {
		d.given.times[key]--
		return nil
	}
	delete(d.given.times, key)
	return d.store.ReleaseAddress(ctx, p.subnet, ip, self)
}
