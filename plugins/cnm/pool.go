package cnm

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/internal/topology"
)

// pool is a subnet, as Docker names it by a PoolID: the subnet, and behind a blank
// the part of it that addresses come from, if that is not all (--ip-range).
type pool struct {
	subnet, within netip.Prefix
}

// String returns the PoolID.
func (p pool) String() string {
	if p.within == p.subnet {
		return p.subnet.String()
	}
	return p.subnet.String() + " " + p.within.String()
}

// parsePool reads a PoolID.
func parsePool(id string) (pool, error) {
	subnet, within, _ := strings.Cut(id, " ")
	p, err := newPool(subnet, within)
	if err != nil {
		return p, fmt.Errorf("invalid pool %q, which is none of this driver's: %w", id, err)
	}
	return p, nil
}

// newPool checks a subnet, and the part that addresses are to come from; that
// may be empty.
func newPool(subnet, within string) (p pool, err error) {
	if p.subnet, err = topology.ParsePrefix(subnet); err != nil {
		return p, fmt.Errorf("subnet: %w", err)
	}
	p.subnet = p.subnet.Masked()
	switch {
	case p.subnet.Bits() < 16:
		return p, fmt.Errorf("subnet %s is wider than /16, and ports of a switch are told apart by the low 16 bits of their addresses: take a /16 or a part of it", p.subnet)
	case p.subnet.Bits() > 30:
		return p, fmt.Errorf("subnet %s has no room for a gateway and a container: take a /30 or a wider one", p.subnet)
	case !topology.IsUnicast(p.subnet.Addr()):
		return p, fmt.Errorf("subnet %s cannot be that of machines", p.subnet)
	}
	p.within = p.subnet
	if within == "" {
		return p, nil
	}
	if p.within, err = topology.ParsePrefix(within); err != nil {
		return p, fmt.Errorf("range of addresses: %w", err)
	}
	p.within = p.within.Masked()
	if p.within.Bits() < p.subnet.Bits() || !p.subnet.Contains(p.within.Addr()) {
		return p, fmt.Errorf("the range of addresses %s is no part of the subnet %s", p.within, p.subnet)
	}
	return p, nil
}

// host reads an address that Docker wants in the pool's subnet.
func (p pool) host(text string) (netip.Addr, error) {
	ip, err := topology.ParseAddr(text)
	switch {
	case err != nil:
		return ip, err
	case !p.subnet.Contains(ip):
		return ip, fmt.Errorf("address %s is not in the subnet %s", ip, p.subnet)
	case !topology.IsHost(ip, p.subnet):
		return ip, fmt.Errorf("address %s is the network's own or its broadcast address in %s", ip, p.subnet)
	}
	return ip, nil
}

// cidr returns an address with the length of the subnet, as Docker wants it.
func (p pool) cidr(ip netip.Addr) string { return netip.PrefixFrom(ip, p.subnet.Bits()).String() }

// gatewayOf chooses the gateway of a network that is to be linked to a router, for
// whom nobody has named one: what a router has in that subnet, as it may be that of
// a switch; or the first address with other low 16 bits than those of the router's
// ports, which it tells apart by them. Without a router it is the first address.
func (p *Plugin) gatewayOf(ctx context.Context, subnet netip.Prefix, router string) (netip.Addr, error) {
	first := subnet.Addr().Next()
	if router == "" {
		return first, nil
	}
	ports, _, err := p.store.List(ctx, topology.KindRouterPort, "")
	if err != nil {
		return netip.Addr{}, err
	}
	taken := map[uint16]bool{}
	for _, e := range ports {
		port := e.(topology.RouterPort)
		if port.Net.Masked() == subnet {
			return port.Net.Addr(), nil
		}
		if port.Router == router {
			taken[topology.PortID(port.Net.Addr())] = true
		}
	}
	for ip := first; topology.IsHost(ip, subnet); ip = ip.Next() {
		if !taken[topology.PortID(ip)] {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("router %s can have no address in %s, as it tells its ports apart by the last two numbers of their addresses, and others have these: take a wider subnet", router, subnet)
}
