package runtimes

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// etcdV2 is an etcd with the API of version 2.
var etcdV2 = unpacked("etcd-v2", "/usr/bin/etcd")

// TestDockerGlobal has the engines of two hosts share their networks by a cluster
// store, as the tutorial supposes: a network is made once. The plugin of the second
// host is asked for an endpoint of one whose making it has never heard of.
func TestDockerGlobal(t *testing.T) {
	t.Parallel()
	need(t, unpacked("docker", dockerd))
	if out, err := exec.Command(unpacked("docker", dockerd), "--cluster-store=etcd://x", "--version").CombinedOutput(); err != nil {
		t.Skipf("this Docker has no cluster store, as those since 23.0: %s", out)
	}
	need(t, etcdV2)
	c := newCluster(t)
	program, err := os.ReadFile(etcdV2)
	c.do(err)
	c.machines[0].write("/usr/bin/etcd", string(program))
	const url = "http://192.168.1.10:2379" // host-alice
	c.machines[0].start("etcd", "etcd", "--enable-v2", "--data-dir", "/tmp/etcd", "--unsafe-no-fsync", "--listen-client-urls", url, "--advertise-client-urls", url)
	var engines []*engine
	for _, m := range c.machines {
		m.await("the cluster store answers", "busybox", "wget", "-q", "-O", "-", url+"/health")
		engines = append(engines, newEngine(m, "--cluster-store=etcd://192.168.1.10:2379"))
	}
	alice, bob := engines[0], engines[1]

	alice.docker("network", "create", "-d", "tuplenet", "--subnet=10.20.3.0/24", "--gateway=10.20.3.1", "tp-docker-net1")
	alice.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet=10.20.4.0/24", "tp-docker-net2")
	for _, network := range []string{"tp-docker-net1", "tp-docker-net2"} {
		if scope := bob.docker("network", "inspect", "--format", "{{.Scope}}", network); scope != "global\n" {
			t.Errorf("the scope of %s is %s", network, scope)
		}
		for _, e := range engines { // the names, too, are those of all engines
			e.up(e.host+"-"+network, network)
		}
		there := "host-bob-" + network
		bob.ping(there, alice.address("host-alice-"+network, network))
		bob.ping(there, "172.16.1.10")
	}
	for _, e := range engines { // which forgets nothing that it has not made
		e.tpcnm.end("KILL")
		e.startPlugin()
	}
	if out, err := alice.tryDocker("network", "rm", "tp-docker-net1"); err == nil || !strings.Contains(err.Error(), "has active endpoints") {
		t.Errorf("a network in use is removed: %s %v", out, err)
	}
	c.agree(bob) // which knows of alice's, too
	for _, network := range []string{"tp-docker-net1", "tp-docker-net2"} {
		for _, e := range engines {
			e.docker("rm", "-f", e.host+"-"+network)
		}
		bob.docker("network", "rm", network) // where it was not made
	}
	c.nothingLeft()
	if left := c.keys("/tuplenet/cnm/"); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}
