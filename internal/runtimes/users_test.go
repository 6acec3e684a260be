package runtimes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/lab"
)

// secret is the password of etcd's user root, where etcd authenticates.
const secret = "secret"

// tpctl runs tpctl on host-alice: where etcd authenticates, as an operator.
func (c *cluster) tpctl(args ...string) (string, error) {
	c.t.Helper()
	if c.keyring == "" {
		return c.Exec(c.t.Context(), "host-alice", append([]string{"tpctl"}, args...)...)
	}
	return c.tpctlAs(filepath.Join(c.keyring, "client-operator.yaml"), args...)
}

// tpctlAs is tpctl as the user in a file.
func (c *cluster) tpctlAs(file string, args ...string) (string, error) {
	c.t.Helper()
	return c.Exec(c.t.Context(), "host-alice", append([]string{"env", "TUPLENET_CONFIG=" + file, "tpctl"}, args...)...)
}

// agentFile has the user of a host's agent.
func (c *cluster) agentFile(host string) string { return filepath.Join(c.Dir, host, "agent.yaml") }

// auth runs tpctl auth as root, and has the users' passwords written into the keyring.
func (c *cluster) auth(verb string, args ...string) {
	c.t.Helper()
	root := filepath.Join(c.keyring, "root.txt")
	c.do(os.WriteFile(root, []byte(secret+"\n"), 0o600))
	command := append([]string{"auth", verb, "--root-password-file", root}, args...)
	if verb == "setup" || verb == "add" {
		command = append(command, "--directory", c.keyring)
	}
	_, err := c.Exec(c.t.Context(), "host-alice", append([]string{"tpctl"}, command...)...)
	c.do(err)
}

// authenticate gives users to a cluster whose etcd knew none, as docs/security.md
// has it: one to each agent, and what auth makes of further ones. Then etcd asks for
// them.
func (c *cluster) authenticate(further ...[]string) {
	c.t.Helper()
	c.keyring = c.t.TempDir()
	c.auth("setup", "--yes")
	for _, user := range further {
		c.auth("add", user...)
	}
	for _, h := range c.Spec.Hosts {
		c.do(os.Rename(filepath.Join(c.keyring, "agent-"+h.Name+".yaml"), c.agentFile(h.Name)))
		c.do(c.Restart(c.t.Context(), h.Name, lab.Agent))
	}
	c.do(c.WaitReady(c.t.Context()))
	c.auth("enable")
}

// takeRole takes a role from a user again, such as "plugin/LS_A".
func (c *cluster) takeRole(user, role string) {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	_, err := client.UserRevokeRole(c.t.Context(), user, "/tuplenet/"+role)
	c.do(err)
}

// client connects to etcd, as root where it authenticates.
func (c *cluster) client() *clientv3.Client {
	c.t.Helper()
	cfg := clientv3.Config{Endpoints: strings.Split(c.Endpoints(), ",")}
	if c.keyring != "" {
		cfg.Username, cfg.Password = "root", secret
	}
	client, err := clientv3.New(cfg)
	c.do(err)
	return client
}

// said returns the lines of a host's agent's log that have a text in them.
func (c *cluster) said(host, text string) (lines []string) {
	c.t.Helper()
	log, err := os.ReadFile(filepath.Join(c.Dir, host, "tuplenet.log"))
	c.do(err)
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// podsConf is the configuration of a network of pods, as cni install writes it.
const podsConf = `{"cniVersion": "1.1.0", "name": "pods", "type": "tpcni", "switchname": %q}`

// podOn is an attachment of a new pod to a switch.
func (m *machine) podOn(sw, name string) attachment {
	m.t.Helper()
	a := m.attachment(name)
	a.conf = fmt.Sprintf(podsConf, sw)
	return a
}

// reaches waits until a namespace reaches an address.
func (m *machine) reaches(netns, to string) {
	m.t.Helper()
	m.await(netns+" reaches "+to, "ip", "netns", "exec", netns, "ping", "-c", "1", "-W", "1", to)
}

// lacks is how a user is told that it has no role for a switch.
func lacks(user, sw string) string {
	return fmt.Sprintf("permission denied; user %s lacks the role of a plugin for switch %s: tpctl auth add %[1]s --plugin %[2]s", user, sw)
}

// TestUsers attaches pods where etcd authenticates. The agents of both hosts have
// a user, at first only alice's with the role for the switch.
func TestUsers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice, bob := c.machines[0], c.machines[1]
	c.authenticate([]string{"host-alice", "--plugin", "LS_A"})

	// Without the role there is one sentence, and nothing else.
	pod := bob.podOn("LS_A", "pod")
	_, err := pod.add()
	wantCode(t, err, 105, "creating switch LS_A port lsp-eth0-pod: etcd at", lacks("host-bob", "LS_A"))
	if out := bob.inside("pod", "ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("the namespace has an interface: %s", out)
	}
	c.nothingLeft()
	_, err = pod.call(t.Context(), "STATUS")
	wantCode(t, err, 50, "host-bob may be plugin LS_A", lacks("host-bob", "LS_A"))

	// It is good as soon as it is given.
	c.auth("add", "host-bob", "--plugin", "LS_A")
	there := pod.mustAdd()
	alice.netns("first")
	alice.write("/etc/cni/net.d/pods.conflist", fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "pods", "plugins": [%s]}`, fmt.Sprintf(podsConf, "LS_A")))
	result, err := alice.cnitool("add", "pods", "first")
	c.do(err)
	here, err := addressOf([]byte(result))
	c.do(err)
	reach := func() {
		t.Helper()
		alice.reaches("first", there.String())
		bob.reaches("pod", here.String())
		bob.reaches("pod", "172.16.1.10")
	}
	reach()
	for _, verb := range []string{"check", "status"} {
		if _, err := alice.cnitool(verb, "pods", "first"); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	c.do(c.Restart(t.Context(), "host-alice", lab.Agent))
	reach()
	if shown, err := c.tpctl("lsp", "show", "LS_A", "--filter", "ip="+here.String()); err != nil || !strings.Contains(shown, "host-alice") {
		t.Errorf("tpctl lsp show: %v %s", err, shown)
	}

	// What is left behind while no agent runs goes when it does.
	left := bob.podOn("LS_A", "left")
	left.mustAdd()
	c.do(c.Stop(t.Context(), "host-bob", lab.Agent))
	bob.run("ip", "netns", "del", "left")
	c.do(c.Start(t.Context(), "host-bob", lab.Agent))
	c.eventually(func() string {
		if slices.Contains(c.containers(), "left") {
			return "the port of the pod that is gone is still there"
		}
		return ""
	})
	reach()

	_, err = alice.cnitool("del", "pods", "first")
	c.do(err)
	pod.mustDel()
	c.nothingLeft()
	if said := c.said("host-bob", "permission denied"); len(said) != 2 || !strings.Contains(said[0], lacks("host-bob", "LS_A")) || !strings.Contains(said[1], "op=status") {
		t.Errorf("the agent of host-bob has said %q", said)
	}
}

// TestUsersPodman runs containers with podman where etcd authenticates.
func TestUsersPodman(t *testing.T) {
	t.Parallel()
	need(t, "podman", "runc", "iptables")
	c := newCluster(t)
	c.authenticate([]string{"host-alice", "--plugin", "LS_A"}, []string{"host-bob", "--plugin", "LS_A"})
	tar := archive(t)
	for _, m := range c.machines {
		m.installPodman(tar)
	}
	alice, bob := c.machines[0], c.machines[1]
	alice.podmanRun("any")
	bob.podmanRun("chosen", "--ip", "10.20.1.77")
	alice.await("the containers reach each other", "podman", "exec", "any", "ping", "-c", "1", "-W", "1", "10.20.1.77")
	for _, m := range c.machines {
		m.run("podman", "rm", "--force", "--time", "0", "--all")
	}
	c.nothingLeft()
}

// TestUsersPool has ports made in advance, which the role of a plugin may claim and
// give back.
func TestUsersPool(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice := c.machines[0]
	c.authenticate([]string{"host-alice", "--plugin", "LS_A"})
	_, err := c.tpctl("ls", "provision", "LS-pool", "10.20.9.1/27", "--node", "host-alice", "--router", "LR-central")
	c.do(err)
	pod := alice.podOn("LS-pool", "pod")
	_, err = pod.add()
	wantCode(t, err, 105, "claiming switch LS-pool port", lacks("host-alice", "LS-pool"))
	c.auth("add", "host-alice", "--plugin", "LS-pool")
	for range 2 { // the second time it has been given back
		if ip := pod.mustAdd(); ip.String() != "10.20.9.2" {
			t.Errorf("the pod has %s, want the first address of the pool", ip)
		}
		alice.inside("pod", "ping", "-c", "1", "-W", "2", "10.20.2.10")
		pod.mustDel()
		c.nothingLeft()
	}
}

// TestUsersRoleTaken takes the role from a host that has a pod: DEL ends the pod's
// interface, the agent says once why its port stays, and takes it back when it may.
func TestUsersRoleTaken(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	bob := c.machines[1]
	c.authenticate([]string{"host-bob", "--plugin", "LS_A"})
	deleted, gone := bob.podOn("LS_A", "deleted"), bob.podOn("LS_A", "gone")
	deleted.mustAdd()
	gone.mustAdd()
	c.takeRole("host-bob", "plugin/LS_A")

	cmd := deleted.command(t.Context(), "DEL")
	var notice strings.Builder
	cmd.Stderr = &notice
	if out, err := cmd.Output(); err != nil || !strings.Contains(notice.String(), lacks("host-bob", "LS_A")) {
		t.Errorf("DEL: %v %s, and says %q", err, out, notice.String())
	}
	bob.run("ip", "netns", "del", "gone")
	c.eventually(func() string {
		interfaces, devices := c.onHosts()
		if len(interfaces)+len(devices) == 0 {
			return ""
		}
		return fmt.Sprintf("left are the interfaces %q and the devices %q", interfaces, devices)
	})
	if wrong := unlike(c.containers(), "deleted", "gone"); wrong != "" {
		t.Error(wrong)
	}
	// Nobody else gets their names or addresses meanwhile, nor does a pod that comes again.
	again := deleted
	_, err := again.add()
	wantCode(t, err, 105, "releasing switch LS_A port lsp-eth0-deleted", lacks("host-bob", "LS_A"))
	time.Sleep(12 * time.Second) // in which the agent tries things twice that may pass
	for _, owner := range []string{"cni:pods/deleted/eth0", "cni:pods/gone/eth0"} {
		if said := c.said("host-bob", "will try again\" owner="+owner); len(said) != 1 || !strings.Contains(said[0], lacks("host-bob", "LS_A")) {
			t.Errorf("the agent has said of %s: %q", owner, said)
		}
	}
	c.auth("add", "host-bob", "--plugin", "LS_A")
	again.mustAdd()
	again.mustDel()
	if _, err := again.call(t.Context(), "GC"); err != nil {
		t.Errorf("GC: %v", err)
	}
	c.nothingLeft()
}

// TestStolenKey has host-bob turn against a pod of host-alice, with the key of its
// agent: as long as it has no role for the switch, it can do nothing to the pod's
// port. With that role it can do everything to the switch's ports, and nothing else.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice := c.machines[0]
	c.authenticate([]string{"host-alice", "--plugin", "LS_A"})
	pod := alice.podOn("LS_A", "pod")
	ip := pod.mustAdd()
	port := "lsp-eth0-pod"
	reaches := func() {
		t.Helper()
		if _, err := c.Exec(t.Context(), "lsp-bob", "ping", "-c", "1", "-W", "2", ip.String()); err != nil {
			t.Error(err)
		}
		if shown, err := c.tpctl("lsp", "show", "LS_A", port); err != nil || !strings.Contains(shown, "host-alice") {
			t.Errorf("tpctl lsp show: %v %s", err, shown)
		}
	}
	reaches()
	before := c.read("/tuplenet/entity_view/LS/LS_A/")
	denied := func(command string) {
		t.Helper()
		if out, err := c.tpctlAs(c.agentFile("host-bob"), strings.Fields(command)...); err == nil || !strings.Contains(out, "permission denied; user host-bob may not do that") {
			t.Errorf("tpctl %s: %v %s", command, err, out)
		}
	}
	for _, command := range []string{"lsp del --force LS_A " + port, "lsp port-security LS_A " + port + " off", "lsp add LS_A lsp-mallory 10.20.1.99"} {
		denied(command)
	}
	// An interface of that name is bound where etcd lets it be, which counts for nothing.
	_, err := c.Exec(t.Context(), "host-bob", "ovs-vsctl", "add-port", "br-int", "twin", "--", "set", "Interface", "twin", "type=internal", "external_ids:iface-id="+port)
	c.do(err)
	c.eventually(func() string {
		if len(c.said("host-bob", "port is bound to another chassis")) == 0 {
			return "the agent of host-bob has not said that the port is another's"
		}
		return ""
	})
	reaches()
	if after := c.read("/tuplenet/entity_view/LS/LS_A/"); !maps.Equal(before, after) {
		t.Errorf("the switch was %q, and is %q", before, after)
	}
	c.auth("add", "host-bob", "--plugin", "LS_A")
	for _, command := range []string{"lsp port-security LS_A " + port + " off", "patchport add LS_A out host-alice br-phy", "lsp del LS_A out"} {
		if _, err := c.tpctlAs(c.agentFile("host-bob"), strings.Fields(command)...); err != nil {
			t.Errorf("with the role for the switch: %v", err)
		}
	}
	for _, command := range []string{"ls port-security LS_A on", "lsp port-security LS-B lsp-bob on", "lrp del LR-central LR-central_to_LS_A"} {
		denied(command)
	}
	_, err = c.Exec(t.Context(), "host-bob", "ovs-vsctl", "del-port", "br-int", "twin")
	c.do(err)
	pod.mustDel()
	c.nothingLeft()
}
