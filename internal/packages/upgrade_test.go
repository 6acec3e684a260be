//go:build packages

package packages

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	distDir  = flag.String("dist", "", "directory of packages")
	newerDir = flag.String("newer", "", "directory of the same packages of a later version")
	rootDir  = flag.String("root", "", "directory of a root file system, which nothing is written to")
)

// pkg returns the path of the package for this machine, of a format (deb or rpm).
func pkg(t *testing.T, dir, format string) string {
	t.Helper()
	arch := strings.TrimSpace(must(t, exec.Command("dpkg", "--print-architecture")))
	if format == "rpm" {
		arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	}
	found, err := filepath.Glob(filepath.Join(dir, "tuplenet*"+arch+"."+format))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages in %s: %q, %v", dir, found, err)
	}
	return found[0]
}

// TestLifeOfAHost is the life of the package on two hosts: a node, which has etcd, too,
// and an edge. A ping goes on between their workloads while the package is upgraded,
// agents hang, and the package is removed.
func TestLifeOfAHost(t *testing.T) {
	alice, bob := start(t, "alice"), start(t, "bob")
	cable(t, alice, bob)
	for i, m := range []*machine{alice, bob} {
		m.prepareSwitch(fmt.Sprintf("192.168.50.%d/24", i+1))
		m.install(pkg(t, *distDir, "deb"))
		for _, unit := range []string{"tuplenet", "tuplenet-gateway", "tuplenet-etcd", "tuplenet-cnm"} {
			if m.isActive(unit) {
				t.Errorf("%s: %s runs without having been started", m.name, unit)
			}
		}
		m.write("/etc/tuplenet/agent.yaml", "endpoints: 192.168.50.1:2379\ninterface: br-phy\n")
		m.write("/etc/tuplenet/client.yaml", "endpoints: 192.168.50.1:2379\n")
	}

	alice.write("/etc/tuplenet/etcd.env", "TUPLENET_ETCD_LISTEN_CLIENT=http://192.168.50.1:2379,http://127.0.0.1:2379\n")
	alice.run("systemctl enable --now tuplenet-etcd tuplenet 2>&1")
	bob.run("systemctl enable --now tuplenet-gateway 2>&1")
	alice.run(`tpctl ls add LS; tpctl lr add LR; tpctl lr link LR LS 10.20.1.254/24; tpctl lsp add LS lsp-alice 10.20.1.1; tpctl lsp add LS lsp-bob 10.20.1.2`)
	alice.plug("lsp-alice", "10.20.1.1")
	bob.plug("lsp-bob", "10.20.1.2")

	t.Run("services", func(t *testing.T) {
		// One agent takes the place of the other.
		bob.run("systemctl start tuplenet")
		if bob.isActive("tuplenet-gateway") || !bob.isActive("tuplenet") {
			t.Error("tuplenet and tuplenet-gateway both run, or none of them")
		}
		bob.run("systemctl start tuplenet-gateway")
		if !bob.isActive("tuplenet-gateway") || bob.isActive("tuplenet") {
			t.Error("tuplenet and tuplenet-gateway both run, or none of them")
		}
		alice.run("systemctl start tuplenet-cnm; test -S /run/docker/plugins/tuplenet.sock")
		if status := bob.property("tuplenet-gateway", "StatusText"); status != "all is in place" {
			t.Errorf("the agent's status is %q", status)
		}
	})
	ping := alice.ping("10.20.1.2")

	t.Run("sandbox", func(t *testing.T) {
		// Untunnel mode takes all that an agent may need: devices, addresses, sysctls.
		bob.write("/etc/tuplenet/agent.yaml", "endpoints: 192.168.50.1:2379\ninterface: br-phy\nuntunnel: true\n")
		bob.run("systemctl reload tuplenet-gateway")
		within(t, 10*time.Second, func() error {
			if made := bob.run("cat /proc/sys/net/ipv4/ip_forward; ip -br addr show"); !strings.HasPrefix(made, "1") || !strings.Contains(made, "br-int-dsrgw") {
				return fmt.Errorf("untunnel mode has not made what it needs:\n%s", made)
			}
			return nil
		})
		for _, m := range []*machine{alice, bob} {
			if log := m.run("journalctl --no-pager -u 'tuplenet*'"); strings.Contains(log, "level=ERROR") || strings.Contains(log, "not permitted") {
				t.Errorf("%s's services complain:\n%s", m.name, log)
			}
		}
		ping.check(t)
	})

	t.Run("watchdog", func(t *testing.T) {
		bob.run(`mkdir -p /run/systemd/system/tuplenet-gateway.service.d
			printf '[Service]\nWatchdogSec=2\nTimeoutStopSec=1\n' >/run/systemd/system/tuplenet-gateway.service.d/test.conf
			systemctl daemon-reload; systemctl restart tuplenet-gateway`)
		hung := bob.property("tuplenet-gateway", "MainPID")
		bob.run("kill -STOP %s; ovs-vsctl set Open_vSwitch . other_config:flow-restore-wait=true external_ids:tuplenet-restore=true", hung)
		within(t, 20*time.Second, func() error {
			if bob.property("tuplenet-gateway", "NRestarts") == "0" || bob.property("tuplenet-gateway", "MainPID") == hung || !bob.isActive("tuplenet-gateway") {
				return errors.New("an agent that hangs is not started anew")
			}
			return nil
		})
		// One that is killed for good leaves nothing that ovs-vswitchd would wait for.
		bob.run(`kill -STOP $(systemctl show --value -p MainPID tuplenet-gateway)
			ovs-vsctl set Open_vSwitch . other_config:flow-restore-wait=true external_ids:tuplenet-restore=true
			systemctl stop tuplenet-gateway`)
		if held := bob.run("ovs-vsctl get Open_vSwitch . other_config"); strings.Contains(held, "restore") {
			t.Errorf("ovs-vswitchd would wait: %s", held)
		}
		bob.run("systemctl start tuplenet-gateway")
		ping.check(t)
	})

	t.Run("upgrade", func(t *testing.T) {
		for m, units := range map[*machine][]string{alice: {"tuplenet", "tuplenet-etcd", "tuplenet-cnm"}, bob: {"tuplenet-gateway"}} {
			before := map[string]string{}
			for _, unit := range units {
				before[unit] = m.property(unit, "MainPID")
			}
			m.install(pkg(t, *newerDir, "deb"))
			for _, unit := range units {
				if !m.isActive(unit) || m.property(unit, "MainPID") == before[unit] {
					t.Errorf("%s on %s does not run with the new version", unit, m.name)
				}
			}
			if text := m.run("cat /etc/tuplenet/agent.yaml"); !strings.HasPrefix(text, "endpoints: 192.168.50.1") {
				t.Errorf("the settings of %s have been replaced:\n%s", m.name, text)
			}
		}
		if bob.isActive("tuplenet") {
			t.Error("the upgrade has started what did not run")
		}
		ping.check(t)
	})

	t.Run("remove", func(t *testing.T) {
		bob.run("dpkg -r tuplenet 2>&1")
		bob.run("test ! -e /usr/bin/tuplenet; test ! -e /usr/lib/systemd/system/tuplenet.service")
		if out, err := bob.command("pgrep", "tuplenet").Output(); err == nil {
			t.Errorf("the agent still runs: %s", out)
		}
		ping.check(t)
	})

	t.Run("install anew", func(t *testing.T) {
		bob.install(pkg(t, *newerDir, "deb"))
		bob.run("test ! -e /var/lib/tuplenet/removed; systemctl is-enabled tuplenet-gateway; systemctl start tuplenet-gateway")
		ping.check(t)
	})

	t.Run("purge", func(t *testing.T) {
		// What others have in the bridge is theirs.
		bob.run("ovs-ofctl add-flow br-int table=201,priority=7,cookie=0x77,actions=drop; ovs-vsctl add-port br-int theirs -- set Interface theirs type=internal")
		t.Log(bob.run("dpkg --purge tuplenet 2>&1"))
		flows := bob.run("ovs-ofctl --no-stats dump-flows br-int")
		if !strings.Contains(flows, "cookie=0x77") || strings.Count(flows, "cookie") != 1 {
			t.Errorf("flows that are left, and should be theirs alone:\n%s", flows)
		}
		ports := bob.run("ovs-vsctl list-ports br-int")
		if ports != "lsp-bob\ntheirs\n" {
			t.Errorf("ports that are left:\n%s", ports)
		}
		bob.run(`test "$(cat /proc/sys/net/ipv4/ip_forward)" = 0
			for path in /etc/tuplenet /run/tuplenet /var/lib/tuplenet /var/log/tuplenet; do ! ls -R $path 2>/dev/null; done
			! find /etc/systemd /usr/share /var/lib/systemd -name '*tuplenet*' | grep .`)
		ping.stops(t)
	})

	t.Run("purge without Open vSwitch", func(t *testing.T) {
		alice.run("systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server")
		told := alice.run("dpkg --purge tuplenet 2>&1")
		if !strings.Contains(told, "install the package again and run tuplenet cleanup") {
			t.Errorf("it says nothing of what is left:\n%s", told)
		}
		alice.run("test -d /var/lib/tuplenet/etcd/member; test ! -e /var/lib/tuplenet/removed; test ! -e /etc/tuplenet")
	})
}

// cable joins the network cards eth0 of two machines. It is wide enough for tunnels.
func cable(t *testing.T, a, b *machine) {
	t.Helper()
	ends := []string{fmt.Sprintf("tp%sa", a.pid), fmt.Sprintf("tp%sb", a.pid)}
	must(t, exec.Command("ip", "link", "add", ends[0], "mtu", "1600", "type", "veth", "peer", "name", ends[1], "mtu", "1600"))
	for i, m := range []*machine{a, b} {
		must(t, exec.Command("ip", "link", "set", ends[i], "netns", m.pid, "name", "eth0"))
		m.run("ip link set eth0 up")
		m.withoutChecksums("eth0")
	}
}

// withoutChecksums has a device of the machine send with checksums, which nobody would
// add in userspace.
func (m *machine) withoutChecksums(device string) {
	m.t.Helper()
	must(m.t, exec.Command("nsenter", "-t", m.pid, "--net", "ethtool", "-K", device, "tx", "off"))
}

// prepareSwitch is what an operator has done before TupleNet comes: Open vSwitch runs,
// here with its datapath in userspace, which has its network card and address.
func (m *machine) prepareSwitch(address string) {
	m.t.Helper()
	m.run(`echo 0 >/proc/sys/net/ipv4/ip_forward
		ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy eth0 -- \
			add-br br-int -- set bridge br-int datapath_type=netdev
		ip addr add %s dev br-phy; ip link set br-phy up mtu 1600`, address)
	m.withoutChecksums("br-phy")
}

// plug makes a workload on the machine, in a namespace that has the port's name.
func (m *machine) plug(port, address string) {
	m.t.Helper()
	m.run(`ip netns add %[1]s; ip link add %[1]s type veth peer name eth0 netns %[1]s; ip link set %[1]s up
		ip -n %[1]s addr add %[2]s/24 dev eth0; ip -n %[1]s link set eth0 address $(printf f2:01:%%02x:%%02x:%%02x:%%02x $(echo %[2]s | tr . ' ')) mtu 1400 up
		ovs-vsctl add-port br-int %[1]s -- set Interface %[1]s external_ids:iface-id=%[1]s`, port, address)
}

// pinging is a ping that goes on.
type pinging struct{ log string }

// ping pings from the workload of alice once packets pass.
func (m *machine) ping(address string) *pinging {
	m.t.Helper()
	within(m.t, 30*time.Second, func() error {
		out, err := m.command("ip", "netns", "exec", "lsp-alice", "ping", "-c1", "-W1", address).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ping: %w\n%s", err, out)
		}
		return nil
	})
	log, err := os.Create(filepath.Join(m.t.TempDir(), "ping"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	cmd := m.command("ip", "netns", "exec", "lsp-alice", "ping", "-n", "-i", "0.02", address)
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &pinging{log.Name()}
}

var sequence = regexp.MustCompile(`icmp_seq=(\d+)`)

// answered returns which packets were answered, and the last of them.
func (p *pinging) answered(t *testing.T) (seen map[int]bool, last int) {
	t.Helper()
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	seen = map[int]bool{}
	for _, found := range sequence.FindAllSubmatch(log, -1) {
		n, _ := strconv.Atoi(string(found[1]))
		seen[n] = true
		last = max(last, n)
	}
	return seen, last
}

// check finds out that packets pass, and that none has been lost so far.
func (p *pinging) check(t *testing.T) {
	t.Helper()
	_, before := p.answered(t)
	within(t, 5*time.Second, func() error {
		seen, last := p.answered(t)
		if last < before+10 {
			return errors.New("packets do not pass any more")
		}
		var lost []int
		for n := 1; n < before; n++ {
			if !seen[n] {
				lost = append(lost, n)
			}
		}
		if len(lost) > 0 {
			return fmt.Errorf("of %d packets these were lost: %d", before, lost)
		}
		return nil
	})
}

// stops waits until no packet is answered any more.
func (p *pinging) stops(t *testing.T) {
	t.Helper()
	within(t, 10*time.Second, func() error {
		_, before := p.answered(t)
		time.Sleep(500 * time.Millisecond)
		if _, last := p.answered(t); last > before {
			return errors.New("packets pass where there is nothing of TupleNet")
		}
		return nil
	})
}
