package lab

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// The physical network is a namespace with a Linux bridge for each of its
// networks, and routes between them: one device that is switch and router.

// startSwitch makes the physical switch. On each network it has the first
// address; etcd listens at that of the network between the hosts.
func (l *Lab) startSwitch(ctx context.Context) error {
	echo, end := l.echo.block()
	defer end()
	phy := l.phy(echo)
	if err := addNamespace(ctx, phy); err != nil {
		return err
	}
	// A router that tells nobody a shorter way: what takes one would keep it
	// when the longer one has changed.
	lines := []string{
		"ip link set lo up",
		"sysctl -qw net.ipv4.ip_forward=1",
		"sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0",
		"sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0",
	}
	for i, network := range l.Spec.networks() {
		// A bridge takes the smallest MTU of its cables.
		bridge := fmt.Sprint("br", i)
		lines = append(lines,
			"ip link add "+bridge+" type bridge",
			"ethtool -K "+bridge+" tx off",
			fmt.Sprintf("ip addr add %s/%d dev %s", switchAddr(network), network.Bits(), bridge),
			"ip link set "+bridge+" up")
	}
	for _, r := range l.Spec.Routes {
		lines = append(lines, fmt.Sprintf("ip route add %s via %s", r.To, r.Via))
	}
	return phy.all(ctx, lines...)
}

// phy is the place of the physical switch.
func (l *Lab) phy(echo *transcript) place { return l.plain(physical, echo) }

// plain is the place of what runs no Open vSwitch: the physical switch, an
// outside machine, a workload.
func (l *Lab) plain(name string, echo *transcript) place {
	return place{name: name, ns: l.namespace(name), env: l.env(l.Endpoints()), echo: echo}
}

// startOutside makes an outside machine.
func (l *Lab) startOutside(ctx context.Context, o Outside) error {
	echo, end := l.echo.block()
	defer end()
	machine := l.plain(o.Name, echo)
	if err := addNamespace(ctx, machine); err != nil {
		return err
	}
	network := o.network()
	bridge := fmt.Sprint("br", slices.Index(l.Spec.networks(), network))
	if err := l.cable(ctx, machine, "eth0", bridge, o.MTU); err != nil {
		return err
	}
	return machine.all(ctx,
		"ip link set lo up",
		fmt.Sprintf("ip addr add %s dev eth0", o.Address),
		"ip link set eth0 addrgenmode none up", // nobody else here speaks IPv6
		fmt.Sprintf("ip route add default via %s", switchAddr(network)))
}

// cable joins a NIC of a machine, which it makes, to a bridge of the physical
// switch. The cable is made where its ends belong, so that no other interface of
// this machine has to make way for it.
func (l *Lab) cable(ctx context.Context, machine place, nic, bridge string, mtu int) error {
	phy, end := l.phy(machine.echo), cableEnd(machine.name, nic)
	err := place{echo: machine.echo}.all(ctx, fmt.Sprintf("ip link add %s netns %s mtu %d type veth peer name %s netns %s mtu %[3]d",
		nic, machine.ns, mtu, end, phy.ns))
	if err != nil {
		return err
	}
	if err := phy.run(ctx, "ip", "link", "set", end, "master", bridge, "up"); err != nil {
		return err
	}
	return machine.run(ctx, "ethtool", "-K", nic, "tx", "off")
}

// cableEnd names the end of a machine's cable at the physical switch.
func cableEnd(machine, nic string) string {
	if nic == "eth0" {
		return machine
	}
	return machine + "-" + nic
}

// CutLink pulls the cable of a NIC (by default eth0) of a host or an outside
// machine out of the physical switch.
func (l *Lab) CutLink(ctx context.Context, machine, nic string) error {
	return l.setLink(ctx, machine, nic, "down")
}

// JoinLink plugs it in again.
func (l *Lab) JoinLink(ctx context.Context, machine, nic string) error {
	return l.setLink(ctx, machine, nic, "up")
}

func (l *Lab) setLink(ctx context.Context, machine, nic, state string) error {
	nics := []string{"eth0"}
	if _, ok := l.Spec.outside(machine); !ok {
		h, err := l.Host(machine)
		if err != nil {
			return err
		}
		if h.NICs == 2 {
			nics = append(nics, "eth1")
		}
	}
	nic = cmp.Or(nic, "eth0")
	if !slices.Contains(nics, nic) {
		return fmt.Errorf("%s has no NIC %q (it has %s)", machine, nic, strings.Join(nics, ", "))
	}
	return l.phy(l.echo).run(ctx, "ip", "link", "set", cableEnd(machine, nic), state)
}
