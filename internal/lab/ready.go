package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// readyPatience bounds WaitReady.
const readyPatience = 60 * time.Second

// WaitReady waits until every agent that runs has the flows of every workload:
// its bridge then knows the workload's MAC, and the way to its chassis. Of the
// packets sent from then on none is lost for want of a flow or a neighbour.
func (l *Lab) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("no more progress after %s", readyPatience))
	defer cancel()
	for look := 0; ; look++ {
		missing, err := l.missing(ctx)
		if missing == "" && err == nil {
			return l.greetAll(ctx)
		}
		if ctx.Err() == nil && err != nil {
			return fmt.Errorf("lab %s is not ready: %w", l.Name, err)
		}
		// A look at all bridges costs more than the usual one; what takes
		// longer is looked at less often.
		for range min(2<<look, 50) {
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
	ids := map[string]uint32{}
	for _, s := range view.switches {
		ids[s.Name] = s.ID
	}
	quiet := &transcript{w: io.Discard}
	for _, h := range l.Spec.Hosts {
		host := l.on(h.Name, quiet)
		agent := l.daemon(host, Agent)
		if _, ok := agent.running(); !ok {
			if agent.stopped() {
				continue
			}
			return "", fmt.Errorf("%s ended: %s", agent, agent.lastWords())
		}
		known, err := l.lookup(ctx, host)
		if err != nil {
			return "", err
		}
		for _, w := range workloads {
			port, ok := view.ports[w.Port]
			if ok && !strings.Contains(known, lookupMatch(ids[port.Switch], port.MAC)) {
				return fmt.Sprintf("%s does not know the way to %s yet", h.Name, w.Port), nil
			}
		}
	}
	return "", nil
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

func (l *Lab) greet(ctx context.Context, h Host) error {
	echo, end := l.echo.block()
	defer end()
	host := l.on(h.Name, echo)
	if _, ok := l.daemon(host, Vswitchd).running(); !ok {
		return nil
	}
	known, err := host.output(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/show")
	if err != nil {
		return err
	}
	for _, other := range l.Spec.Hosts {
		if other.Name == h.Name || slices.Contains(strings.Fields(known), other.Address) {
			continue
		}
		// The kernel asks only for what it does not know.
		if err := host.run(ctx, "ip", "neigh", "flush", "to", other.Address, "dev", l.uplink()); err != nil {
			return err
		}
		// A host whose cable is cut does not answer, and has no part in this.
		_ = host.run(ctx, "ping", "-q", "-c", "1", "-W", "1", other.Address)
	}
	return nil
}

// lookup returns the flows by which a host's switches find ports.
func (l *Lab) lookup(ctx context.Context, host place) (string, error) {
	out, err := host.output(ctx, "ovs-ofctl", "--timeout=5", "-OOpenFlow14", "--no-stats", "dump-flows", "br-int",
		fmt.Sprintf("table=%d", flows.TableSwitchLookup))
	if err != nil && !listening(l.path(host.name, "br-int.mgmt")) {
		err = errors.Join(fmt.Errorf("%s: br-int accepts no connection", host.name), err)
	}
	return out, err
}

// lookupMatch is how ovs-ofctl prints what such a flow matches.
func lookupMatch(sw uint32, mac topology.MAC) string {
	return fmt.Sprintf("metadata=0x%x,dl_dst=%s ", sw, mac)
}
