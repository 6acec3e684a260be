package runtimes

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// watch begins to ping from a container, without Docker's help, and returns what
// ends it: nothing may have been lost.
func (e *engine) watch(container, to string) (end func(after string)) {
	e.t.Helper()
	pid := strings.TrimSpace(e.docker("inspect", "--format", "{{.State.Pid}}", container))
	e.run("rm", "-f", "/var/log/ping")
	d := e.start("ping", "nsenter", "--net", "--target", pid, "ping", "-n", "-i", "0.1", to)
	return func(after string) {
		e.t.Helper()
		d.end("INT")
		log := e.run("cat", "/var/log/ping")
		answers := answer.FindAllStringSubmatch(log, -1)
		var sent int
		if total := transmitted.FindStringSubmatch(log); total != nil {
			sent, _ = strconv.Atoi(total[1])
		}
		// The last one may have been under way.
		if n := len(answers); n == 0 || answers[n-1][1] != strconv.Itoa(n) || sent > n+1 {
			e.t.Errorf("%s, pings are lost:\n%s", after, log)
		}
	}
}

// What ping says of one answer, and at its end.
var (
	answer      = regexp.MustCompile(`icmp_seq=(\d+) ttl`)
	transmitted = regexp.MustCompile(`(\d+) packets transmitted`)
)

// killContainer kills the process of a container.
func (e *engine) killContainer(name string) {
	e.t.Helper()
	e.run("kill", "-KILL", strings.TrimSpace(e.docker("inspect", "--format", "{{.State.Pid}}", name)))
}

// shared makes a network on the tutorial's switch.
func (e *engine) shared() {
	e.t.Helper()
	e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.1.0/24", "--ipam-opt", "switch=LS_A", "-o", "switch=LS_A", "shared")
}

// TestDockerRestarts stops, kills and starts whatever runs. On alice's host Docker
// keeps its containers meanwhile (live-restore), on bob's it does not.
func TestDockerRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice, bob := newEngine(c.machines[0], "--live-restore"), newEngine(c.machines[1])
	for _, e := range []*engine{alice, bob} {
		e.shared()
		e.up("kept", "shared")
		e.up("server", "shared", "--restart", "always")
	}
	id := alice.docker("inspect", "--format", "{{.State.Pid}}", "kept", "server")

	for _, test := range []struct {
		what string
		do   func(e *engine)
	}{
		{"the plugin was stopped", func(e *engine) { e.tpcnm.end("TERM"); e.startPlugin() }},
		{"the plugin was killed", func(e *engine) { e.tpcnm.end("KILL"); e.startPlugin() }},
		{"the agent was killed", func(e *engine) {
			c.do(c.Kill(t.Context(), e.host, lab.Agent))
			c.do(c.Start(t.Context(), e.host, lab.Agent))
			c.do(c.WaitReady(t.Context()))
		}},
		{"a container was killed", func(e *engine) {
			e.up("victim", "shared")
			e.killContainer("victim")
			e.docker("wait", "victim")
			e.docker("rm", "victim")
		}},
	} {
		for _, e := range []*engine{alice, bob} {
			end := e.watch("kept", "10.20.2.10")
			test.do(e)
			e.up("new", "shared")
			e.ping("new", e.address("kept", "shared"))
			e.docker("rm", "-f", "new")
			end(test.what)
		}
		c.agree(alice, bob)
	}

	for _, test := range []struct {
		what string
		do   func(e *engine)
	}{
		{"Docker was stopped", func(e *engine) { e.dockerd.end("TERM"); e.startDocker() }},
		{"Docker was killed", func(e *engine) { e.dockerd.end("KILL"); e.startDocker() }},
		{"Docker was killed and started before the plugin", func(e *engine) {
			e.tpcnm.end("KILL")
			e.dockerd.end("KILL")
			e.launchDocker()
			time.Sleep(time.Second) // so that it misses the plugin
			e.startPlugin()
			e.await("the engine answers", docker, "version")
		}},
	} {
		end := alice.watch("kept", "10.20.2.10")
		test.do(alice)
		end(test.what)
		if now := alice.docker("inspect", "--format", "{{.State.Pid}}", "kept", "server"); now != id {
			t.Errorf("%s: with live-restore the containers are %s, were %s", test.what, now, id)
		}
		test.do(bob)
		if running := bob.docker("ps", "--format", "{{.Names}}"); running != "server\n" {
			t.Errorf("%s: without live-restore there run %q, want server", test.what, running)
		}
		c.agree(alice, bob)
		bob.ping("server", alice.address("kept", "shared"))
		bob.docker("start", "kept")
		bob.ping("kept", alice.address("server", "shared"))
		c.agree(alice, bob)
	}

	// What ends while Docker is down.
	pid := strings.TrimSpace(alice.docker("inspect", "--format", "{{.State.Pid}}", "kept"))
	alice.dockerd.end("KILL")
	alice.run("kill", "-KILL", pid)
	alice.startDocker()
	if running := alice.docker("ps", "--format", "{{.Names}}"); running != "server\n" {
		t.Errorf("there run %q, want server", running)
	}
	c.agree(alice, bob)

	dockerReboot(c, bob, alice)
	for _, e := range []*engine{alice, bob} {
		e.docker("rm", "-f", "kept", "server")
		e.docker("network", "rm", "shared")
	}
	c.nothingLeft()
	c.agree(alice, bob)
}

// dockerReboot boots a host again without a word to anybody. Docker finds its
// networks and containers on its disk.
func dockerReboot(c *cluster, e, other *engine) {
	e.t.Helper()
	e.shutDown()
	for _, component := range []lab.Component{lab.Agent, lab.Vswitchd, lab.OVSDB} {
		c.do(c.Kill(e.t.Context(), e.host, component))
	}
	for _, component := range []lab.Component{lab.OVSDB, lab.Vswitchd, lab.Agent} {
		c.do(c.Start(e.t.Context(), e.host, component))
	}
	e.boot()
	e.begin()
	c.do(c.WaitReady(e.t.Context()))
	c.eventually(func() string {
		if running := e.docker("ps", "--format", "{{.Names}}"); running != "server\n" {
			return fmt.Sprintf("after the reboot there run %q, want server", running)
		}
		return ""
	})
	c.agree(e, other)
	e.ping("server", other.address("server", "shared"))
	e.docker("start", "kept")
	e.ping("kept", other.address("server", "shared"))
	c.agree(e, other)
}

// TestDockerWithoutPlugin kills the plugin in the middle of things, and removes
// containers and networks while it is down. Docker gives up after a while, and
// nobody hears of it; the plugin finds it out when it is back.
func TestDockerWithoutPlugin(t *testing.T) {
	t.Parallel()
	spec, err := lab.Edges(1)
	if err != nil {
		t.Fatal(err)
	}
	c := newClusterOf(t, spec, "host-alice")
	e := newEngine(c.machines[0])
	// With a gateway, or addresses of the plugin's, Docker has more to say and gives
	// up later.
	e.docker("network", "create", "-d", "tuplenet", "--subnet", "10.20.3.0/24", "--internal", "net")
	e.docker("network", "create", "-d", "tuplenet", "--subnet", "10.20.4.0/24", "--internal", "gone")
	for _, name := range []string{"kept", "other", "removed", "killed"} {
		e.up(name, "net")
	}
	end := e.watch("kept", e.address("other", "net"))

	// One container is half way: it has its port.
	var under sync.WaitGroup
	under.Go(func() {
		_, _ = e.tryDocker("run", "--detach", "--name", "half", "--network", "net", "--stop-signal", "KILL", image) // whether it gets on is a matter of luck
	})
	c.eventually(func() string {
		if n := len(c.owned()); n == 4 {
			return "it is not on its way"
		}
		return ""
	})
	e.tpcnm.end("KILL")
	under.Go(func() { e.docker("rm", "-f", "removed") })
	under.Go(func() { e.docker("network", "rm", "gone") })
	e.killContainer("killed")
	under.Wait()
	c.eventually(func() string {
		if known := e.docker("network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{end}}", "net"); strings.Contains(known, "killed") {
			return "Docker still has the endpoints of " + known
		}
		return ""
	})
	if _, devices := c.onHosts(); len(devices) < 6 { // those of kept and other, and two pairs
		t.Errorf("while the plugin is down there are %q, want what it alone would remove: else this test shows nothing", devices)
	}

	e.startPlugin()
	e.docker("rm", "-f", "killed", "half")
	c.within(time.Minute, func() string { // it waits until they are dead for sure
		if _, devices := c.onHosts(); len(devices) != 2 {
			return fmt.Sprintf("left are %q", devices)
		}
		if networks := c.keys("/tuplenet/cnm/network/"); len(networks) != 1 {
			return fmt.Sprintf("left are %q", networks)
		}
		return ""
	})
	end("without the plugin")
	c.agree(e)
	e.docker("rm", "-f", "kept", "other")
	e.docker("network", "rm", "net")
	c.nothingLeft()
	c.agree(e)
}
