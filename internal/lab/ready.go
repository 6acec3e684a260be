package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// readyPatience bounds WaitReady.
const readyPatience = 60 * time.Second

// WaitReady waits until every agent that runs has the flows of every workload:
// its bridge then knows the workload's MAC, and the way to its chassis.
func (l *Lab) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("no more progress after %s", readyPatience))
	defer cancel()
	for {
		missing, err := l.missing(ctx)
		if missing == "" && err == nil {
			return nil
		}
		if ctx.Err() == nil && err != nil {
			return fmt.Errorf("lab %s is not ready: %w", l.Name, err)
		}
		for range 4 { // a look at all bridges costs more than the usual pause
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
