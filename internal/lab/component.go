package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Start starts a component of a host that was stopped or killed. It waits
// until Open vSwitch can be used, but not for an agent's flows.
func (l *Lab) Start(ctx context.Context, host string, c Component) error {
	h, err := l.Host(host)
	if err != nil {
		return err
	}
	p := l.on(host, l.echo)
	switch c {
	case Agent:
		return l.startAgent(h, p)
	case Vswitchd:
		return l.restartVswitchd(ctx, p)
	case OVSDB:
		if err := l.startDB(ctx, p); err != nil {
			return err
		}
		return l.awaitVswitch(ctx, p)
	}
	return noComponent(c)
}

// Stop stops a component of a host and waits for its end. In userspace it is
// ovs-vswitchd that forwards packets, also the host's own.
func (l *Lab) Stop(ctx context.Context, host string, c Component) error {
	return l.signal(ctx, host, c, syscall.SIGTERM)
}

// Kill kills a component of a host and waits for its end.
func (l *Lab) Kill(ctx context.Context, host string, c Component) error {
	return l.signal(ctx, host, c, syscall.SIGKILL)
}

func (l *Lab) signal(ctx context.Context, host string, c Component, sig syscall.Signal) error {
	d, err := l.component(host, c)
	if err != nil {
		return err
	}
	return d.stop(ctx, sig)
}

// Restart kills a component of a host and starts it again.
func (l *Lab) Restart(ctx context.Context, host string, c Component) error {
	if err := l.Kill(ctx, host, c); err != nil {
		return err
	}
	return l.Start(ctx, host, c)
}

// Hang makes a component of a host stand still, as if it were in an endless
// loop: its connections stay open, and nobody answers.
func (l *Lab) Hang(ctx context.Context, host string, c Component) error {
	d, err := l.component(host, c)
	if err != nil {
		return err
	}
	return d.hang(ctx)
}

// Resume lets a component go on that Hang has stopped.
func (l *Lab) Resume(ctx context.Context, host string, c Component) error {
	d, err := l.component(host, c)
	if err != nil {
		return err
	}
	if err := d.resume(ctx); err != nil || c == Agent {
		return err
	}
	return l.awaitVswitch(ctx, d.place)
}

// awaitVswitch waits until ovs-vswitchd, if it works, follows the database, if
// that works. After an outage it looks for it every 8 seconds, and in userspace
// forwards nothing until then.
func (l *Lab) awaitVswitch(ctx context.Context, host place) error {
	if !l.daemon(host, OVSDB).works() || !l.daemon(host, Vswitchd).works() {
		return nil
	}
	return host.run(ctx, "ovs-vsctl", "--timeout=20", "set", "Open_vSwitch", ".", fmt.Sprintf("external_ids:lab=%d", time.Now().UnixMilli()))
}

// component finds a component of a host.
func (l *Lab) component(host string, c Component) (daemon, error) {
	if _, err := l.Host(host); err != nil {
		return daemon{}, err
	}
	if !slices.Contains(hostComponents, c) {
		return daemon{}, noComponent(c)
	}
	return l.daemon(l.on(host, l.echo), c), nil
}

// hostComponents are the daemons of a host in the order of their start.
var hostComponents = []Component{OVSDB, Vswitchd, Agent}

func noComponent(c Component) error {
	var names []string
	for _, known := range hostComponents {
		names = append(names, string(known))
	}
	return fmt.Errorf("a host has no component %q (it has %s)", c, strings.Join(names, ", "))
}

// restartVswitchd starts ovs-vswitchd of a host again and waits until its
// bridge is there, unless it has no database to read of it. It has no flows until
// the agent brings them.
func (l *Lab) restartVswitchd(ctx context.Context, host place) error {
	if err := l.startVswitchd(ctx, host); err != nil {
		return err
	}
	if !l.daemon(host, OVSDB).works() {
		return nil
	}
	return l.daemon(host, Vswitchd).await(ctx, func() bool { return listening(l.path(host.name, "br-int.mgmt")) })
}

// startAgent starts the agent of a host and does not wait for its flows.
func (l *Lab) startAgent(h Host, host place) error {
	if h.Kind == KindGateway {
		host.env = append(host.env, "GATEWAY=1", "ONDEMAND=0")
	}
	for _, k := range slices.Sorted(maps.Keys(h.Env)) {
		host.env = append(host.env, k+"="+h.Env[k])
	}
	return l.daemon(host, Agent).start("tuplenet", "agent", "--interface", l.uplink(h.Name), "--host", l.etcdAddress())
}
