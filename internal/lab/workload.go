package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
)

// AddWorkload makes a workload in a port, which the topology must have, and
// plugs it in on a host. It takes its address and its MAC from the port, and
// its gateway from the router port of the switch.
func (l *Lab) AddWorkload(ctx context.Context, port, host string) error {
	w := Workload{Port: port, Host: host}
	return l.change(ctx, func(s *state) error {
		if err := s.Spec.checkWorkload(w); err != nil {
			return err
		}
		for _, other := range s.Workloads {
			if other.Port == port {
				return fmt.Errorf("port %s has a workload already, on %s: unplug it first", port, other.Host)
			}
		}
		_, outside := s.Spec.outside(port)
		if _, err := s.Spec.host(port); err == nil || outside || port == physical {
			return fmt.Errorf("port %s cannot have a workload: the lab has something else of that name", port)
		}
		view, err := l.view(ctx)
		if err != nil {
			return err
		}
		w, err = l.plug(ctx, view, w)
		if err != nil {
			return err
		}
		s.Workloads = append(s.Workloads, w)
		return nil
	})
}

// RemoveWorkload unplugs the workload in a port and removes it, with all that
// runs in it. The port stays.
func (l *Lab) RemoveWorkload(ctx context.Context, port string) error {
	w, err := l.workload(port)
	if err != nil {
		return err
	}
	return l.change(ctx, func(s *state) error {
		if err := l.on(w.Host, l.echo).run(ctx, "ovs-vsctl", "--timeout=20", "--if-exists", "del-port", "br-int", device(port)); err != nil {
			return err
		}
		// With the namespace alone its end on the host would go a little later, and
		// until then be in the way of another one.
		if err := l.on(w.Host, l.echo).run(ctx, "sh", "-c", "ip link del "+device(port)+" 2>/dev/null || true"); err != nil {
			return err
		}
		if err := removeNamespace(ctx, l.echo, l.namespace(port)); err != nil {
			return err
		}
		s.Workloads = slices.DeleteFunc(s.Workloads, func(o Workload) bool { return o == w })
		return nil
	})
}

// in is the place of a workload.
func (l *Lab) in(w Workload, echo *transcript) place {
	return l.plain(w.Port, echo)
}

// defaultPrefix is the prefix length of a workload whose switch has no router.
const defaultPrefix = 24

// plug makes a workload, with a cable into its host, and plugs that into the
// integration bridge. It returns the workload with its address.
func (l *Lab) plug(ctx context.Context, v *view, w Workload) (Workload, error) {
	port, ok := v.ports[w.Port]
	if !ok {
		return w, fmt.Errorf("no switch has a port %q: make it first, with `tpctl lsp add SWITCH %[1]s IP`", w.Port)
	}
	host, err := l.Host(w.Host)
	if err != nil {
		return w, err
	}
	w.Address, w.MTU = port.IP.String(), cmp.Or(w.MTU, host.MTU-tunnelOverhead)
	echo, end := l.echo.block()
	defer end()
	inside := l.in(w, echo)
	if err := addNamespace(ctx, inside); err != nil {
		return w, err
	}
	if err := l.wire(ctx, v, w, inside, l.on(w.Host, echo)); err != nil {
		// What ended ctx must not end the cleaning up.
		return w, errors.Join(err, removeNamespace(context.WithoutCancel(ctx), echo, inside.ns))
	}
	return w, nil
}

// wire gives a workload its interface and address, and plugs the other end of
// the cable in on a host.
func (l *Lab) wire(ctx context.Context, v *view, w Workload, inside, host place) error {
	port, outside, dev := v.ports[w.Port], place{echo: host.echo}, device(w.Port)
	err := outside.all(ctx, fmt.Sprintf("ip link add eth0 netns %s mtu %d address %s type veth peer name %s netns %s mtu %[2]d", inside.ns, w.MTU, port.MAC, dev, host.ns))
	if err != nil {
		return err
	}
	prefix, routes := defaultPrefix, []string(nil)
	if gw, ok := v.gateway(port.Switch); ok {
		prefix = gw.Net.Bits()
		routes = append(routes, fmt.Sprintf("ip route add default via %s", gw.Net.Addr()))
	}
	lines := []string{
		"ip link set lo up",
		"ethtool -K eth0 tx off",
		fmt.Sprintf("ip addr add %s/%d dev eth0", port.IP, prefix),
		"ip link set eth0 addrgenmode none up", // TupleNet is IPv4 so far, and drops what IPv6 would say unasked
	}
	if err := inside.all(ctx, append(lines, routes...)...); err != nil {
		return err
	}
	return host.all(ctx,
		fmt.Sprintf("ip link set %s up", dev),
		fmt.Sprintf("ovs-vsctl --timeout=20 --may-exist add-port br-int %s -- set Interface %[1]s external_ids:iface-id=%s", dev, port.Name))
}

// device names a workload's interface on its host, in the 15 bytes that Linux
// gives it: after the port, or after a hash of it.
func device(port string) string {
	if len(port) <= 15 && !slices.Contains(hostDevices, port) {
		return port
	}
	h := fnv.New32a()
	h.Write([]byte(port))
	return fmt.Sprintf("port-%08x", h.Sum32())
}
