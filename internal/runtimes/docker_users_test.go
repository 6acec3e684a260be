package runtimes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/internal/lab"
)

// newUserEngines starts an engine on each machine of a cluster whose etcd
// authenticates; docker-alice is the user of tpcnm on host-alice.
func (c *cluster) newUserEngines() (engines []*engine) {
	c.t.Helper()
	for _, m := range c.machines {
		user, err := os.ReadFile(filepath.Join(c.keyring, "cnm-docker-"+strings.TrimPrefix(m.host, "host-")+".json"))
		c.do(err)
		_, line, _ := strings.Cut(string(user), "{")
		engines = append(engines, newEngineWith(m, strings.TrimSuffix(strings.TrimSpace(tutorialConfig), "\n}")+","+line))
	}
	return engines
}

// lacksRouter is how a user is told that it has no role of Docker's plugin.
func lacksRouter(user, router string) string {
	return "permission denied; user " + user + " lacks the role of Docker's plugin for router " + router + ": tpctl auth add " + user + " --docker " + router
}

// refused checks that a command of Docker's has failed, with these words.
func (e *engine) refused(words string, args ...string) {
	e.t.Helper()
	if out, err := e.tryDocker(args...); err == nil || !strings.Contains(err.Error(), words) {
		e.t.Errorf("docker %s: %v %s, want an error with %q", strings.Join(args, " "), err, out, words)
	}
}

// TestDockerUsers makes networks and containers where etcd authenticates: agents and
// plugins have users with the role for the router of Docker's networks.
func TestDockerUsers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var users [][]string
	for _, user := range []string{"host-alice", "host-bob", "docker-alice", "docker-bob"} {
		users = append(users, []string{user, "--docker", "LR-central"})
	}
	c.authenticate(users...)
	engines := c.newUserEngines()
	alice, bob := engines[0], engines[1]

	id := strings.TrimSpace(alice.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet=10.20.3.0/24", "net1"))
	bob.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--ipam-opt", "switch="+id, "-o", "switch="+id, "net1")
	alice.up("one", "net1")
	bob.up("two", "net1")
	alice.ping("one", bob.address("two", "net1"))
	bob.ping("two", alice.address("one", "net1"))
	bob.ping("two", "172.16.1.10")
	c.agree(engines...)

	// Plugin and agent start anew.
	bob.tpcnm.end("TERM")
	bob.startPlugin()
	c.do(c.Restart(t.Context(), "host-bob", lab.Agent))
	bob.ping("two", alice.address("one", "net1"))
	bob.docker("rm", "-f", "two")
	bob.await("a container starts", docker, "run", "--rm", "--network", "net1", image, "ping", "-c", "1", "-W", "2", "10.20.3.1")
	bob.up("three", "net1")
	alice.ping("one", bob.address("three", "net1"))
	c.agree(engines...)

	// Another router is none of its business, nor is a switch of the operator's.
	_, err := c.tpctl("lr", "add", "LR-other")
	c.do(err)
	alice.refused(lacksRouter("docker-alice", "LR-other"), "network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet=10.20.4.0/24", "-o", "router=LR-other", "other")
	alice.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--ipam-opt", "switch=LS_A", "--subnet=10.20.1.0/24", "-o", "switch=LS_A", "pods")
	alice.refused(lacks("docker-alice", "LS_A"), "run", "--detach", "--name", "pod", "--network", "pods", image)
	alice.docker("rm", "-f", "pod")
	c.agree(engines...)
	c.auth("add", "docker-alice", "--plugin", "LS_A")
	alice.up("pod", "pods")
	alice.ping("pod", "10.20.1.10")
	bob.ping("three", alice.address("pod", "pods"))
	alice.docker("rm", "-f", "pod")
	alice.docker("network", "rm", "pods")

	// What the plugin's user may not any more, the agent's may, and does.
	c.takeRole("docker-bob", "docker/LR-central")
	bob.refused(lacksRouter("docker-bob", "LR-central"), "network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet=10.20.4.0/24", "other")
	bob.docker("rm", "-f", "three")
	c.eventually(func() string { return unlike(c.containers(), alice.endpoints()...) })
	bob.refused(lacksRouter("docker-bob", "LR-central"), "run", "--name", "four", "--network", "net1", image)
	// It compares what there is again and again, and says once why it cannot.
	if n := strings.Count(bob.tpcnm.log(), `cannot compare what Docker has with what it was given, will try again" error="listing the networks of Docker`); n != 1 {
		t.Errorf("the plugin has said %d times what it cannot do", n)
	}
	c.auth("add", "docker-bob", "--docker", "LR-central")

	alice.docker("rm", "-f", "one")
	bob.docker("rm", "-f", "four")
	bob.docker("network", "rm", "net1")
	alice.docker("network", "rm", "net1")
	c.nothingLeft()
	if left := c.keys("/tuplenet/cnm/"); len(left) > 0 {
		t.Errorf("left in etcd are %q", left)
	}
	c.agree(engines...)
}
