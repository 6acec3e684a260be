package runtimes

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// docker and dockerd are Docker's client and engine on a machine. A newer client in
// the path does not talk to this engine.
const (
	docker  = "/usr/bin/docker"
	dockerd = "/usr/sbin/dockerd"
)

// engineFlags are how the engine of a machine is started: everything is where it is
// by default, but for what it keeps, which outlives the machine's next boot.
var engineFlags = []string{"--data-root=/run/tuplenet/docker", "--storage-driver=vfs",
	"--bridge=none", "--iptables=false", "--ip-forward=false", "--userland-proxy=false",
	"--exec-opt=native.cgroupdriver=cgroupfs", "--default-ulimit=nofile=1024:1024", "--log-level=warn"}

// tutorialConfig is config.json of the tutorial, section 4, with the lab's etcd.
const tutorialConfig = `{
  "etcd_cluster": "192.168.1.1:2379",
  "data_store_prefix": "/tuplenet",
  "docker_unix_sock": "/var/run/docker.sock",
  "egress_router_name": "LR-central"
}
`

// engine is the Docker Engine of a machine, with tpcnm beside it.
type engine struct {
	*machine
	config         string   // of tpcnm
	flags          []string // of dockerd, beside those that it always has
	dockerd, tpcnm *daemon
}

// newEngines starts an engine on each machine.
func (c *cluster) newEngines() (engines []*engine) {
	c.t.Helper()
	for _, m := range c.machines {
		engines = append(engines, newEngine(m))
	}
	return engines
}

// newEngine starts an engine, with the image in it.
func newEngine(m *machine, flags ...string) *engine {
	m.t.Helper()
	return newEngineWith(m, tutorialConfig, flags...)
}

// newEngineWith is newEngine with a configuration of the plugin's.
func newEngineWith(m *machine, config string, flags ...string) *engine {
	m.t.Helper()
	need(m.t, unpacked("docker", dockerd), unpacked("docker", docker), "containerd", "runc", "iptables")
	e := &engine{machine: m, config: config, flags: flags}
	e.begin()
	m.write("/tmp/busybox.tar", string(archive(m.t)))
	e.docker("load", "--quiet", "--input", "/tmp/busybox.tar")
	return e
}

// begin starts plugin and engine on a machine that has just been booted.
func (e *engine) begin() {
	e.t.Helper()
	e.install()
	e.startPlugin()
	e.startDocker()
}

// install does what is done once to a machine. The engine's id is in /etc/docker.
func (e *engine) install() {
	e.t.Helper()
	e.write("/tmp/config.json", e.config)
	e.run("ln", "-sf", "tuplenet", "/usr/bin/tpcnm")
	e.run("rm", "-rf", "/etc/docker")
	e.run("mkdir", "-p", "/run/tuplenet/etc")
	e.run("ln", "-s", "/run/tuplenet/etc", "/etc/docker")
}

// startPlugin starts the plugin, and waits until it listens.
func (e *engine) startPlugin() {
	e.t.Helper()
	e.tpcnm = e.start("tpcnm", "tpcnm", "-config", "/tmp/config.json")
	e.await("the plugin listens", "test", "-S", "/run/docker/plugins/tuplenet.sock")
}

// startDocker starts the engine, and waits until it answers.
func (e *engine) startDocker() {
	e.t.Helper()
	e.launchDocker()
	e.await("the engine answers", docker, "version")
}

// launchDocker starts the engine.
func (e *engine) launchDocker() {
	e.t.Helper()
	e.dockerd = e.start("dockerd", slices.Concat([]string{dockerd}, engineFlags, []string{"--cgroup-parent=/" + e.cgroup()}, e.flags)...)
}

// await waits until a command succeeds.
func (m *machine) await(what string, argv ...string) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, err := m.try(argv...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("gave up waiting until %s: %v", what, err)
		}
	}
}

// docker runs Docker's client, which has to succeed, and returns what it prints.
func (e *engine) docker(args ...string) string {
	e.t.Helper()
	return e.run(append([]string{docker}, args...)...)
}

// tryDocker is docker for what may fail.
func (e *engine) tryDocker(args ...string) (string, error) {
	return e.try(append([]string{docker}, args...)...)
}

// up starts a container in a network; it ends when it is told to, at once.
func (e *engine) up(name, network string, args ...string) {
	e.t.Helper()
	e.docker(slices.Concat([]string{"run", "--detach", "--name", name, "--network", network, "--stop-signal", "KILL"}, args, []string{image})...)
}

// in runs a command in a container.
func (e *engine) in(name string, argv ...string) string {
	e.t.Helper()
	return e.docker(append([]string{"exec", name}, argv...)...)
}

// ping pings from a container until it is answered, as other hosts learn of it a
// moment later than its own.
func (e *engine) ping(name, to string) {
	e.t.Helper()
	e.await(name+" reaches "+to, docker, "exec", name, "ping", "-c", "1", "-W", "1", to)
}

// address returns what a container has in a network.
func (e *engine) address(name, network string) string {
	e.t.Helper()
	return strings.TrimSpace(e.docker("inspect", "--format", fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`, network), name))
}

// endpoints returns the ids of the endpoints in those of TupleNet's networks that
// the engine knows.
func (e *engine) endpoints() []string {
	e.t.Helper()
	networks := strings.Fields(e.docker("network", "ls", "--quiet", "--filter", "driver=tuplenet"))
	if len(networks) == 0 {
		return nil
	}
	return strings.Fields(e.docker(append([]string{"network", "inspect", "--format", "{{range .Containers}}{{.EndpointID}} {{end}}"}, networks...)...))
}

// agree waits until there is in etcd and on the hosts what the engines have, and
// nothing else: a port, a device and an interface of the bridge for each endpoint,
// and no address that is only reserved. Then nothing may be wrong with the topology,
// nor with the flows.
func (c *cluster) agree(engines ...*engine) {
	c.t.Helper()
	c.eventually(func() string {
		var want []string
		for _, e := range engines {
			want = append(want, e.endpoints()...)
		}
		if wrong := unlike(c.containers(), want...); wrong != "" {
			return wrong
		}
		if reserved := c.keys("/tuplenet/cnm/reserved/"); len(reserved) > 0 {
			return fmt.Sprintf("reserved are %q", reserved)
		}
		if interfaces, devices := c.onHosts(); len(interfaces) != len(want) || len(devices) != len(want) {
			return fmt.Sprintf("there are %d endpoints, the interfaces %q and the devices %q", len(want), interfaces, devices)
		}
		return ""
	})
	if out, err := c.tpctl("check"); err != nil {
		c.t.Errorf("tpctl check: %v: %s", err, out)
	}
	c.rightFlows()
}

// keys returns the keys in etcd that begin with something.
func (c *cluster) keys(prefix string) (keys []string) {
	c.t.Helper()
	for key := range c.read(prefix) {
		keys = append(keys, key)
	}
	return keys
}

// daemon is a process that runs on a machine until it is ended.
type daemon struct {
	on    *machine
	name  string
	pid   string // on the machine
	ended chan struct{}
}

// start starts a daemon, whose output goes to a file of its name in /var/log, and
// is shown if the test fails.
func (m *machine) start(name string, argv ...string) *daemon {
	m.t.Helper()
	d := &daemon{on: m, name: name, ended: make(chan struct{})}
	cmd := m.command(context.Background(), append([]string{"sh", "-c", `echo $$ && exec "$@" >>"/var/log/$0" 2>&1`, name}, argv...)...) // it ends with the machine
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.t.Fatalf("start %s on %s: %v", name, m.name, err)
	}
	d.pid, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		m.t.Fatalf("start %s on %s: %v", name, m.name, err)
	}
	d.pid = strings.TrimSpace(d.pid)
	go func() {
		_ = cmd.Wait() // how it ends is what a test has done to it
		close(d.ended)
	}()
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("%s of %s:\n%s", name, m.name, d.log())
		}
	})
	return d
}

// log returns the end of what daemons of this name have said.
func (d *daemon) log() string {
	text, err := os.ReadFile(d.on.path("/var/log/" + d.name))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}

// end sends the daemon a signal, and waits until it is gone.
func (d *daemon) end(signal string) {
	d.on.t.Helper()
	d.on.run("kill", "-"+signal, d.pid)
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.on.t.Fatalf("%s of %s does not end by %s", d.name, d.on.name, signal)
	}
}
