package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
)

// Datapath is the type of a host's bridges, in the words of Open vSwitch.
type Datapath string

// The datapaths.
const (
	Kernel    Datapath = "system"
	Userspace Datapath = "netdev"
)

// bestDatapath returns the kernel's datapath where it is there.
func bestDatapath() Datapath {
	// Where there are no modules, or they are loaded already, this fails and
	// is needless.
	exec.Command("modprobe", "-a", "-q", "openvswitch", "vport-geneve").Run()
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return Userspace
	}
	return Kernel
}

// Where Open vSwitch's userspace datapath receives, nobody computes checksums
// that a sender left to its device; hence "ethtool -K ... tx off" on every device
// that sends. Without it ping works, and TCP and UDP do not.

// The bridge that has eth0 of a host and its address, if there is one.
const bridgePhy = "br-phy"

// hostDevices are the devices of a host that the lab makes itself.
var hostDevices = []string{"lo", "eth0", "eth1", "br-int", bridgePhy}

// agentFile has the settings of a host's agent that people change while it runs, and
// nothing at first.
const agentFile = "agent.yaml"

// on is the place of a host.
func (l *Lab) on(host string, echo *transcript) place {
	dir := l.path(host)
	return place{name: host, ns: l.namespace(host), echo: echo, env: append(l.env(l.etcdAddress()),
		"TUPLENET_CONFIG="+filepath.Join(dir, agentFile), // not what this machine has in /etc
		"TUPLENET_USER=", "TUPLENET_PASSWORD=", // which are those of whoever calls the lab
		"TUPLENET_INTERFACE="+l.uplink(host), "TUPLENET_RUNDIR="+dir, "TUPLENET_LOGDIR="+dir,
		"OVS_RUNDIR="+dir, "OVS_DBDIR="+dir, "OVS_LOGDIR="+dir)}
}

// env is what every place has in its environment.
func (l *Lab) env(endpoints string) []string {
	return []string{
		"PATH=" + l.path("bin") + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"TUPLENET_LAB=" + l.Name,
		"TUPLENET_ENDPOINTS=" + endpoints,
	}
}

// uplink is the device of a host that has its address. The userspace datapath
// routes tunnels only through a bridge of its own, so there the NIC is in one,
// which carries the address; with the kernel's only if a switch's outer port
// leads there.
func (l *Lab) uplink(host string) string {
	if l.Datapath == Userspace || slices.Contains(l.Spec.bridges(host), bridgePhy) {
		return bridgePhy
	}
	return "eth0"
}

// startHost makes a host and brings its Open vSwitch up.
func (l *Lab) startHost(ctx context.Context, h Host) error {
	echo, end := l.echo.block()
	defer end()
	host := l.on(h.Name, echo)
	if err := os.Mkdir(l.path(h.Name), 0o755); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	if err := os.WriteFile(l.path(h.Name, agentFile), []byte("# Settings of the agent, see docs/configuration.md\n"), 0o644); err != nil {
		return fmt.Errorf("settings of host %s: %w", h.Name, err)
	}
	if err := addNamespace(ctx, host); err != nil {
		return err
	}
	host.showEnv()
	if err := host.run(ctx, "ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	for i := range h.NICs {
		nic := fmt.Sprint("eth", i)
		if err := l.cable(ctx, host, nic, "br0", h.MTU); err != nil {
			return err
		}
		lines := []string{"ip link set " + nic + " up"}
		if nic != l.uplink(h.Name) {
			// It has no address and is for a bridge of Open vSwitch alone:
			// the host must not answer ARP by it, nor take packets from it.
			lines = append(lines, "sysctl -qw net.ipv4.conf."+nic+".rp_filter=1")
		}
		if err := host.all(ctx, lines...); err != nil {
			return err
		}
	}
	if err := l.startVswitch(ctx, host); err != nil {
		return err
	}
	if err := l.addBridges(ctx, h, host); err != nil {
		return err
	}
	network, uplink := l.Spec.network(), l.uplink(h.Name)
	return host.all(ctx,
		fmt.Sprintf("ip addr add %s/%d dev %s", h.Address, network.Bits(), uplink),
		"ip link set "+uplink+" up",
		fmt.Sprintf("ip route add default via %s", switchAddr(network)))
}

// startVswitch starts Open vSwitch of a host for the first time.
func (l *Lab) startVswitch(ctx context.Context, host place) error {
	if err := host.run(ctx, "ovsdb-tool", "create", l.path(host.name, "conf.db")); err != nil {
		return err
	}
	if err := l.startDB(ctx, host); err != nil {
		return err
	}
	// One thread of each kind is enough for a lab, and many hosts share the machine.
	err := host.all(ctx, "ovs-vsctl --no-wait init -- set Open_vSwitch . external_ids:system-id="+host.name+
		" other_config:n-handler-threads=1 other_config:n-revalidator-threads=1")
	if err != nil {
		return err
	}
	return l.startVswitchd(ctx, host)
}

// addBridges makes the integration bridge of a host, and those that its NICs
// are in.
func (l *Lab) addBridges(ctx context.Context, h Host, host place) error {
	line := fmt.Sprintf("ovs-vsctl --timeout=20 add-br br-int -- set Bridge br-int datapath_type=%s fail_mode=secure", l.Datapath)
	add := func(bridge, nic string) {
		line += fmt.Sprintf(" -- add-br %s -- set Bridge %[1]s datapath_type=%[2]s -- add-port %[1]s %[3]s", bridge, l.Datapath, nic)
		// Open vSwitch would leave the bridge's own device at 1500, which then
		// bounds the tunnels.
		line += fmt.Sprintf(" -- set Interface %s mtu_request=%d", bridge, h.MTU)
	}
	if l.uplink(h.Name) == bridgePhy {
		add(bridgePhy, "eth0")
	}
	for _, bridge := range l.Spec.bridges(h.Name) {
		if bridge != bridgePhy {
			add(bridge, "eth1")
		}
	}
	if err := host.all(ctx, line); err != nil || l.Datapath == Kernel {
		return err
	}
	return host.all(ctx, "ethtool -K "+bridgePhy+" tx off")
}

// ovsFlags are what both daemons of Open vSwitch are started with: they stay
// in the foreground, as the lab minds them itself, and log to files.
var ovsFlags = []string{"--pidfile", "--log-file", "--no-chdir", "-vconsole:off", "-vsyslog:off"}

func (l *Lab) startDB(ctx context.Context, host place) error {
	d := l.daemon(host, OVSDB)
	socket := filepath.Join(d.dir, "db.sock")
	argv := slices.Concat([]string{"ovsdb-server"}, ovsFlags, []string{"--remote=punix:" + socket, filepath.Join(d.dir, "conf.db")})
	if err := d.start(argv...); err != nil {
		return err
	}
	return d.await(ctx, func() bool { return listening(socket) })
}

func (l *Lab) startVswitchd(ctx context.Context, host place) error {
	d := l.daemon(host, Vswitchd)
	argv := append([]string{"ovs-vswitchd"}, ovsFlags...)
	if l.Datapath == Userspace {
		argv = append(argv, "--disable-system")
	}
	if err := d.start(append(argv, "unix:"+filepath.Join(d.dir, "db.sock"))...); err != nil {
		return err
	}
	p, _ := d.running()
	ctl := filepath.Join(d.dir, fmt.Sprintf("ovs-vswitchd.%d.ctl", p.pid))
	return d.await(ctx, func() bool { return listening(ctl) })
}

// daemon is a component of a host in its place.
func (l *Lab) daemon(p place, c Component) daemon {
	return daemon{component: c, place: p, dir: l.path(p.name)}
}
