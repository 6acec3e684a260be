package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
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
	return 0, fmt.Errorf("MTU of the tunnels: no device of this host has the address %s", ip)
}

// followMTU sends the MTU of the device that has the address, first the present
// one and then whenever it is another, until ctx ends. While it cannot be told
// (the device may be away for a moment) the last one stands. It works in the
// network namespace of the goroutine that calls it.
func followMTU(ctx context.Context, ip netip.Addr, mtus chan<- int, log *slog.Logger) {
	sent, said := 0, ""
	tell := func() {
		mtu, err := tunnelMTU(ip)
		if err != nil {
			if err.Error() != said {
				log.Warn("cannot tell how large the packets of workloads may be", "error", err)
			}
			said = err.Error()
			return
		}
		said = ""
		if mtu != sent {
			select {
			case mtus <- mtu:
				sent = mtu
			case <-ctx.Done():
			}
		}
	}
	for {
		if err := watchLinks(ctx, tell); err != nil {
			log.Debug("subscription to the changes of devices ended, subscribing again", "error", err)
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
}

// watchLinks calls changed, once subscribed and then after every change of a
// device, until ctx ends or the kernel ends the subscription, as when changes
// come faster than they are read.
func watchLinks(ctx context.Context, changed func()) error {
	events, done, failed := make(chan netlink.LinkUpdate), make(chan struct{}), make(chan error, 1)
	options := netlink.LinkSubscribeOptions{ErrorCallback: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}}
	if err := netlink.LinkSubscribeWithOptions(events, done, options); err != nil {
		close(done)
		return err
	}
	defer func() {
		close(done)
		for range events { // lest its sender hangs
		}
	}()
	for {
		changed()
		select {
		case _, open := <-events:
			if !open {
				return <-failed
			}
		case <-ctx.Done():
			return nil
		}
	}
}
