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

// cableMTU leaves room for Geneve around a workload's 1500 bytes.
const cableMTU = "1600"

// startSwitch makes the physical switch: a Linux bridge in a namespace. It
// carries the network's first address, where etcd listens.
func (l *Lab) startSwitch(ctx context.Context) error {
	echo, end := l.echo.block()
	defer end()
	phy, network := l.phy(echo), l.Spec.network()
	if err := addNamespace(ctx, phy); err != nil {
		return err
	}
	return phy.all(ctx,
		"ip link set lo up",
		"ip link add br0 mtu "+cableMTU+" type bridge",
		"ethtool -K br0 tx off",
		fmt.Sprintf("ip addr add %s/%d dev br0", switchAddr(network), network.Bits()),
		"ip link set br0 up")
}

// phy is the place of the physical switch.
func (l *Lab) phy(echo *transcript) place {
	return place{name: physical, ns: l.namespace(physical), env: l.env(l.etcdSocketURL()), echo: echo}
}

// on is the place of a host.
func (l *Lab) on(host string, echo *transcript) place {
	dir := l.path(host)
	return place{name: host, ns: l.namespace(host), echo: echo, env: append(l.env(l.etcdAddress()),
		"TUPLENET_INTERFACE="+l.uplink(), "TUPLENET_RUNDIR="+dir, "TUPLENET_LOGDIR="+dir,
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
// which carries the address.
func (l *Lab) uplink() string {
	if l.Datapath == Userspace {
		return "br-phy"
	}
	return "eth0"
}

// startHost makes a host and brings its Open vSwitch up.
func (l *Lab) startHost(ctx context.Context, h Host) error {
	echo, end := l.echo.block()
	defer end()
	outside, host, phy := place{echo: echo}, l.on(h.Name, echo), l.phy(echo)
	if err := os.Mkdir(l.path(h.Name), 0o755); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	// The cable is made where its ends belong, so that no other interface of
	// the machine has to make way for it.
	if err := addNamespace(ctx, host); err != nil {
		return err
	}
	err := outside.all(ctx, fmt.Sprintf("ip link add eth0 netns %s mtu %s type veth peer name %s netns %s mtu %[2]s", host.ns, cableMTU, h.Name, phy.ns))
	if err != nil {
		return err
	}
	host.showEnv()
	if err := phy.run(ctx, "ip", "link", "set", h.Name, "master", "br0", "up"); err != nil {
		return err
	}
	if err := host.all(ctx, "ip link set lo up", "ethtool -K eth0 tx off", "ip link set eth0 up"); err != nil {
		return err
	}
	if err := host.run(ctx, "ovsdb-tool", "create", l.path(h.Name, "conf.db")); err != nil {
		return err
	}
	if err := l.startDB(ctx, host); err != nil {
		return err
	}
	// One thread of each kind is enough for a lab, and many hosts share the machine.
	err = host.all(ctx, "ovs-vsctl --no-wait init -- set Open_vSwitch . external_ids:system-id="+h.Name+
		" other_config:n-handler-threads=1 other_config:n-revalidator-threads=1")
	if err != nil {
		return err
	}
	if err := l.startVswitchd(ctx, host); err != nil {
		return err
	}
	bridges := fmt.Sprintf("ovs-vsctl --timeout=20 add-br br-int -- set Bridge br-int datapath_type=%s fail_mode=secure", l.Datapath)
	if l.Datapath == Userspace {
		bridges += fmt.Sprintf(" -- add-br br-phy -- set Bridge br-phy datapath_type=%s -- add-port br-phy eth0", l.Datapath)
	}
	if err := host.all(ctx, bridges); err != nil {
		return err
	}
	if l.Datapath == Userspace {
		if err := host.all(ctx, "ethtool -K br-phy tx off"); err != nil {
			return err
		}
	}
	return host.all(ctx,
		fmt.Sprintf("ip addr add %s/%d dev %s", h.Address, l.Spec.network().Bits(), l.uplink()),
		"ip link set "+l.uplink()+" up")
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

// daemon is a component in its place.
func (l *Lab) daemon(p place, c Component) daemon {
	dir := l.path(p.name)
	if c == Etcd {
		dir = l.path("etcd")
	}
	return daemon{component: c, place: p, dir: dir}
}
