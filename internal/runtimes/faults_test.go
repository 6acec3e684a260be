package runtimes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// TestWithoutAgent attaches while the agent of the host is stopped, and while it
// starts.
func TestWithoutAgent(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	before := m.attachment("before")
	address := before.mustAdd()
	gone := m.attachment("gone")
	gone.mustAdd()
	c.do(c.Stop(t.Context(), "host-alice", lab.Agent))

	// A runtime is told to try again, which kubelet does; nothing is left of it.
	pod := m.attachment("pod")
	_, err := pod.add()
	wantCode(t, err, 11, "agent")
	if out := m.inside("pod", "ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("the namespace has an interface: %s", out)
	}
	if _, err := pod.call(t.Context(), "STATUS"); err == nil {
		t.Error("STATUS is well without an agent")
	}
	// What is there goes on working, and DEL succeeds: the interface is gone at
	// once, and the agent takes the rest back when it starts.
	m.inside("before", "ping", "-c", "1", "-W", "2", "10.20.1.10")
	gone.mustDel()
	if out := m.inside("gone", "ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("the namespace still has its interface after DEL: %s", out)
	}
	c.do(c.Start(t.Context(), "host-alice", lab.Agent))
	c.eventually(func() string { return unlike(c.containers(), "before") })

	// The runtime tries again.
	c.eventually(func() string {
		if _, err := pod.add(); err != nil {
			return err.Error()
		}
		return ""
	})
	m.inside("pod", "ping", "-c", "1", "-W", "2", address.String())
	pod.mustDel()
	before.mustDel()
	c.nothingLeft()
}

// TestKilled kills the plugin at any moment of an ADD. What it made goes when
// the runtime calls DEL, as it does after an ADD that failed, and also when it
// does not and the container's namespace goes.
func TestKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	killed := 0
	for i := range 40 {
		a := m.attachment(fmt.Sprint("pod", i))
		after := fmt.Sprintf("%.4f", 0.001*float64(i+1)) // seconds
		_, err := output(a.command(t.Context(), "ADD", "timeout", "--signal=KILL", after))
		if err != nil {
			killed++
		}
		if i%2 == 0 {
			a.mustDel()
		}
		m.run("ip", "netns", "del", a.container)
	}
	t.Logf("%d of 40 were killed", killed)
	if killed == 0 {
		t.Error("every ADD was quicker than its killer")
	}
	// Those that were quicker have an attachment whose device went with its
	// namespace.
	c.nothingLeft()
	last := m.attachment("last")
	last.mustAdd()
	m.inside("last", "ping", "-c", "1", "-W", "2", "10.20.1.1")
	last.mustDel()
	c.nothingLeft()
}

// TestTwice calls ADD and DEL twice, for one container and for two of its
// interfaces.
func TestTwice(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	pod := m.attachment("pod")
	first := pod.mustAdd()
	if _, err := pod.add(); err == nil {
		t.Error("ADD of what is attached succeeds, want an error: a runtime has to call DEL first")
	}
	m.inside("pod", "ping", "-c", "1", "-W", "2", "10.20.1.1") // it has not suffered

	second := pod
	second.ifname = "net1"
	second.conf = strings.NewReplacer("tpcni-network", "second-network", `"mtu"`, `"routes": [], "mtu"`).Replace(tutorial)
	if other := second.mustAdd(); other == first {
		t.Errorf("both interfaces have %s", other)
	}
	second.mustDel()
	m.inside("pod", "ping", "-c", "1", "-W", "2", "10.20.1.1")
	pod.mustDel()
	pod.mustDel()
	m.run("ip", "netns", "del", "pod")
	pod.mustDel() // the file of the namespace is gone
	pod.netns = ""
	pod.mustDel() // the runtime knows of none
	c.nothingLeft()
}

// TestDelWithoutEtcd deletes containers while etcd is down: DEL succeeds, or the
// runtime would keep what cannot be kept, and their ports go when etcd is back.
func TestDelWithoutEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	pod, restarted, kept := m.attachment("pod"), m.attachment("restarted"), m.attachment("kept")
	for _, a := range []attachment{pod, restarted, kept} {
		a.mustAdd()
	}
	c.do(c.KillEtcd(t.Context(), "etcd"))
	pod.mustDel()
	restarted.mustDel()
	if interfaces, devices := c.onHosts(); len(interfaces) != 1 || len(devices) != 1 {
		t.Errorf("on the host are the interfaces %q and the devices %q, want those of one container", interfaces, devices)
	}
	another := m.attachment("another")
	_, err := another.add()
	wantCode(t, err, 11, "etcd")
	m.inside("kept", "ping", "-c", "1", "-W", "2", "10.20.1.10")
	c.do(c.StartEtcd(t.Context(), "etcd"))
	c.eventually(func() string { return unlike(c.containers(), "kept") })
	kept.mustDel()
	c.nothingLeft()

	// The same, and the agent is restarted before etcd is: what it has to do is
	// not lost with it.
	pod = m.attachment("pod2")
	pod.mustAdd()
	c.do(c.KillEtcd(t.Context(), "etcd"))
	pod.mustDel()
	c.do(c.Restart(t.Context(), "host-alice", lab.Agent))
	c.do(c.StartEtcd(t.Context(), "etcd"))
	c.nothingLeft()
}

// TestVanished takes the namespaces of containers away before DEL is called, or
// without any DEL.
func TestVanished(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	pod, forgotten := m.attachment("pod"), m.attachment("forgotten")
	for _, a := range []attachment{pod, forgotten} {
		a.mustAdd()
		m.run("ip", "netns", "del", a.container)
	}
	pod.mustDel()
	c.nothingLeft() // of the other one neither, for which nobody calls anything
}

// TestReboot boots a node again without a word to anybody: there is no
// container any more, nor anything that calls DEL for one.
func TestReboot(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m, bob := c.machines[0], c.machines[1]
	for i := range 5 {
		m.attachment(fmt.Sprint("pod", i)).mustAdd()
	}
	kept := bob.attachment("kept")
	kept.mustAdd()

	m.shutDown()
	for _, component := range []lab.Component{lab.Agent, lab.Vswitchd, lab.OVSDB} {
		c.do(c.Kill(t.Context(), "host-alice", component))
	}
	for _, component := range []lab.Component{lab.OVSDB, lab.Vswitchd, lab.Agent} {
		c.do(c.Start(t.Context(), "host-alice", component))
	}
	m.boot()
	c.eventually(func() string { return unlike(c.containers(), "kept") })
	again := m.attachment("again")
	c.eventually(func() string {
		if _, err := again.add(); err != nil {
			return err.Error()
		}
		return ""
	})
	m.inside("again", "ping", "-c", "1", "-W", "2", "10.20.2.10")
	again.mustDel()
	kept.mustDel()
	c.nothingLeft()
}

// TestFull asks for more addresses than a subnet has.
func TestFull(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	// Of .33 to .38 two are reserved. The gateway is the router, outside of them.
	conf := strings.Replace(tutorial, `"10.20.1.1/24",`, `"10.20.1.32/29", "reserved": ["10.20.1.33", "10.20.1.35/32"],`, 1)
	var pods []attachment
	for i := range 4 {
		a := m.attachment(fmt.Sprint("pod", i))
		a.conf = conf
		if ip := a.mustAdd(); ip.String() == "10.20.1.33" || ip.String() == "10.20.1.35" {
			t.Errorf("%s is not to be given out", ip)
		}
		pods = append(pods, a)
	}
	late := m.attachment("late")
	late.conf = conf
	_, err := late.add()
	wantCode(t, err, 100, "LS_A", "10.20.1.32/29")
	pods[2].mustDel()
	late.mustAdd()
	late.mustDel()
	for _, a := range pods {
		a.mustDel()
	}
	c.nothingLeft()
}

// TestSlowEtcd attaches while etcd hangs: the plugin gives up within its bound,
// and the runtime is told to try again.
func TestSlowEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	pod := m.attachment("pod")
	c.do(c.HangEtcd(t.Context(), "etcd"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // kubelet gives up after two
	defer cancel()
	_, err := pod.call(ctx, "ADD")
	wantCode(t, err, 11)
	c.do(c.ResumeEtcd(t.Context(), "etcd"))
	c.nothingLeft()
	c.eventually(func() string {
		if _, err := pod.add(); err != nil {
			return err.Error()
		}
		return ""
	})
	pod.mustDel()
	c.nothingLeft()
}
