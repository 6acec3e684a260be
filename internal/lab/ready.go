package lab

import (
	"context"
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
// its bridge then knows the workload's MAC, and the way to its chassis; and until
// the edges that routes lead to are known to live. Of the packets sent from then
// on none is lost for want of a flow or a neighbour.
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
	ids := map[string]uint32{}
	for _, s := range view.switches {
		ids[s.Name] = s.ID
	}
	quiet := &transcript{w: io.Discard}
	for _, h := range l.Spec.Hosts {
		host := l.on(h.Name, quiet)
		if works, err := l.works(host); err != nil {
			return "", err
		} else if !works {
			continue
		}
		known, err := lookup(ctx, h, host)
		if err != nil {
			return "", err
		}
		for _, w := range workloads {
			to, err := l.Host(w.Host)
			if err != nil {
				return "", err
			}
			port, ok := view.ports[w.Port]
			if ok && !known.lead(ids[port.Switch], port.MAC, to) {
				return fmt.Sprintf("%s does not know the way to %s yet", h.Name, w.Port), nil
			}
		}
		if missing, err := l.edgeMissing(ctx, view, h, host); missing != "" || err != nil {
			return missing, err
		}
	}
	return "", nil
}

// works reports whether nobody stopped the agent or ovs-vswitchd of a host. One
// that ended by itself is an error.
func (l *Lab) works(host place) (bool, error) {
	for _, c := range []Component{Agent, Vswitchd} {
		d := l.daemon(host, c)
		if _, ok := d.running(); ok {
			continue
		}
		if d.stopped() {
			return false, nil
		}
		return false, d.ended()
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
	if _, ok := l.daemon(host, Vswitchd).running(); !ok {
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
			if tunnels[tunnelPort(other.Address)] == "" || silent[other.Address] || slices.Contains(learned, other.Address) {
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
		name, ofport, _ := strings.Cut(strings.TrimSpace(line), ",")
		tunnels[name] = fmt.Sprintf("0x%x", number(ofport))
	}
	return tunnels, nil
}

// ways is what a host knows of the ways to ports.
type ways struct {
	host    Host
	flows   []string          // by which its switches find ports, as ovs-ofctl prints them
	tunnels map[string]string // see tunnelsOf
}

// lookup asks a host's Open vSwitch.
func lookup(ctx context.Context, h Host, host place) (*ways, error) {
	out, err := host.output(ctx, "ovs-ofctl", "--timeout=5", "-OOpenFlow14", "--no-stats", "dump-flows", "br-int",
		fmt.Sprintf("table=%d", flows.TableSwitchLookup))
	if err != nil {
		return nil, err
	}
	tunnels, err := tunnelsOf(ctx, host)
	return &ways{h, strings.Split(out, "\n"), tunnels}, err
}

// lead reports whether packets for a MAC in a switch are sent to a host.
func (k *ways) lead(sw uint32, mac topology.MAC, to Host) bool {
	match := fmt.Sprintf("metadata=0x%x,dl_dst=%s ", sw, mac)
	i := slices.IndexFunc(k.flows, func(f string) bool { return strings.Contains(f, match) })
	if i < 0 {
		return false
	}
	const intoTunnel = "->NXM_NX_REG6[]"
	if to.Name == k.host.Name {
		return !strings.Contains(k.flows[i], intoTunnel)
	}
	ofport, ok := k.tunnels[tunnelPort(to.Address)]
	return ok && strings.Contains(k.flows[i], "load:"+ofport+intoTunnel)
}
