package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// geneveOverhead is what a tunnel puts around a workload's IP packet, in bytes:
// outer IPv4 20, UDP 8, Geneve 8 with an option of 12 (RFC 8926), inner
// Ethernet 14.
const geneveOverhead = 20 + 8 + 8 + 12 + 14

// workloadMTU returns the largest IP packet of a workload that fits into a
// tunnel, given the MTU of the device that carries the tunnels; 0, unknown, if
// that is unknown or leaves no room.
func workloadMTU(nic int) int { return max(0, nic-geneveOverhead) }

var errNoDevice = errors.New("no device of this host has the address")

// tunnelMTU returns the MTU of the device that has the address, in bytes.
func tunnelMTU(ip netip.Addr) (int, error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, fmt.Errorf("MTU of the tunnels: addresses of this host: %w", err)
	}
	for _, a := range addrs {
		if own, ok := netip.AddrFromSlice(a.IP); !ok || own.Unmap() != ip {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("MTU of the tunnels: device of address %s: %w", ip, err)
		}
		return link.Attrs().MTU, nil
	}
	return 0, fmt.Errorf("MTU of the tunnels: %w %s", errNoDevice, ip)
}

// nic is what the tunnels leave by.
type nic struct {
	ip  netip.Addr // their address
	mtu int        // of the device that has it, in bytes; 0 if it cannot be told
}

// addressSettle is for how long another address has to be the only one before
// it is that of the tunnels: a device may be without its own for a moment.
const addressSettle = 500 * time.Millisecond

// nicFollower finds out what the tunnels leave by.
type nicFollower struct {
	spec string // see TunnelAddress; an address, or nothing, keeps ip as it is
	log  *slog.Logger

	now   nic
	other netip.Addr // that is there in place of now.ip
	since time.Time  // when other was seen first
	said  string     // what is wrong, if that was said
}

// followNIC sends what the tunnels leave by, first what it is at the start, ip
// being their address, and then whenever it is something else, until ctx ends.
// An address is kept until it is gone from the interfaces of spec and another
// one is there, an MTU until another one is known. followNIC works in the network
// namespace of the goroutine that calls it.
func followNIC(ctx context.Context, spec string, ip netip.Addr, nics chan<- nic, log *slog.Logger) {
	f := &nicFollower{spec: spec, now: nic{ip: ip}, log: log}
	var sent nic
	look := func() (again time.Duration) {
		again = f.look()
		if f.now != sent && f.now.mtu != 0 {
			select {
			case nics <- f.now:
				sent = f.now
			case <-ctx.Done():
			}
		}
		return again
	}
	for {
		if err := watchDevices(ctx, look); err != nil {
			log.Debug("subscription to the changes of devices ended, subscribing again", "error", err)
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
}

// look brings now up to date. It returns when to look again though nothing
// changes, or 0.
func (f *nicFollower) look() (again time.Duration) {
	again = f.lookForAddress()
	mtu, err := tunnelMTU(f.now.ip)
	switch {
	case err == nil:
		if f.said != "" {
			f.log.Info("the device of the tunnels is there again", "ip", f.now.ip, "mtu", mtu)
		}
		f.said, f.now.mtu = "", mtu
	case err.Error() == f.said:
	case errors.Is(err, errNoDevice):
		f.said = err.Error()
		f.log.Warn("this host has lost the address of its tunnels, waiting for it to come back, or for another one where --interface names no address",
			"ip", f.now.ip, "interface", f.spec)
	default:
		f.said = err.Error()
		f.log.Warn("cannot tell how large the packets of workloads may be", "error", err)
	}
	return again
}

// lookForAddress changes the address of the tunnels if it has become another
// one, and returns when to look again.
func (f *nicFollower) lookForAddress() (again time.Duration) {
	if _, err := netip.ParseAddr(f.spec); err == nil || f.spec == "" {
		return 0
	}
	all, _ := interfaceAddresses(f.spec) // without an answer the address stays
	if len(all) == 0 || slices.Contains(all, f.now.ip) {
		f.other = netip.Addr{}
		return 0
	}
	if all[0] != f.other {
		f.other, f.since = all[0], time.Now()
	}
	if wait := addressSettle - time.Since(f.since); wait > 0 {
		return wait
	}
	f.now, f.other, f.said = nic{ip: f.other}, netip.Addr{}, ""
	return 0
}

// watchDevices calls look once subscribed, and then after every change of a
// device or of an address and whenever look wants it, until ctx ends or the
// kernel ends a subscription, as when changes come faster than they are read.
func watchDevices(ctx context.Context, look func() (again time.Duration)) error {
	failed := make(chan error, 2)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	links, addresses, done := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("changes of devices: %w", err)
	}
	defer drain(links)
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("changes of addresses: %w", err)
	}
	defer drain(addresses)
	for {
		var timer <-chan time.Time
		if again := look(); again > 0 {
			timer = time.After(again)
		}
		open := true
		select {
		case _, open = <-links:
		case _, open = <-addresses:
		case <-timer:
		case <-ctx.Done():
			return nil
		}
		if !open {
			return <-failed
		}
	}
}

// drain reads what still comes, lest its sender hangs, until its end.
func drain[E any](events <-chan E) {
	go func() {
		for range events {
		}
	}()
}
