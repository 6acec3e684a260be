package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// checkSource tells whether what this host sends through tunnels leaves with the
// address that its chassis record has. The kernel's routes say which, and the
// others take nothing from an address that is no chassis'.
func checkSource(ctx context.Context, env *Env) []Finding {
	var findings []Finding
	asked := 0
	for _, c := range latest(env.chassis(ctx)) {
		if c.IP == env.TunnelIP {
			continue
		}
		routes, err := netlink.RouteGet(net.IP(c.IP.AsSlice()))
		if err != nil || len(routes) == 0 {
			continue // the path's check tells
		}
		asked++
		if from, _ := netip.AddrFromSlice(routes[0].Src.To4()); from != env.TunnelIP {
			findings = append(findings, bad(named(c), fmt.Sprintf("what is sent to it leaves with the source address %s, from which it takes nothing, instead of %s", from, env.TunnelIP),
				fmt.Sprintf("give the route to %s the source %s (ip route replace ... src %[2]s), or name the other address with --interface", c.IP, env.TunnelIP)))
		}
	}
	if asked > 0 && len(findings) == 0 {
		findings = append(findings, good("", "%s, to each of %d chassis", env.TunnelIP, asked))
	}
	return findings
}
