package ovs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
)

// resolvePoll is how often Open vSwitch is asked whether it has an answer. It
// has within a millisecond, if the next hop is there.
const resolvePoll = time.Millisecond

// probe is a frame that says nothing, with an EtherType for experiments (IEEE
// 802). It goes into the tunnel without a logical network: who gets it drops it.
var probe = append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, 46)...)

// Resolve returns when the tunnel behind an OpenFlow port can take packets, or
// with an error when ctx ends before. Open vSwitch's userspace datapath asks for
// the MAC that a tunnel's packets go to when the first one comes, and drops it;
// so it is made to ask ahead. The kernel keeps such packets: there is nothing to
// do.
func (d *Driver) Resolve(ctx context.Context, ofport uint32, remote netip.Addr) error {
	datapath, err := d.datapath()
	if err != nil || !strings.HasPrefix(datapath, "netdev@") {
		return err
	}
	route, err := d.appctl(ctx, "ovs/route/lookup", remote.String())
	if err != nil {
		return fmt.Errorf("resolve the tunnel to %s: %w", remote, err)
	}
	hop := remote
	if _, text, ok := strings.Cut(route, "gateway "); ok {
		gateway, err := netip.ParseAddr(strings.TrimSpace(strings.SplitN(text, "\n", 2)[0]))
		if err == nil && !gateway.IsUnspecified() {
			hop = gateway
		}
	}
	for asked := false; ; asked = true {
		known, err := d.appctl(ctx, "tnl/neigh/show")
		if err != nil {
			return fmt.Errorf("resolve the tunnel to %s: %w", remote, err)
		}
		if slices.Contains(strings.Fields(known), hop.String()) {
			return nil
		}
		if !asked {
			if err := d.Inject(probe, flows.Output{Port: ofport}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("resolve the tunnel to %s: no answer from %s: %w", remote, hop, ctx.Err())
		case <-time.After(resolvePoll):
		}
	}
}
