package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/ovs"
)

const nameInterface = "name the interface of the tunnels with --interface"

// checkTunnelAddress tells whether this host has an address for its tunnels, on
// a device that works and is as wide as the chassis record says.
func checkTunnelAddress(ctx context.Context, env *Env) []Finding {
	if env.TunnelErr != nil {
		text, remedy, _ := strings.Cut(env.TunnelErr.Error(), "; ") // it tells that, too
		return []Finding{bad("", text, cmp.Or(remedy, nameInterface))}
	}
	nic, err := env.nic()
	if err != nil {
		return []Finding{bad("", err.Error(), nameInterface)}
	}
	switch {
	case nic.Flags&net.FlagUp == 0:
		return []Finding{bad("", nic.Name+", which has it, is down", "take it up: ip link set "+nic.Name+" up")}
	case nic.Flags&net.FlagRunning == 0:
		return []Finding{bad("", nic.Name+", which has it, has no link", "see its cable, or the bridge that it is in")}
	}
	if h, err := env.examined(ctx); err == nil && !env.silent(ctx) {
		bridge := bridgeOf(h, nic.Name)
		if nics, dark := h.Dark[bridge]; dark {
			return []Finding{bad("", fmt.Sprintf("%s has it, and bridge %s holds no NIC with a link (%s)", nic.Name, bridge, cmp.Or(nics, "none at all")), mendLink(bridge, nics))}
		}
	}
	room := max(0, nic.MTU-tunnelOverhead)
	if own, ok := env.own(ctx); ok && own.MTU != 0 && own.MTU != room {
		return []Finding{bad("", fmt.Sprintf("%s has MTU %d, which leaves workloads %d, and the chassis record says %d", nic.Name, nic.MTU, room, own.MTU),
			"see whether the agent runs, which brings the record up to date; workloads have to be set to what is left")}
	}
	return []Finding{good("", "%s of %s, whose MTU of %d leaves workloads %d", env.TunnelIP, nic.Name, nic.MTU, room)}
}

// bridgeOf returns the bridge of Open vSwitch that has made a device of the host;
// empty if there is none.
func bridgeOf(h ovs.Health, device string) string {
	for _, d := range h.Devices {
		if d.Name == device && d.Internal {
			return d.Bridge
		}
	}
	return ""
}

// nic returns the interface that has this host's tunnel address.
func (e *Env) nic() (net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, fmt.Errorf("interfaces of this host: %w", err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			return net.Interface{}, fmt.Errorf("addresses of interface %s: %w", i.Name, err)
		}
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr() == e.TunnelIP
		}) {
			return i, nil
		}
	}
	return net.Interface{}, fmt.Errorf("no interface of this host has the address %s", e.TunnelIP)
}
