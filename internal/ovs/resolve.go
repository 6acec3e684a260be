package ovs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows"
)

// resolveAtOnce bounds how many next hops one Resolve asks ovs-vswitchd about,
// which forwards nothing new meanwhile.
const resolveAtOnce = 100

// probe is a frame that says nothing, with an EtherType for experiments (IEEE
// 802). It goes into the tunnel without a logical network: who gets it drops it.
var probe = append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, 46)...)

// Resolve returns which of the tunnels would lose a packet now. Open vSwitch's
// userspace datapath asks for the MAC that a tunnel's packets go to when the
// first one comes, and drops it; so it is made to ask ahead, for 100 of them at
// most: those come last in the list, for a caller that tries again with it. The
// answers are there within a millisecond, if the next hops are. The kernel's
// datapath keeps such packets: there is nothing to do.
//
// A tunnel of which nothing could be found out is in the list; the error says
// why, of the first.
func (d *Driver) Resolve(ctx context.Context, tunnels []Tunnel) (lossy []Tunnel, err error) {
	datapath, err := d.datapath()
	if err != nil {
		return tunnels, fmt.Errorf("resolve tunnels: %w", err)
	}
	if !strings.HasPrefix(datapath, "netdev@") {
		return nil, nil
	}
	known, err := d.tunnelNeighbours(ctx)
	if err != nil {
		return tunnels, fmt.Errorf("resolve tunnels: %w", err)
	}
	lossy = slices.DeleteFunc(slices.Clone(tunnels), func(t Tunnel) bool { return known[t.RemoteIP] })
	n := min(len(lossy), resolveAtOnce)
	ask, lossy := lossy[:n], lossy[n:]
	for _, t := range ask {
		hop, askErr := d.nextHop(ctx, t.RemoteIP)
		if known[hop] {
			continue
		}
		if askErr == nil {
			askErr = d.Inject(probe, flows.Output{Port: t.OFPort})
		}
		if askErr != nil && err == nil {
			err = fmt.Errorf("resolve the tunnel to %s: %w", t.RemoteIP, askErr)
		}
		lossy = append(lossy, t)
	}
	return lossy, err
}

// tunnelNeighbours returns the next hops of tunnels whose MACs are known.
func (d *Driver) tunnelNeighbours(ctx context.Context) (map[netip.Addr]bool, error) {
	text, err := d.appctl(ctx, "tnl/neigh/show")
	if err != nil {
		return nil, err
	}
	known := map[netip.Addr]bool{}
	for line := range strings.Lines(text) {
		first, _, _ := strings.Cut(line, " ")
		if hop, err := netip.ParseAddr(first); err == nil { // not the heading
			known[hop] = true
		}
	}
	return known, nil
}

// nextHop returns where ovs-vswitchd sends what goes to an address.
func (d *Driver) nextHop(ctx context.Context, remote netip.Addr) (netip.Addr, error) {
	route, err := d.appctl(ctx, "ovs/route/lookup", remote.String())
	if err != nil {
		return netip.Addr{}, err
	}
	if _, text, ok := strings.Cut(route, "gateway "); ok {
		gateway, err := netip.ParseAddr(strings.TrimSpace(strings.SplitN(text, "\n", 2)[0]))
		if err == nil && !gateway.IsUnspecified() {
			return gateway, nil
		}
	}
	return remote, nil
}
