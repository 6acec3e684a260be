package lab

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// readyPatience bounds WaitReady.
const readyPatience = 60 * time.Second

// WaitReady waits until every workload's port is bound to its host, and every
// host whose agent runs has the flows that it is to have; and until the edges
// that routes lead to are known to live. Of the packets sent from then on none is
// lost for want of a flow or a neighbour.
func (l *Lab) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("no more progress after %s", readyPatience))
	defer cancel()
	for look, missing := 0, ""; ; look++ {
		now, err := l.missing(ctx)
		switch {
		case now == "" && err == nil:
			return l.greetAll(ctx)
		case ctx.Err() == nil && err != nil:
			return fmt.Errorf("lab %s is not ready: %w", l.Name, err)
		case ctx.Err() == nil: // else the look was cut short
			missing = now
		}
		// A look at all bridges costs more than the usual one; what takes
		// longer is looked at less often.
		for range 2 << min(look, 5) {
			if err := pause(ctx); err != nil {
				return fmt.Errorf("lab %s is not ready: %s: %w", l.Name, missing, err)
			}
		}
	}
}

// missing says what is missing before the lab is ready, or nothing.
func (l *Lab) missing(ctx context.Context) (string, error) {
	workloads, err := l.Workloads()
	if err != nil {
		return "", err
	}
	view, err := l.view(ctx)
	if err != nil {
		return "", err
	}
	for _, w := range workloads {
		if to := view.ports[w.Port].Chassis; view.ports[w.Port].Name != "" && to != w.Host {
			works, err := l.works(l.on(w.Host, l.echo))
			if err != nil {
				return "", err
			}
			if works {
				return fmt.Sprintf("%s is not bound to %s yet", w.Port, w.Host), nil
			}
		}
	}
	quiet := &transcript{w: io.Discard}
	for _, h := range l.Spec.Hosts {
		host := l.on(h.Name, quiet)
		if works, err := l.works(host); err != nil {
			return "", err
		} else if !works {
			continue
		}
		if v, err := l.checkHost(ctx, host); err != nil || !v.OK {
			return v.String(), err
		}
		if missing, err := l.edgeMissing(ctx, view, h, host); missing != "" || err != nil {
			return missing, err
		}
	}
	return "", nil
}

// works reports whether nobody stopped the agent or ovs-vswitchd of a host, or
// makes it hang. One that ended by itself is an error.
func (l *Lab) works(host place) (bool, error) {
	for _, c := range []Component{Agent, Vswitchd} {
		d := l.daemon(host, c)
		p, ok := d.running()
		switch {
		case !ok && !d.stopped():
			return false, d.ended()
		case !ok, p.hangs():
			return false, nil
		}
	}
	return true, nil
}

// greetAll makes the hosts learn each other's MACs. The kernel keeps a packet
// until it knows the next hop's; Open vSwitch in userspace asks for it too, but
// drops a tunnel's first packet meanwhile. It learns from the answers to the
// host's own questions, once there are tunnels.
func (l *Lab) greetAll(ctx context.Context) error {
	if l.Datapath == Kernel {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for _, h := range l.Spec.Hosts {
		group.Go(func() error { return l.greet(ctx, h) })
	}
	return group.Wait()
}

// greet does this for one host, as often as it takes: right after its first
// tunnel was made Open vSwitch may still overlook an answer.
func (l *Lab) greet(ctx context.Context, h Host) error {
	echo, end := l.echo.block()
	defer end()
	host := l.on(h.Name, echo)
	if !l.daemon(host, Vswitchd).works() {
		return nil
	}
	tunnels, err := tunnelsOf(ctx, host)
	if err != nil {
		return err
	}
	// A host whose cable is cut does not answer, and has no part in this.
	silent := map[string]bool{}
	for {
		known, err := host.output(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/show")
		if err != nil {
			return err
		}
		learned := strings.Fields(known)
		complete := true
		for _, other := range l.Spec.Hosts {
			if len(tunnels) == 0 || other.Name == h.Name || silent[other.Address] || slices.Contains(learned, other.Address) {
				continue
			}
			complete = false
			// The kernel asks only for what it does not know.
			if err := host.run(ctx, "ip", "neigh", "flush", "to", other.Address, "dev", l.uplink(h.Name)); err != nil {
				return err
			}
			if err := host.run(ctx, "ping", "-q", "-c", "1", "-W", "1", other.Address); err != nil {
				silent[other.Address] = true
			}
		}
		if complete {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s does not learn its neighbours' MACs: %w", h.Name, err)
		}
	}
}

// tunnelsOf returns the OpenFlow ports, in hexadecimal, of a host's tunnels by
// their interfaces.
func tunnelsOf(ctx context.Context, host place) (map[string]string, error) {
	out, err := host.output(ctx, "ovs-vsctl", "--timeout=5", "--format=csv", "--no-headings", "--columns=name,ofport", "find", "Interface", "type=geneve")
	if err != nil {
		return nil, err
	}
	tunnels := map[string]string{}
	for line := range strings.Lines(out) {
		name, port, _ := strings.Cut(line, ",")
		tunnels[name] = fmt.Sprintf("0x%x", ofport(port))
	}
	return tunnels, nil
}

// ofport reads an OpenFlow port as ovs-vsctl prints it: 0 if an interface has
// none yet ("[]") or can have none ("-1").
func ofport(s string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0
	}
	return n
}
