package doctor

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"tuplenet/internal/topology"
)

const (
	// tunnelOverhead is what a tunnel adds to a workload's IP packet: IPv4 20,
	// UDP 8, Geneve 8 with an option of 12, and the inner Ethernet header 14.
	tunnelOverhead = 62
	// smallProbe is the size of a packet that every path takes: the smallest
	// MTU of IPv4 (RFC 791).
	smallProbe = 68
	// parallelProbes is how many chassis are probed at a time.
	parallelProbes = 64
)

// checkPathMTU tells how large the packets are that get from here to every
// other chassis. Tunnels must not be fragmented, and a path that is narrower
// than the NIC loses large packets and no others. The way back is for the
// other host to check: it may be another one.
func checkPathMTU(ctx context.Context, env *Env) []Finding {
	if !env.TunnelIP.IsValid() {
		return nil
	}
	var others []topology.Chassis
	for _, c := range latest(env.chassis(ctx)) {
		if c.IP != env.TunnelIP {
			others = append(others, c)
		}
	}
	if len(others) == 0 {
		return nil
	}
	nic, err := env.nic()
	if err != nil {
		return nil
	}
	p, err := newPinger(ctx, env.TunnelIP, env.Wait)
	if err != nil {
		return []Finding{bad("", err.Error(), "run it as root, or with CAP_NET_RAW")}
	}
	defer p.close()

	full := min(nic.MTU, 0xffff) // the longest IP packet
	findings, answers := make([]Finding, len(others)), make([]bool, len(others))
	var probes errgroup.Group
	probes.SetLimit(parallelProbes)
	for i, c := range others {
		probes.Go(func() error {
			size, err := widest(full, func(size int) (bool, error) { return p.ping(ctx, c.IP, size) })
			findings[i], answers[i] = judgePath(named(c), nic.Name, full, size, err), size > 0
			return nil
		})
	}
	probes.Wait()
	env.answers = map[netip.Addr]bool{}
	for i, c := range others {
		env.answers[c.IP] = answers[i]
	}
	return findings
}

// judgePath tells what it means that a path takes size of the full bytes that
// this host sends through nic; size is 0 if nothing came back.
func judgePath(subject, nic string, full, size int, err error) Finding {
	switch {
	case err != nil:
		return bad(subject, fmt.Sprintf("cannot send to it: %v", err), "see this host's routes and firewall")
	case size == 0:
		return bad(subject, "does not answer pings, so that the path to it is unknown",
			"see whether that host is up, and let ICMP echo requests through to it")
	case size < full:
		return bad(subject, fmt.Sprintf("the path takes IP packets of at most %d bytes, and %s here sends up to %d", size, nic, full),
			fmt.Sprintf("raise the MTU on the path to %d, or set workloads to %d", full, size-tunnelOverhead))
	}
	return good(subject, "%d bytes", size)
}

// widest returns the largest size up to full, in bytes, of the IP packets that
// pass; 0 if not even small ones do.
func widest(full int, passes func(size int) (bool, error)) (int, error) {
	// The small one first: it has the next hop's MAC resolved, for which a large
	// one would wait too long.
	if ok, err := passes(smallProbe); err != nil || !ok {
		return 0, err
	}
	if ok, err := passes(full); err != nil {
		return 0, err
	} else if ok {
		return full, nil
	}
	low, high := smallProbe, full // low passes, high does not
	for high-low > 1 {
		middle := low + (high-low)/2
		ok, err := passes(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}
