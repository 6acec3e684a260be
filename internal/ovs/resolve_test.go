package ovs

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/ovs/ovstest"
)

// isolated returns an Open vSwitch whose bridge has the userspace datapath, and
// its driver with these tunnels.
func isolated(t *testing.T, want []TunnelSpec) (*ovstest.OVS, *Driver) {
	t.Helper()
	o := ovstest.StartIsolated(t)
	d, _ := openWith(t, Config{RunDir: o.RunDir(), DatapathType: "netdev"})
	setTunnels(t, d, want...)
	awaitTunnels(t, d, want...)
	awaitPackets(t, d)
	return o, d
}

// awaitNeighbours waits until the MACs of next hops are known.
func awaitNeighbours(t *testing.T, d *Driver, hops ...netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		known, err := d.tunnelNeighbours(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(hops, func(hop netip.Addr) bool { return !known[hop] }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the MACs of %v are not known, but those of %v", hops, known)
		}
	}
}

func remotes(tunnels []Tunnel) (addrs []netip.Addr) {
	for _, t := range tunnels {
		addrs = append(addrs, t.RemoteIP)
	}
	return addrs
}

func TestResolve(t *testing.T) {
	t.Parallel()
	o, d := isolated(t, manyTunnels(resolveAtOnce+50, 0)[2:]) // not this host's own address
	all := d.Tunnels()
	resolve := func(tunnels []Tunnel, want ...Tunnel) {
		t.Helper()
		got, err := d.Resolve(t.Context(), tunnels)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Resolve returns %v, %v, want %v", remotes(got), err, remotes(want))
		}
	}
	// Without an address nothing can be asked for.
	got, err := d.Resolve(t.Context(), all)
	if len(got) != len(all) || err == nil || !strings.Contains(err.Error(), "resolve the tunnel to 10.0.0.2") {
		t.Errorf("without a route: %d of %d tunnels, %v", len(got), len(all), err)
	}
	o.Underlay()
	asked, later := all[:resolveAtOnce], all[resolveAtOnce:]
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := d.nextHop(t.Context(), all[0].RemoteIP); err == nil {
			break // ovs-vswitchd has seen the address
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	resolve(all, slices.Concat(later, asked)...)
	awaitNeighbours(t, d, remotes(asked)...)
	known, err := d.tunnelNeighbours(t.Context())
	if err != nil || len(known) != len(asked) {
		t.Errorf("%d neighbours, %v, want %d", len(known), err, len(asked))
	}
	resolve(slices.Concat(later, asked), later...)
	awaitNeighbours(t, d, remotes(later)...)
	resolve(all)
}

// TestResolveGateway: behind a gateway it is that one's MAC that counts.
func TestResolveGateway(t *testing.T) {
	t.Parallel()
	o, d := isolated(t, []TunnelSpec{spec("hv2", "172.16.0.2"), spec("hv3", "172.16.0.3")})
	o.Underlay()
	gateway := netip.MustParseAddr("10.0.0.254")
	o.Exec("ip", "route", "add", "172.16.0.0/16", "via", gateway.String())
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		hop, err := d.nextHop(t.Context(), netip.MustParseAddr("172.16.0.2"))
		if hop == gateway {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the next hop is %v, %v, want %v", hop, err, gateway)
		}
	}
	if got, err := d.Resolve(t.Context(), d.Tunnels()[:1]); len(got) != 1 || err != nil {
		t.Errorf("Resolve returns %v, %v before the gateway is known", remotes(got), err)
	}
	awaitNeighbours(t, d, gateway)
	if got, err := d.Resolve(t.Context(), d.Tunnels()); len(got) > 0 || err != nil {
		t.Errorf("Resolve returns %v, %v though the gateway is known", remotes(got), err)
	}
}

// TestResolveKernel: the kernel's datapath, for which the dummy one passes here,
// needs nothing.
func TestResolveKernel(t *testing.T) {
	t.Parallel()
	d, _ := open(t, ovstest.Start(t))
	hv2 := spec("hv2", "10.0.0.2")
	setTunnels(t, d, hv2)
	awaitTunnels(t, d, hv2)
	if got, err := d.Resolve(t.Context(), d.Tunnels()); len(got) > 0 || err != nil {
		t.Errorf("Resolve returns %v, %v", remotes(got), err)
	}
}
