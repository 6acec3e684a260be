package runtimes

import (
	"fmt"
	"strings"
	"testing"

	"tuplenet/internal/lab"
)

// podmanFiles configure podman on a machine: its networks are CNI's, and its
// containers run with runc, whose limits are those that a machine without
// CAP_SYS_RESOURCE can set.
var podmanFiles = map[string]string{
	"/etc/containers/containers.conf": `
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "cni"
`,
	"/etc/containers/storage.conf": `
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`,
	// podman reads lists of plugins only.
	"/etc/cni/net.d/tpcni.conflist": `{"cniVersion": "0.4.0", "name": "tpcni-network", "plugins": [` + tutorial + `]}`,
	"/etc/containers/policy.json":   `{"default": [{"type": "insecureAcceptAnything"}]}`,
}

// installPodman configures podman on a machine, and gives it the image in an archive.
func (m *machine) installPodman(tar []byte) {
	m.t.Helper()
	for file, content := range podmanFiles {
		m.write(file, content)
	}
	m.write("/tmp/busybox.tar", string(tar))
	m.run("podman", "load", "--quiet", "--input", "/tmp/busybox.tar")
}

// podmanRun starts a container in the tutorial's network.
func (m *machine) podmanRun(name string, args ...string) {
	m.t.Helper()
	m.run(append(append([]string{"podman", "run", "--detach", "--name", name, "--cgroup-parent", "/" + m.cgroup(), "--cap-add", "NET_RAW", "--network", "tpcni-network"}, args...), image)...)
}

// podmanPing pings from a container, once: the first packet is not to be lost.
func (m *machine) podmanPing(name, to string) {
	m.t.Helper()
	m.run("podman", "exec", name, "ping", "-c", "1", "-W", "2", to)
}

// TestPodman runs containers with podman on two hosts. What a user
// wants to have, an address and a MAC, podman gives to the plugin in CNI_ARGS.
func TestPodman(t *testing.T) {
	t.Parallel()
	need(t, "podman", "runc", "iptables")
	c := newCluster(t)
	tar := archive(t)
	for _, m := range c.machines {
		m.installPodman(tar)
	}
	alice, bob := c.machines[0], c.machines[1]
	alice.podmanRun("any")
	bob.podmanRun("chosen", "--ip", "10.20.1.77", "--mac-address", "f2:01:00:00:00:77")

	alice.podmanPing("any", "10.20.1.77")
	alice.podmanPing("any", "10.20.1.10") // a workload of the host's own
	bob.podmanPing("chosen", "10.20.2.10")
	bob.podmanPing("chosen", "172.16.1.10")
	if page := alice.run("podman", "exec", "any", "timeout", "5", "wget", "-q", "-O", "-", "http://172.16.1.10/"); page != "hello from outside\n" {
		t.Errorf("the web server says %q", page)
	}
	if out := bob.run("podman", "exec", "chosen", "ip", "addr", "show", "eth0"); !strings.Contains(out, "10.20.1.77/24") || !strings.Contains(out, "f2:01:00:00:00:77") {
		t.Errorf("--ip and --mac-address: %s", out)
	}

	// An address that somebody has is refused, and nothing of the container stays.
	if out, err := alice.try("podman", "run", "--rm", "--name", "taken", "--cgroup-parent", "/"+alice.cgroup(), "--network", "tpcni-network", "--ip", "10.20.1.77", image, "true"); err == nil || !strings.Contains(err.Error(), "10.20.1.77") {
		t.Errorf("two containers with one address: %v %s", err, out)
	}

	c.do(c.Restart(t.Context(), "host-bob", lab.Agent))
	alice.podmanPing("any", "10.20.1.77")

	// A container that is stopped gives its address back, and gets one when it is
	// started again.
	bob.run("podman", "stop", "--time", "0", "chosen")
	c.eventually(func() string {
		if n := len(c.owned()); n != 1 {
			return fmt.Sprintf("%d ports have an owner, want that of alice's container alone", n)
		}
		return ""
	})
	bob.run("podman", "start", "chosen")
	alice.podmanPing("any", "10.20.1.77")
	for _, m := range c.machines {
		m.run("podman", "rm", "--force", "--time", "0", "--all")
	}
	c.nothingLeft()
}
