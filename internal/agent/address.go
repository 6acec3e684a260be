package agent

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// TunnelAddress resolves what the operator named: an IPv4 address of this host,
// or a comma-separated list of interfaces, of which the first with an IPv4
// address counts. Other hosts have to reach it, so that a loopback address is
// refused.
func TunnelAddress(spec string) (netip.Addr, error) {
	if wanted, err := netip.ParseAddr(spec); err == nil {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return netip.Addr{}, fmt.Errorf("addresses of this host: %w", err)
		}
		for _, ip := range tunnelAddresses(all) {
			if ip == wanted {
				return ip, nil
			}
		}
		return netip.Addr{}, fmt.Errorf("%s is not an IPv4 address of this host that others could reach; name one with --interface, or the NIC that has it", wanted)
	}
	all, err := interfaceAddresses(spec)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(all) > 0 {
		return all[0], nil
	}
	return netip.Addr{}, fmt.Errorf("none of the interfaces %s has an IPv4 address that others could reach; name the one that carries the tunnels, or its address, with --interface", spec)
}

// interfaceAddresses returns the addresses that the interfaces of a list have,
// and that can be the end of a tunnel, in the order of the list. Interfaces that
// are not there have none.
func interfaceAddresses(spec string) ([]netip.Addr, error) {
	var out []netip.Addr
	for name := range strings.SplitSeq(spec, ",") {
		i, err := net.InterfaceByName(strings.TrimSpace(name))
		if err != nil {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of interface %s: %w", i.Name, err)
		}
		out = append(out, tunnelAddresses(addrs)...)
	}
	return out, nil
}

// tunnelAddresses returns the addresses that can be the end of a tunnel.
func tunnelAddresses(addrs []net.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			out = append(out, p.Addr())
		}
	}
	return out
}
