package agent

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// TunnelAddress resolves what the operator named: an IPv4 address, or a
// comma-separated list of interfaces, of which the first with an IPv4 address
// counts.
func TunnelAddress(spec string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(spec); err == nil {
		if !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
			return netip.Addr{}, fmt.Errorf("tunnel address %s: want an IPv4 address of this host", a)
		}
		return a, nil
	}
	for _, name := range strings.Split(spec, ",") {
		i, err := net.InterfaceByName(strings.TrimSpace(name))
		if err != nil {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return netip.Addr{}, fmt.Errorf("addresses of interface %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				return p.Addr(), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("none of the interfaces %s has an IPv4 address; name the one that carries the tunnels, or its address, with --interface", spec)
}
