package runtimes

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/lab"
)

// patience bounds every wait; only what is broken takes that long.
const patience = 20 * time.Second

// tutorial is tpcni.conf of the tutorial, section 5, with the lab's etcd.
const tutorial = `{
        "cniVersion": "0.3.0",
        "name": "tpcni-network",
        "type": "tpcni",
        "mtu": 1400,
        "switchname": "LS_A",
        "subnet": "10.20.1.1/24",
        "etcd_cluster": "192.168.1.1:2379",
        "data_store_prefix": "/tuplenet"
}
`

// cluster is a lab and machines on some of its hosts.
type cluster struct {
	*lab.Lab
	t        *testing.T
	machines []*machine
	keyring  string // directory with the passwords of etcd's users, if it authenticates
}

// newCluster brings up the tutorial's lab with one edge, a web server behind it,
// and a machine on host-alice and on host-bob each.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	spec, err := lab.Edges(1)
	if err != nil {
		t.Fatal(err)
	}
	// Section 5 writes the switch's name with an underscore, and is to work as
	// it stands.
	spec.Switches[0].Name = "LS_A"
	spec.Routers[0].Links[0].Switch = "LS_A"
	c := newClusterOf(t, spec, "host-alice", "host-bob")
	c.serve("web", "hello from outside\n")
	return c
}

var labs atomic.Int32

// newClusterOf brings up a lab, and machines on these hosts, with the tutorial's
// configuration. At the end of the test nothing may be left of any container.
func newClusterOf(t *testing.T, spec lab.Spec, hosts ...string) *cluster {
	t.Helper()
	need(t, "/usr/lib/cni/loopback")
	name := fmt.Sprintf("t%dr%d", os.Getpid(), labs.Add(1))
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), name, nil); err != nil {
			t.Error(err)
		}
	})
	l, err := lab.Up(t.Context(), spec, lab.Options{Name: name, Binary: filepath.Join(binDir, "tuplenet"), Datapath: lab.Userspace})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &cluster{Lab: l, t: t}
	for _, host := range hosts {
		m := newMachine(t, l, host)
		m.write("/etc/cni/net.d/tpcni.conf", tutorial)
		c.machines = append(c.machines, m)
	}
	return c
}

// serve lets an outside machine serve a page at its address.
func (c *cluster) serve(outside, page string) {
	c.t.Helper()
	need(c.t, "busybox")
	dir := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(page), 0o644); err != nil {
		c.t.Fatal(err)
	}
	httpd, err := c.Command(c.t.Context(), outside, "busybox", "httpd", "-f", "-p", "80", "-h", dir)
	if err == nil {
		err = httpd.Start() // it ends with the lab
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { httpd.Wait() })
}

// do runs something that must not fail.
func (c *cluster) do(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until there is nothing to complain of.
func (c *cluster) eventually(complaint func() string) {
	c.t.Helper()
	c.within(patience, complaint)
}

// within is eventually for what is known to take its time.
func (c *cluster) within(limit time.Duration, complaint func() string) {
	c.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		what := complaint()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("gave up after %s: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// onHosts returns what there is of containers on hosts: interfaces of bridges,
// and devices.
func (c *cluster) onHosts() (interfaces, devices []string) {
	c.t.Helper()
	for _, m := range c.machines {
		rows, err := c.Exec(c.t.Context(), m.host, "ovs-vsctl", "--timeout=20", "--no-headings", "--format=csv", "--columns=name,external_ids", "list", "Interface")
		c.do(err)
		for row := range strings.Lines(rows) {
			if strings.Contains(row, "tuplenet-owner") {
				interfaces = append(interfaces, m.host+": "+strings.TrimSpace(row))
			}
		}
		links, err := c.Exec(c.t.Context(), m.host, "ip", "-o", "link")
		c.do(err)
		for _, device := range hostEnd.FindAllStringSubmatch(links, -1) {
			devices = append(devices, m.host+": "+device[1])
		}
	}
	return interfaces, devices
}

// hostEnd matches a container's device on its host, and the other end of Docker's
// if no container has that. Behind "@" there is the name of another device.
var hostEnd = regexp.MustCompile(`(?m)^\d+: (t[pc][0-9a-f]{13})\b`)

// owned returns the ports in etcd that belong to containers, by their keys.
func (c *cluster) owned() map[string]string {
	c.t.Helper()
	ports := c.read("/tuplenet/entity_view/")
	maps.DeleteFunc(ports, func(_, value string) bool { return !strings.Contains(value, owner) })
	return ports
}

// owner precedes in a port's value the plugin and what it calls the container.
const owner = "owner=cn"

// read returns what etcd has under keys that begin with something.
func (c *cluster) read(prefix string) map[string]string {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	all, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	c.do(err)
	pairs := map[string]string{}
	for _, kv := range all.Kvs {
		pairs[string(kv.Key)] = string(kv.Value)
	}
	return pairs
}

// containers returns the ids of those that have a port, in order; for Docker, of
// endpoints.
func (c *cluster) containers() []string {
	c.t.Helper()
	var ids []string
	for _, value := range c.owned() {
		_, id, _ := strings.Cut(value, owner)
		if parts := strings.Split(id, "/"); len(parts) > 1 {
			ids = append(ids, parts[1])
		}
	}
	slices.Sort(ids)
	return ids
}

// unlike says what is wrong with containers, if it is not these, in any order.
func unlike(containers []string, want ...string) string {
	slices.Sort(want)
	if slices.Equal(containers, want) {
		return ""
	}
	return fmt.Sprintf("attached are %q, want %q", containers, want)
}

// nothingLeft waits until there is nothing of any container, and looks whether
// the hosts' flows are right.
func (c *cluster) nothingLeft() {
	c.t.Helper()
	c.eventually(func() string {
		ports := c.owned()
		interfaces, devices := c.onHosts()
		if len(ports)+len(interfaces)+len(devices) == 0 {
			return ""
		}
		return fmt.Sprintf("left are the ports %q, the interfaces %q and the devices %q", ports, interfaces, devices)
	})
	c.rightFlows()
}

// rightFlows looks whether the hosts' flows are those of a fresh agent.
func (c *cluster) rightFlows() {
	c.t.Helper()
	verdicts, err := c.Check(c.t.Context(), patience)
	c.do(err)
	for _, v := range verdicts {
		if !v.OK {
			c.t.Errorf("the flows are not right: %s", v)
		}
	}
}
