package runtimes

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// swarmConfig is the configuration of the plugin in a swarm.
const swarmConfig = `{
  "etcd_cluster": "192.168.1.1:2379",
  "egress_router_name": "LR-central",
  "scope": "global"
}
`

// managed is what Docker calls the plugin when it runs it itself.
const managed = "tuplenet:latest"

// newManaged starts an engine that runs the plugin, made as by make docker-plugin.
func newManaged(m *machine, tar []byte) *engine {
	m.t.Helper()
	// The plugin mounts /run, so this is no place for what the engine keeps.
	e := &engine{machine: m, flags: []string{"--data-root=/var/lib/docker"}}
	m.write("/etc/tuplenet/cnm.json", swarmConfig)
	m.write("/etc/resolv.conf", "nameserver 127.0.0.1\n") // nobody waits for a registry
	m.write("/tmp/busybox.tar", string(tar))
	m.run("rm", "-rf", "/etc/docker")
	m.run("hostname", m.host)
	e.startDocker()
	e.docker("load", "--quiet", "--input", "/tmp/busybox.tar")
	e.manage()
	return e
}

// manage gives the engine the plugin to run.
func (e *engine) manage() {
	e.t.Helper()
	// The machine need not see this directory, but it sees the agent's.
	build := exec.Command("../../packaging/docker/build.sh", filepath.Join(binDir, "tuplenet"), filepath.Join(e.runDir, "plugin"))
	if out, err := build.CombinedOutput(); err != nil {
		e.t.Fatalf("%s: %v: %s", build, err, out)
	}
	e.docker("plugin", "create", "tuplenet", "/run/tuplenet/plugin")
	e.docker("plugin", "enable", "tuplenet")
}

// task waits for the task of a service on this engine, and returns its container.
func (e *engine) task(service string) string {
	e.t.Helper()
	list := []string{"ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=" + service}
	e.await("a task of "+service+" runs", "sh", "-c", fmt.Sprintf("test -n \"$(%s %s)\"", docker, strings.Join(list, " ")))
	return strings.TrimSpace(e.docker(list...))
}

// TestSwarm has Docker run the plugin itself, on two hosts that are a swarm: the
// manager makes a network and gives out the addresses, and the engines that run
// its containers find it in etcd.
func TestSwarm(t *testing.T) {
	t.Parallel()
	need(t, unpacked("docker", dockerd), unpacked("docker", docker), "containerd", "runc", "iptables")
	c := newCluster(t)
	tar := archive(t)
	alice, bob := newManaged(c.machines[0], tar), newManaged(c.machines[1], tar)
	alice.docker("swarm", "init", "--advertise-addr", "192.168.1.10")
	token := strings.TrimSpace(alice.docker("swarm", "join-token", "--quiet", "worker"))
	bob.docker("swarm", "join", "--advertise-addr", "192.168.1.11", "--token", token, "192.168.1.10:2377")
	alice.docker("network", "create", "--driver", managed, "--ipam-driver", managed, "--subnet", "10.20.3.0/24", "--gateway", "10.20.3.1", "--attachable", "net1")

	// Containers that are nobody's task: they attach themselves.
	alice.up("one", "net1")
	bob.up("two", "net1")
	alice.ping("one", bob.address("two", "net1"))
	bob.ping("two", alice.address("one", "net1"))
	alice.await("a name is known on the other host", docker, "exec", "one", "ping", "-c", "1", "-W", "1", "two")

	alice.docker("service", "create", "--detach", "--no-resolve-image", "--name", "web", "--endpoint-mode", "dnsrr", "--mode", "global", "--stop-grace-period", "2s", "--network", "net1", image)
	reach := func() {
		t.Helper()
		here, there := alice.task("web"), bob.task("web")
		alice.ping(here, bob.address(there, "net1"))
		bob.ping(there, alice.address(here, "net1"))
		bob.ping("two", alice.address(here, "net1"))
		bob.ping("two", "10.20.1.10")  // a workload of TupleNet's, by the router
		bob.ping("two", "172.16.1.10") // the world outside, by the edge
	}
	reach()
	for _, e := range []*engine{alice, bob} {
		if out, err := e.tryWith([]string{"OVS_RUNDIR=/run/tuplenet"}, "tuplenet", "cnm", "--check"); err != nil || strings.Contains(out, "note") {
			t.Errorf("%v\n%s", err, out)
		}
	}

	// The manager starts anew, and asks for all addresses that it has given out.
	alice.docker("rm", "--force", "one")
	alice.dockerd.end("TERM")
	alice.startDocker()
	reach()

	// Another one takes the plugin's place.
	bob.docker("plugin", "disable", "--force", "tuplenet")
	bob.docker("plugin", "rm", "--force", "tuplenet")
	bob.ping("two", "172.16.1.10")
	bob.manage()
	reach()

	// A plugin that has died Docker starts anew.
	bob.run("sh", "-c", "kill -9 $(pgrep -f '^/tuplenet cnm')")
	bob.ping("two", "172.16.1.10")
	bob.await("the plugin serves", docker, "run", "--rm", "--network", "net1", image, "ping", "-c", "1", "-W", "2", alice.address(alice.task("web"), "net1"))
	reach()

	alice.docker("service", "rm", "web")
	bob.docker("rm", "--force", "two")
	alice.await("the network goes", docker, "network", "rm", "net1")
	c.eventually(func() string {
		if left := c.keys("/tuplenet/cnm/"); len(left) > 0 {
			return fmt.Sprintf("left in etcd are %q", left)
		}
		return ""
	})
	c.nothingLeft()
}
